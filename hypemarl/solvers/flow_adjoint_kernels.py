"""Compiled element loops of the adjoint Navier-Stokes scheme: transposes of ``flow_kernels``.

Cotangents ("bar") are derivatives of a number by nodal values. Each loop covers the cells (facets)
that the rank owns and adds to ghosts, too: the caller sends what belongs to another rank's nodes.
"""

import numba
import numpy as np
from numpy import ndarray as Array

from hypemarl.solvers.flow_kernels import Facets, WallElements, set_convection
from hypemarl.solvers.krylov import Rows


@numba.njit(cache=True, fastmath=True)
def pull_convection(
    y: Array,
    v: Array,
    cells: Array,
    volumes: Array,
    gradients: Array,
    convection: Array,
    w_bar: Array,
) -> None:
    """Subtracts d/dw of the sum of y . C(w) v from ``w_bar`` (n, 2); ``y``, ``v`` (n, 2).

    C(w): skew-symmetric convection, see :func:`~hypemarl.solvers.flow_kernels.add_convection`. It
    is linear in w, so that w itself does not matter.
    """
    t = convection
    pairs = np.zeros(16)
    ys = np.empty((6, 2))
    vs = np.empty((6, 2))
    for c in range(len(cells)):
        for k in range(6):
            node = cells[c, k]
            ys[k, 0], ys[k, 1] = y[node, 0], y[node, 1]
            vs[k, 0], vs[k, 1] = v[node, 0], v[node, 1]
        q = 0
        for i in range(6):
            for j in range(i + 1, 6):
                forth = ys[i, 0] * vs[j, 0] + ys[i, 1] * vs[j, 1]
                back = ys[j, 0] * vs[i, 0] + ys[j, 1] * vs[i, 1]
                pairs[q] = volumes[c] * (forth - back)
                q += 1
        g10, g11 = gradients[c, 1, 0], gradients[c, 1, 1]
        g20, g21 = gradients[c, 2, 0], gradients[c, 2, 1]
        for k in range(6):
            first, second = 0.0, 0.0
            for p in range(16):
                first += t[2 * k, p] * pairs[p]
                second += t[2 * k + 1, p] * pairs[p]
            node = cells[c, k]
            w_bar[node, 0] -= first * g10 + second * g20
            w_bar[node, 1] -= first * g11 + second * g21


@numba.njit(cache=True)
def pull_outflow(w: Array, y: Array, v: Array, facets: Facets, w_bar: Array) -> None:
    """Subtracts d/dw of 1/2 int max(w . n, 0) v . y over facets from ``w_bar`` (n, 2).

    The derivative of max(s, 0) is taken as 1 for s > 0 and 0 elsewhere: the kink at s = 0 gets the
    derivative of the side on which fluid enters.
    """
    nodes, lengths, normals, shapes, weights = facets
    for f in range(len(nodes)):
        for q in range(len(weights)):
            flux, product = 0.0, 0.0
            for d in range(2):
                first, second, third = 0.0, 0.0, 0.0
                for k in range(3):
                    node = nodes[f, k]
                    first += shapes[q, k] * w[node, d]
                    second += shapes[q, k] * y[node, d]
                    third += shapes[q, k] * v[node, d]
                flux += first * normals[f, d]
                product += second * third
            if flux > 0.0:
                factor = 0.5 * product * weights[q] * lengths[f]
                for k in range(3):
                    for d in range(2):
                        w_bar[nodes[f, k], d] -= factor * shapes[q, k] * normals[f, d]


@numba.njit(cache=True)
def residual_rows(matrix: Rows, rows: Array, x: Array, right: Array, out: Array) -> None:
    """out = right - A x, two columns, on some ``rows`` (k,); ``out`` (k, 2)."""
    indptr, indices, data = matrix
    for place in range(len(rows)):
        i = rows[place]
        first, second = right[i, 0], right[i, 1]
        for e in range(indptr[i], indptr[i + 1]):
            first -= data[e] * x[indices[e], 0]
            second -= data[e] * x[indices[e], 1]
        out[place, 0], out[place, 1] = first, second


