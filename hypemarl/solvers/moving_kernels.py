"""Compiled loops that renew a flow's operators where the nodes of its mesh are now.

Each loop covers the cells that the rank owns, as in :mod:`hypemarl.solvers.flow_kernels`, but for
points, which ghost cells have too.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy import ndarray as Array

from hypemarl.solvers.flow_kernels import PAIRS, reference_products


class CellGeometry(NamedTuple):
    """Points of P2 and P1 nodes (.., 2), and of the rank's own cells volumes (n_cells,),
    barycentric gradients (n_cells, 3, 2) and midpoints (n_cells, 2).
    """

    velocity_points: Array
    pressure_points: Array
    volumes: Array
    gradients: Array
    midpoints: Array


class Cells(NamedTuple):
    """P1 nodes (n, 3), P2 nodes (n, 6), volumes (n,) and gradients (n, 3, 2) of own cells."""

    pressure: Array
    velocity: Array
    volumes: Array
    gradients: Array


def packed_references() -> Array:
    """Mass and stiffness over a triangle of unit area, upper triangles (4, 21).

    Rows: mass, and what (grad l_1)^2, grad l_1 . grad l_2, (grad l_2)^2 multiply in the stiffness.
    Columns: PAIRS, then the diagonal.
    """
    mass, stiffness, _ = reference_products()
    crossed = stiffness[0, 1] + stiffness[1, 0]
    full = np.stack([mass, stiffness[0, 0], crossed, stiffness[1, 1]])
    i, j = PAIRS.T
    diagonal = np.arange(6)
    return np.concatenate([full[:, i, j], full[:, diagonal, diagonal]], axis=1)


@numba.njit(cache=True, error_model="numpy")
def renew_cells(
    x: Array,
    corners: Array,
    velocity_cells: Array,
    pressure_cells: Array,
    orientation: Array,
    out: CellGeometry,
) -> float:
    """Set ``out`` from the vertices ``x`` (n, 3); returns the smallest signed volume.

    ``corners`` (n_all, 3), ``velocity_cells`` (n_all, 6) and ``pressure_cells`` (n_all, 3) number
    vertices and nodes of all cells, the rank's own n_cells first; ``orientation`` (n_cells,) is 1
    for anticlockwise cells, else -1. The result is minus infinity where coordinates are no numbers.
    """
    velocity_points, pressure_points, volumes, gradients, midpoints = out
    least = np.inf
    for c in range(len(corners)):
        for k in range(3):
            left, right = corners[c, (k + 1) % 3], corners[c, (k + 2) % 3]
            for d in range(2):
                here = x[corners[c, k], d]
                velocity_points[velocity_cells[c, k], d] = here
                pressure_points[pressure_cells[c, k], d] = here
                velocity_points[velocity_cells[c, 3 + k], d] = 0.5 * (x[left, d] + x[right, d])
        if c < len(orientation):
            o, a, b = corners[c, 0], corners[c, 1], corners[c, 2]
            a_x, a_y = x[a, 0] - x[o, 0], x[a, 1] - x[o, 1]
            b_x, b_y = x[b, 0] - x[o, 0], x[b, 1] - x[o, 1]
            twice = a_x * b_y - a_y * b_x
            volumes[c] = 0.5 * abs(twice)
            gradients[c, 1, 0], gradients[c, 1, 1] = b_y / twice, -b_x / twice
            gradients[c, 2, 0], gradients[c, 2, 1] = -a_y / twice, a_x / twice
            for d in range(2):
                gradients[c, 0, d] = -gradients[c, 1, d] - gradients[c, 2, d]
                midpoints[c, d] = (x[o, d] + x[a, d] + x[b, d]) / 3.0
            signed = 0.5 * twice * orientation[c]
            least = min(least, signed) if signed == signed else -np.inf
    return least


@numba.njit(cache=True)
def dilate(w: Array, cells: Array, gradients: Array, out: Array) -> None:
    """out (n,) = div w of a velocity ``w`` (n_nodes, 2) that is linear in each cell."""
    for c in range(len(cells)):
        out[c] = 0.0
        for k in range(3):
            node = cells[c, k]
            out[c] += w[node, 0] * gradients[c, k, 0] + w[node, 1] * gradients[c, k, 1]


@numba.njit(cache=True, fastmath=True)
def add_mass_and_stiffness(
    inertia: float,
    dilation: Array,
    viscosity: float,
    volumes: Array,
    gradients: Array,
    packed: Array,
    pairs: Array,
    diagonals: Array,
    out: Array,
) -> None:
    """Adds (inertia + dilation / 2) M + viscosity S to ``out``, ``dilation`` (n,) one per cell.

    ``packed``: :func:`packed_references`; ``pairs`` (n, 15, 2) and ``diagonals`` (n, 6): positions
    of the entries.
    """
    local = np.empty(21)
    for c in range(len(volumes)):
        g10, g11 = gradients[c, 1, 0], gradients[c, 1, 1]
        g20, g21 = gradients[c, 2, 0], gradients[c, 2, 1]
        m = volumes[c] * (inertia + 0.5 * dilation[c])
        weight = volumes[c] * viscosity
        s_0 = weight * (g10 * g10 + g11 * g11)
        s_1 = weight * (g10 * g20 + g11 * g21)
        s_2 = weight * (g20 * g20 + g21 * g21)
        for p in range(21):
            stiff = s_0 * packed[1, p] + s_1 * packed[2, p] + s_2 * packed[3, p]
            local[p] = m * packed[0, p] + stiff
        for p in range(15):
            out[pairs[c, p, 0]] += local[p]
            out[pairs[c, p, 1]] += local[p]
        for i in range(6):
            out[diagonals[c, i]] += local[15 + i]


@numba.njit(cache=True)
def set_laplacians(volumes: Array, gradients: Array, out: Array) -> None:
    """P1 stiffness matrices (n, 3, 3) of the cells."""
    for c in range(len(volumes)):
        for i in range(3):
            for j in range(3):
                product = gradients[c, i, 0] * gradients[c, j, 0]
                product += gradients[c, i, 1] * gradients[c, j, 1]
                out[c, i, j] = volumes[c] * product


@numba.njit(cache=True)
def add_weak_gradient(p: Array, cells: Cells, tensor: Array, out: Array) -> None:
    """Adds (p, div phi) to ``out`` (n_nodes, 2); ``tensor`` (3, 2, 6) as in reference_products."""
    pressure_cells, velocity_cells, volumes, gradients = cells
    for c in range(len(volumes)):
        p_0 = volumes[c] * p[pressure_cells[c, 0]]
        p_1 = volumes[c] * p[pressure_cells[c, 1]]
        p_2 = volumes[c] * p[pressure_cells[c, 2]]
        for i in range(6):
            node = velocity_cells[c, i]
            one = p_0 * tensor[0, 0, i] + p_1 * tensor[1, 0, i] + p_2 * tensor[2, 0, i]
            two = p_0 * tensor[0, 1, i] + p_1 * tensor[1, 1, i] + p_2 * tensor[2, 1, i]
            out[node, 0] += one * gradients[c, 1, 0] + two * gradients[c, 2, 0]
            out[node, 1] += one * gradients[c, 1, 1] + two * gradients[c, 2, 1]


@numba.njit(cache=True)
def add_weak_divergence(v: Array, cells: Cells, tensor: Array, out: Array) -> None:
    """Adds (psi, div v) to ``out`` (n_pressure,), the transpose of :func:`add_weak_gradient`."""
    pressure_cells, velocity_cells, volumes, gradients = cells
    for c in range(len(volumes)):
        s_0, s_1, s_2 = 0.0, 0.0, 0.0
        for i in range(6):
            node = velocity_cells[c, i]
            one = v[node, 0] * gradients[c, 1, 0] + v[node, 1] * gradients[c, 1, 1]
            two = v[node, 0] * gradients[c, 2, 0] + v[node, 1] * gradients[c, 2, 1]
            s_0 += one * tensor[0, 0, i] + two * tensor[0, 1, i]
            s_1 += one * tensor[1, 0, i] + two * tensor[1, 1, i]
            s_2 += one * tensor[2, 0, i] + two * tensor[2, 1, i]
        out[pressure_cells[c, 0]] += volumes[c] * s_0
        out[pressure_cells[c, 1]] += volumes[c] * s_1
        out[pressure_cells[c, 2]] += volumes[c] * s_2
