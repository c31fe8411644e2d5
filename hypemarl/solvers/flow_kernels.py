"""Compiled element loops of the Navier-Stokes scheme: element arrays in, matrix entries out.

Numba compiles them once per machine and keeps them on disk. Each loop covers the cells (facets)
that the rank owns; what belongs to another rank's rows is sent or summed by the caller.
"""

from typing import NamedTuple

import basix
import numba
import numpy as np
from numpy import ndarray as Array

PAIRS = np.array([(i, j) for i in range(6) for j in range(i + 1, 6)], dtype=np.int64)
GAUSS_POINTS = 4  # per edge: exact for the product of three P2 functions


class Facets(NamedTuple):
    """Edges of the boundary, and their quadrature.

    ``nodes`` (m, 3) P2 nodes: end, end, middle; ``lengths`` (m,); ``normals`` (m, 2) outwards;
    ``shapes`` (n_q, 3) P2 functions (end, end, middle) at Gauss points; ``weights`` (n_q,).
    """

    nodes: Array
    lengths: Array
    normals: Array
    shapes: Array
    weights: Array


class WallElements(NamedTuple):
    """The n cells that touch a wall, and the reference element's products.

    ``nodes`` (n, 6) and ``corners`` (n, 3) are their P2 and P1 nodes, ``stiffness`` (n, 6, 6)
    theirs; the rest as in :func:`reference_products` and :func:`reference_convection`.
    """

    nodes: Array
    corners: Array
    volumes: Array
    gradients: Array
    mass: Array
    stiffness: Array
    convection: Array
    divergence: Array


def _tabulate(points: Array) -> tuple[Array, Array]:
    """P2 functions (n_q, 6) and their slopes (2, n_q, 6) at points of the reference triangle."""
    element = basix.create_element(
        basix.ElementFamily.P, basix.CellType.triangle, 2, basix.LagrangeVariant.gll_warped
    )
    table = element.tabulate(1, points)[:, :, :, 0]
    return table[0], table[1:]


def _quadrature(degree: int) -> tuple[Array, ...]:
    """Points, weights (unit area), and what :func:`_tabulate` gives there."""
    points, weights = basix.make_quadrature(basix.CellType.triangle, degree)
    return points, 2.0 * weights, *_tabulate(points)


def facet_quadrature() -> tuple[Array, Array]:
    """P2 functions (n_q, 3) of an edge (end, end, middle) at Gauss points, weights (n_q,)."""
    points, weights = np.polynomial.legendre.leggauss(GAUSS_POINTS)
    s = 0.5 * (points + 1.0)
    shapes = np.stack([(1 - s) * (1 - 2 * s), s * (2 * s - 1), 4 * s * (1 - s)], axis=1)
    return shapes, 0.5 * weights