@numba.njit(cache=True)
def pull_extrapolation(
    dt: float, w_bar: Array, rate_bar: Array, weighted: Array, v_bar: Array, old_bar: Array
) -> None:
    """Transposes w = 2 v - old and rate = (old / 2 - 2 v) / dt, in one pass.

    ``v_bar`` holds what belongs to the velocity at the step's end and receives that of v;
    ``old_bar`` holds what v has got already, as the step's older velocity at its end, and receives
    that of old. ``weighted`` is subtracted from ``rate_bar``, which is zero afterwards. All (n, 2).
    """
    for i in range(len(weighted)):
        for c in range(2):
            rate = (rate_bar[i, c] - weighted[i, c]) / dt
            v_bar[i, c] = old_bar[i, c] + 2.0 * w_bar[i, c] - 2.0 * rate
            old_bar[i, c] = 0.5 * rate - w_bar[i, c]
            rate_bar[i, c] = 0.0


@numba.njit(cache=True)
def pull_wall_forces(
    y: Array,
    u: Array,
    elements: WallElements,
    viscosity: float,
    rate_bar: Array,
    u_bar: Array,
    p_bar: Array,
) -> None:
    """Adds the cotangents of rate, u, p where nodal forces have the cotangent ``y`` (n_nodes, 2).

    Transpose of :func:`~hypemarl.solvers.flow_kernels.add_wall_forces` without the dependence of
    the convection on the advecting velocity, which :func:`pull_convection` adds.
    """
    nodes, corners, volumes, gradients, mass, stiffness, convection, divergence = elements
    pairs = np.empty(15)
    for c in range(len(nodes)):
        volume = volumes[c]
        set_convection(u, nodes[c], volume, gradients[c], convection, pairs)
        for d in range(2):
            q = 0
            for i in range(6):
                ni = nodes[c, i]
                for k in range(3):
                    slope = 0.0
                    for a in range(2):
                        slope += divergence[k, a, i] * gradients[c, a + 1, d]
                    p_bar[corners[c, k]] += volume * slope * y[ni, d]
                rate_bar[ni, d] -= volume * mass[i, i] * y[ni, d]
                u_bar[ni, d] -= viscosity * stiffness[c, i, i] * y[ni, d]
                for j in range(i + 1, 6):
                    nj = nodes[c, j]
                    inertia = volume * mass[i, j]
                    friction = viscosity * stiffness[c, i, j]
                    rate_bar[nj, d] -= inertia * y[ni, d]
                    rate_bar[ni, d] -= inertia * y[nj, d]
                    u_bar[nj, d] -= (friction + pairs[q]) * y[ni, d]
                    u_bar[ni, d] -= (friction - pairs[q]) * y[nj, d]
                    q += 1


@numba.njit(cache=True)
def pull_wall_convection(y: Array, u: Array, facets: Facets, u_bar: Array) -> None:
    """Subtracts d/du of 1/2 int (u . n) u . y over wall facets from ``u_bar`` (n_nodes, 2)."""
    nodes, lengths, normals, shapes, weights = facets
    for f in range(len(nodes)):
        n0, n1 = normals[f, 0], normals[f, 1]
        for q in range(len(weights)):
            first, second, y_first, y_second = 0.0, 0.0, 0.0, 0.0
            for k in range(3):
                node = nodes[f, k]
                first += shapes[q, k] * u[node, 0]
                second += shapes[q, k] * u[node, 1]
                y_first += shapes[q, k] * y[node, 0]
                y_second += shapes[q, k] * y[node, 1]
            factor = 0.5 * weights[q] * lengths[f]
            flux = first * n0 + second * n1
            product = first * y_first + second * y_second
            for k in range(3):
                node = nodes[f, k]
                u_bar[node, 0] -= factor * shapes[q, k] * (flux * y_first + product * n0)
                u_bar[node, 1] -= factor * shapes[q, k] * (flux * y_second + product * n1)


@numba.njit(cache=True)
def pull_quadratic_forms(
    factors: Array, values: Array, cells: Array, matrices: Array, out: Array
) -> None:
    """Adds d/dv of sum_c factors_c v^T A_c v, A_c (6, 6) symmetric, to ``out``; v, out (n, 2)."""
    for c in range(len(cells)):
        twice = 2.0 * factors[c]
        for i in range(6):
            first, second = 0.0, 0.0
            for j in range(6):
                entry = matrices[c, i, j]
                first += entry * values[cells[c, j], 0]
                second += entry * values[cells[c, j], 1]
            out[cells[c, i], 0] += twice * first
            out[cells[c, i], 1] += twice * second
