"""Compiled loops of the Fokker-Planck scheme: compressed rows in, nodal values out, no allocation.

Numba compiles them once per machine and keeps them on disk; the same code runs serially and on a
rank's rows of a distributed matrix. The three that a time step calls take arrays one by one: a
named tuple costs numba 15 microseconds a call, which is as long as the loop on an interval.
"""

from typing import NamedTuple

import numba
from numpy import ndarray as Array


class Exchange(NamedTuple):
    """Compressed rows of the neighbours that nodes exchange density with, and at what rates.

    indptr (n_owned + 1,), indices (nnz,), ``rates`` (nnz, 4): k_ij, k_ji and the bounding rates
    a_ij, a_ji (see FokkerPlanck), lumped mass (n_owned,).
    """

    indptr: Array
    indices: Array
    rates: Array
    mass: Array


class Pieces(NamedTuple):
    """Simplices by the piece of a partition that they belong to.

    ``nodes`` (n, d + 1) of their corners, ``measures`` (n,), ``owners`` (n,): the pieces.
    """

    nodes: Array
    measures: Array
    owners: Array


@numba.njit(cache=True)
def edge_rates(
    velocity: Array,
    gradient: Array,
    gradient_t: Array,
    diffusion: Array,
    theta: float,
    indptr: Array,
    indices: Array,
    rates: Array,
    mass: Array,
) -> float:
    """Set the rates of an :class:`Exchange`; returns the largest rate of outflow, 1/time."""
    fastest = 0.0
    for i in range(len(mass)):
        outflow = 0.0
        for e in range(indptr[i], indptr[i + 1]):
            j = indices[e]
            if j == i:
                rates[e, :] = 0.0
                continue
            k_ij = -diffusion[e]
            k_ji = -diffusion[e]
            for axis in range(velocity.shape[1]):
                k_ij += gradient[e, axis] * velocity[j, axis]
                k_ji += gradient_t[e, axis] * velocity[i, axis]
            d = theta * max(0.0, -k_ij, -k_ji)
            rates[e, 0] = k_ij
            rates[e, 1] = k_ji
            rates[e, 2] = k_ij + d
            rates[e, 3] = k_ji + d
            outflow += k_ji + d
        fastest = max(fastest, outflow / mass[i])
    return fastest


@numba.njit(cache=True)
def euler_stage(
    y: Array,
    y_old: Array,
    share: float,
    dt: float,
    indptr: Array,
    indices: Array,
    rates: Array,
    mass: Array,
    out: Array,
) -> None:
    """out = share y_old + (1 - share) (y + dt F(y)) on owned rows, F the limited flux."""
    for i in range(len(mass)):
        total = 0.0
        y_i = y[i]
        for e in range(indptr[i], indptr[i + 1]):
            y_j = y[indices[e]]
            flux = rates[e, 0] * y_j - rates[e, 1] * y_i
            most, least = rates[e, 2] * y_j, -rates[e, 3] * y_i
            # comparisons, as min and max would add branches for NaN
            flux = most if flux > most else flux
            total += least if flux < least else flux
        out[i] = share * y_old[i] + (1.0 - share) * (y_i + dt * total / mass[i])


@numba.njit(cache=True)
def add_squares(
    y: Array, z: Array, nodes: Array, measures: Array, owners: Array, weight: float, out: Array
) -> None:
    """Adds weight times the integral of (y - z)^2 over each simplex to its owner's entry.

    Exact for P1: |K| / ((d + 1)(d + 2)) [(sum e)^2 + sum e^2], e the corner values.
    """
    corners = nodes.shape[1]
    factor = weight / (corners * (corners + 1.0))
    for n in range(len(nodes)):
        total = 0.0
        squares = 0.0
        for c in range(corners):
            e = y[nodes[n, c]] - z[nodes[n, c]]
            total += e
            squares += e * e
        out[owners[n]] += factor * measures[n] * (total * total + squares)


@numba.njit(cache=True)
def add_gradient_squares(
    u: Array, gradients: Array, pieces: Pieces, weight: float, out: Array
) -> None:
    """Adds weight times the integral of |grad u|^2, u (n_points, m), to each cell's owner."""
    nodes, measures, owners = pieces
    for n in range(len(nodes)):
        total = 0.0
        for component in range(u.shape[1]):
            for axis in range(gradients.shape[2]):
                slope = 0.0
                for c in range(nodes.shape[1]):
                    slope += u[nodes[n, c], component] * gradients[n, c, axis]
                total += slope * slope
        out[owners[n]] += weight * measures[n] * total


@numba.njit(cache=True)
def add_squares_bar(
    y: Array, z: Array, pieces: Pieces, weight: float, out_bar: Array, y_bar: Array
) -> None:
    """Adds the transpose of :func:`add_squares` to ``y_bar``; ``out_bar`` (n_pieces,)."""
    nodes, measures, owners = pieces
    corners = nodes.shape[1]
    factor = 2.0 * weight / (corners * (corners + 1.0))
    for n in range(len(nodes)):
        total = 0.0
        for c in range(corners):
            total += y[nodes[n, c]] - z[nodes[n, c]]
        scaled = factor * measures[n] * out_bar[owners[n]]
        for c in range(corners):
            node = nodes[n, c]
            y_bar[node] += scaled * (total + y[node] - z[node])


@numba.njit(cache=True)
def add_gradient_squares_bar(
    u: Array, gradients: Array, pieces: Pieces, weight: float, out_bar: Array, u_bar: Array
) -> None:
    """Adds the transpose of :func:`add_gradient_squares` to ``u_bar`` (n_points, m)."""
    nodes, measures, owners = pieces
    for n in range(len(nodes)):
        scaled = 2.0 * weight * measures[n] * out_bar[owners[n]]
        for component in range(u.shape[1]):
            for axis in range(gradients.shape[2]):
                slope = 0.0
                for c in range(nodes.shape[1]):
                    slope += u[nodes[n, c], component] * gradients[n, c, axis]
                for c in range(nodes.shape[1]):
                    u_bar[nodes[n, c], component] += scaled * slope * gradients[n, c, axis]