def corner_slopes() -> Array:
    """Slopes of the P2 functions at a triangle's corners, (3, 2, 6): corner, direction, function.

    Directions are the barycentric coordinates of vertices 1 and 2.
    """
    _, slopes = _tabulate(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    return np.swapaxes(slopes, 0, 1)


def cell_stiffness(volumes: Array, gradients: Array) -> Array:
    """P2 stiffness matrices (n, 6, 6) of cells with volumes (n,), gradients (n, 3, 2). Local."""
    _, stiffness, _ = reference_products()
    g = gradients[:, 1:]
    return np.einsum("cab,abij->cij", np.einsum("c,cad,cbd->cab", volumes, g, g), stiffness)


def reference_convection() -> Array:
    """Skew-symmetric convection over a triangle of unit area, (12, 16).

    Row 2 k + a: velocity of node k in direction a, one of the barycentric coordinates of vertices
    1 and 2. Column: pair i < j of PAIRS, 1/2 int phi_k (phi_i d_a phi_j - phi_j d_a phi_i); the
    last column is zero and makes rows fit vector registers.
    """
    _, weights, phi, slopes = _quadrature(6)
    full = np.einsum("q,qk,qi,aqj->kaij", weights, phi, phi, slopes)
    skew = 0.5 * (full - np.swapaxes(full, 2, 3))
    result = np.zeros((12, 16))
    result[:, :15] = skew[:, :, PAIRS[:, 0], PAIRS[:, 1]].reshape(12, 15)
    return result


def reference_products() -> tuple[Array, Array, Array]:
    """Mass (6, 6), stiffness (2, 2, 6, 6) and divergence (3, 2, 6) over a triangle of unit area.

    Stiffness: int d_a phi_i d_b phi_j; divergence: int psi_k d_a phi_i, psi the P1 functions.
    """
    points, weights, phi, slopes = _quadrature(4)
    psi = np.stack([1.0 - points.sum(axis=1), points[:, 0], points[:, 1]], axis=1)
    return (
        np.einsum("q,qi,qj->ij", weights, phi, phi),
        np.einsum("q,aqi,bqj->abij", weights, slopes, slopes),
        np.einsum("q,qk,aqi->kai", weights, psi, slopes),
    )


@numba.njit(cache=True)
def extrapolate(
    v: Array, old: Array, older: Array, dt: float, quadratic: bool, w: Array, rate: Array
) -> None:
    """BDF2's explicit parts from three velocities (n, 2), in one pass.

    w = 2 v - old, rate = (old / 2 - 2 v) / dt; ``older`` receives the guess of the new velocity,
    3 v - 3 old + older where ``quadratic``, else w.
    """
    for i in range(len(v)):
        for c in range(2):
            now, before, first = v[i, c], old[i, c], older[i, c]
            linear = 2.0 * now - before
            w[i, c] = linear
            rate[i, c] = (0.5 * before - 2.0 * now) / dt
            older[i, c] = linear + (now - 2.0 * before + first) if quadratic else linear


@numba.njit(cache=True)
def combine(mass: Array, inertia: float, stiffness: Array, viscosity: float, out: Array) -> None:
    """out = inertia mass + viscosity stiffness on owned rows, zero on the rows of others."""
    for e in range(len(mass)):
        out[e] = inertia * mass[e] + viscosity * stiffness[e]
    for e in range(len(mass), len(out)):
        out[e] = 0.0


@numba.njit(cache=True, fastmath=True)
def add_convection(
    w: Array,
    cells: Array,
    volumes: Array,
    gradients: Array,
    convection: Array,
    places: Array,
    out: Array,
) -> float:
    """Adds the skew-symmetric convection by ``w`` (n, 2) to ``out``.

    ``places`` (n_cells, 15, 2): positions of the entries (i, j) and (j, i) of each pair. Returns
    the largest |w . grad(l_a)| at a node of a cell.
    """
    fastest = 0.0
    pairs = np.empty(16)
    b = np.empty(12)
    t = convection
    for c in range(len(cells)):
        g10, g11 = gradients[c, 1, 0], gradients[c, 1, 1]
        g20, g21 = gradients[c, 2, 0], gradients[c, 2, 1]
        for k in range(6):
            node = cells[c, k]
            first = w[node, 0] * g10 + w[node, 1] * g11
            second = w[node, 0] * g20 + w[node, 1] * g21
            fastest = max(fastest, abs(first), abs(second), abs(first + second))
            b[2 * k] = first * volumes[c]
            b[2 * k + 1] = second * volumes[c]
        # written out, the twelve terms stay in registers: twice as fast as a loop
        for p in range(16):
            one = b[0] * t[0, p] + b[1] * t[1, p] + b[2] * t[2, p] + b[3] * t[3, p]
            two = b[4] * t[4, p] + b[5] * t[5, p] + b[6] * t[6, p] + b[7] * t[7, p]
            three = b[8] * t[8, p] + b[9] * t[9, p] + b[10] * t[10, p] + b[11] * t[11, p]
            pairs[p] = one + two + three
        for p in range(15):
            out[places[c, p, 0]] += pairs[p]
            out[places[c, p, 1]] -= pairs[p]
    return fastest


@numba.njit(cache=True)
def add_outflow(w: Array, facets: Facets, places: Array, out: Array) -> None:
    """Adds 1/2 int max(w . n, 0) phi_i phi_j over facets to ``out`` at ``places`` (m, 3, 3)."""
    nodes, lengths, normals, shapes, weights = facets
    for f in range(len(nodes)):
        for q in range(len(weights)):
            flux = 0.0
            for k in range(3):
                node = nodes[f, k]
                flux += shapes[q, k] * (w[node, 0] * normals[f, 0] + w[node, 1] * normals[f, 1])
            factor = 0.5 * max(flux, 0.0) * weights[q] * lengths[f]
            for i in range(3):
                for j in range(3):
                    out[places[f, i, j]] += factor * shapes[q, i] * shapes[q, j]


@numba.njit(cache=True)
def set_convection(
    w: Array, nodes: Array, volume: float, gradients: Array, convection: Array, pairs: Array
) -> None:
    """pairs (15,) = skew-symmetric convection by ``w`` (n_nodes, 2) over one cell, see PAIRS."""
    pairs[:] = 0.0
    for k in range(6):
        node = nodes[k]
        for a in range(2):
            along = volume * (w[node, 0] * gradients[a + 1, 0] + w[node, 1] * gradients[a + 1, 1])
            for q in range(15):
                pairs[q] += along * convection[2 * k + a, q]


@numba.njit(cache=True)
def add_wall_forces(
    rate: Array,
    u: Array,
    w: Array,
    p: Array,
    dilation: Array,
    elements: WallElements,
    viscosity: float,
    out: Array,
) -> None:
    """Adds minus the momentum residual of the elements to ``out`` (n_nodes, 2).

    Residual: (rate + dilation u / 2, phi) + C(w; u, phi) + viscosity (grad u, grad phi)
    - (p, div phi); ``rate``, ``u``, ``w`` (n_nodes, 2): time derivative, velocity, advecting
    velocity; ``dilation`` (n,): divergence of the velocity of the mesh.
    """
    nodes, corners, volumes, gradients, mass, stiffness, convection, divergence = elements
    pairs = np.empty(15)
    for c in range(len(nodes)):
        volume, growth = volumes[c], 0.5 * dilation[c]
        set_convection(w, nodes[c], volume, gradients[c], convection, pairs)
        for d in range(2):
            q = 0
            for i in range(6):
                ni = nodes[c, i]
                pull = 0.0
                for k in range(3):
                    slope = 0.0
                    for a in range(2):
                        slope += divergence[k, a, i] * gradients[c, a + 1, d]
                    pull += p[corners[c, k]] * slope
                out[ni, d] += volume * (pull - mass[i, i] * (rate[ni, d] + growth * u[ni, d]))
                out[ni, d] -= viscosity * stiffness[c, i, i] * u[ni, d]
                for j in range(i + 1, 6):
                    nj = nodes[c, j]
                    inertia = volume * mass[i, j]
                    friction = viscosity * stiffness[c, i, j] + growth * inertia
                    out[ni, d] -= inertia * rate[nj, d] + (friction + pairs[q]) * u[nj, d]
                    out[nj, d] -= inertia * rate[ni, d] + (friction - pairs[q]) * u[ni, d]
                    q += 1


@numba.njit(cache=True)
def add_wall_convection(u: Array, w: Array, facets: Facets, out: Array) -> None:
    """Subtracts 1/2 int (w . n) u phi over wall facets from ``out`` (n_nodes, 2).

    The skew-symmetric form lacks it beside the convective one wherever fluid crosses a wall.
    """
    nodes, lengths, normals, shapes, weights = facets
    for f in range(len(nodes)):
        for q in range(len(weights)):
            first, second, flux = 0.0, 0.0, 0.0
            for k in range(3):
                node, shape = nodes[f, k], shapes[q, k]
                first += shape * u[node, 0]
                second += shape * u[node, 1]
                flux += shape * (w[node, 0] * normals[f, 0] + w[node, 1] * normals[f, 1])
            factor = 0.5 * flux * weights[q] * lengths[f]
            for k in range(3):
                out[nodes[f, k], 0] -= factor * first * shapes[q, k]
                out[nodes[f, k], 1] -= factor * second * shapes[q, k]
