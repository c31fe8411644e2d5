"""Closed polygons in the plane, compiled: area, curvature, thickness, crossings.

A polygon is its corners (n, 2), the first one not repeated; outlines run anticlockwise.
"""

import numba
import numpy as np


@numba.njit(cache=True)
def signed_area(points: np.ndarray) -> float:
    """Area, positive where the polygon runs anticlockwise."""
    twice = 0.0
    last = len(points) - 1
    for i in range(len(points)):
        twice += points[last, 0] * points[i, 1] - points[i, 0] * points[last, 1]
        last = i
    return 0.5 * twice


def centroid(points: np.ndarray) -> np.ndarray:
    """Centre of area (2,)."""
    ahead = np.roll(points, -1, axis=0)
    cross = points[:, 0] * ahead[:, 1] - ahead[:, 0] * points[:, 1]
    return ((points + ahead) * cross[:, None]).sum(axis=0) / (3.0 * cross.sum())


@numba.njit(cache=True)
def curvature(points: np.ndarray) -> np.ndarray:
    """Signed curvature (n,) of the circle through each corner and its neighbours.

    Positive where the outline is convex. Of second order in an even spacing, first in an uneven
    one. Source: K. Menger, Untersuchungen ueber allgemeine Metrik IV, Math. Ann. 103 (1930).
    """
    n = len(points)
    values = np.empty(n)
    for i in range(n):
        a, b, c = points[i - 1], points[i], points[(i + 1) % n]
        ab_x, ab_y, bc_x, bc_y = b[0] - a[0], b[1] - a[1], c[0] - b[0], c[1] - b[1]
        ac_x, ac_y = c[0] - a[0], c[1] - a[1]
        product = np.sqrt(
            (ab_x * ab_x + ab_y * ab_y) * (bc_x * bc_x + bc_y * bc_y) * (ac_x * ac_x + ac_y * ac_y)
        )
        cross = ab_x * bc_y - ab_y * bc_x
        values[i] = 2.0 * cross / product if product > 0.0 else np.inf
    return values


@numba.njit(cache=True)
def tangent_discs(points: np.ndarray, inside: bool) -> tuple[float, int, int]:
    """Smallest diameter of a disc that touches the outline at a corner and meets no other corner.

    Inside the body this is its local thickness (bounded by twice the radius of convex curvature);
    outside it is the width of its gaps. The disc through corners i and j that is tangent at i has
    diameter |d|^2 / (d . n), d = x_j - x_i, n the normal at i towards the disc.

    Returns:
        the diameter, infinite where there is no such disc, and the corners i, j of that disc.
    """
    n = len(points)
    side = 1.0 if inside else -1.0
    least, at_i, at_j = np.inf, 0, 0
    for i in range(n):
        x, y = points[i, 0], points[i, 1]
        # tangent of the circle through the corner and its neighbours, by inversion at the corner
        b_x, b_y = x - points[i - 1, 0], y - points[i - 1, 1]
        f_x, f_y = points[(i + 1) % n, 0] - x, points[(i + 1) % n, 1] - y
        behind, ahead = b_x * b_x + b_y * b_y, f_x * f_x + f_y * f_y
        t_x = b_x / behind + f_x / ahead
        t_y = b_y / behind + f_y / ahead
        scale = side / np.sqrt(t_x * t_x + t_y * t_y)
        n_x, n_y = -t_y * scale, t_x * scale
        for j in range(n):
            d_x, d_y = points[j, 0] - x, points[j, 1] - y
            along = d_x * n_x + d_y * n_y
            # a product in place of the quotient: most pairs need no division
            if along > 0.0 and d_x * d_x + d_y * d_y < least * along:
                least, at_i, at_j = (d_x * d_x + d_y * d_y) / along, i, j
    return least, at_i, at_j


@numba.njit(cache=True)
def crosses_itself(points: np.ndarray) -> bool:
    """Whether two edges that are no neighbours meet."""
    n = len(points)
    for i in range(n - 1):
        a, b = points[i], points[i + 1]
        low_x, high_x = min(a[0], b[0]), max(a[0], b[0])
        low_y, high_y = min(a[1], b[1]), max(a[1], b[1])
        for j in range(i + 2, n):
            if i == 0 and j == n - 1:
                continue
            c, d = points[j], points[(j + 1) % n]
            if (
                max(c[0], d[0]) < low_x
                or min(c[0], d[0]) > high_x
                or max(c[1], d[1]) < low_y
                or min(c[1], d[1]) > high_y
            ):
                continue
            if turn(a, b, c) * turn(a, b, d) <= 0.0 and turn(c, d, a) * turn(c, d, b) <= 0.0:
                return True
    return False


@numba.njit(cache=True)
def turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """Twice the signed area of the triangle a b c, positive where it is anticlockwise."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


@numba.njit(cache=True)
def clearance(points: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[float, int, int]:
    """Smallest distance of corners (n, 2) from segments between ``starts`` and ``ends`` (m, 2).

    Returns:
        the distance, and the corner and the segment of that distance.
    """
    least, corner, segment = np.inf, 0, 0
    for k in range(len(starts)):
        e_x, e_y = ends[k, 0] - starts[k, 0], ends[k, 1] - starts[k, 1]
        square = e_x * e_x + e_y * e_y
        for i in range(len(points)):
            d_x, d_y = points[i, 0] - starts[k, 0], points[i, 1] - starts[k, 1]
            share = min(1.0, max(0.0, (d_x * e_x + d_y * e_y) / square))
            r_x, r_y = d_x - share * e_x, d_y - share * e_y
            if r_x * r_x + r_y * r_y < least:
                least, corner, segment = r_x * r_x + r_y * r_y, i, k
    return np.sqrt(least), corner, segment
