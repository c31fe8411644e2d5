"""BiCGStab with Jacobi for both velocity components at once, over one scalar matrix.

PETSc would solve one component after the other and read the matrix twice as often; here a row of
the matrix serves both components while it is at hand (van der Vorst, SIAM J. Sci. Stat. Comput. 13
(1992) 631). Serial and distributed runs take the same path: compressed rows of the rank's own
nodes, a halo update before each product, sums over ranks after it.
"""

from typing import NamedTuple

import numba
import numpy as np
from dolfinx import la
from numpy import ndarray as Array

from hypemarl.mpi import sum_over_ranks

TINY = 1e-300
MAX_ITERATIONS = 200  # before the solver gives up


class Rows(NamedTuple):
    """Compressed rows: pointers (n_owned + 1,), columns (nnz,) and values (nnz,)."""

    indptr: Array
    indices: Array
    data: Array


@numba.njit(cache=True, fastmath={"contract"})
def multiply(rows: Rows, scale: Array, x: Array, left: Array, out: Array, sums: Array) -> None:
    """out = scale * (A x), two columns; sums[0] = (left, out), sums[1] = (out, out) per column."""
    indptr, indices, data = rows
    left_0, left_1, out_0, out_1 = 0.0, 0.0, 0.0, 0.0
    for i in range(len(indptr) - 1):
        first, second, more, again = 0.0, 0.0, 0.0, 0.0
        stop = indptr[i + 1]
        e = indptr[i]
        while e + 2 < stop:  # rows of P2 nodes have 9 or 19 entries
            j, k, m = indices[e], indices[e + 1], indices[e + 2]
            first += data[e] * x[j, 0]
            second += data[e] * x[j, 1]
            more += data[e + 1] * x[k, 0]
            again += data[e + 1] * x[k, 1]
            first += data[e + 2] * x[m, 0]
            second += data[e + 2] * x[m, 1]
            e += 3
        while e < stop:
            more += data[e] * x[indices[e], 0]
            again += data[e] * x[indices[e], 1]
            e += 1
        first = (first + more) * scale[i, 0]
        second = (second + again) * scale[i, 1]
        out[i, 0] = first
        out[i, 1] = second
        left_0 += left[i, 0] * first
        left_1 += left[i, 1] * second
        out_0 += first * first
        out_1 += second * second
    sums[0, 0], sums[0, 1], sums[1, 0], sums[1, 1] = left_0, left_1, out_0, out_1


@numba.njit(cache=True)
def subtract(r: Array, v: Array, alpha: Array, s: Array) -> None:
    """s = r - alpha v, a factor per column."""
    for i in range(len(r)):
        s[i, 0] = r[i, 0] - alpha[0] * v[i, 0]
        s[i, 1] = r[i, 1] - alpha[1] * v[i, 1]


@numba.njit(cache=True)
def advance(
    x: Array,
    r: Array,
    p: Array,
    s: Array,
    t: Array,
    shadow: Array,
    alpha: Array,
    omega: Array,
    sums: Array,
) -> None:
    """x += alpha p + omega s; r = s - omega t; sums[0] = (shadow, r), sums[1] = (r, r)."""
    sums[:] = 0.0
    for i in range(len(r)):
        for c in range(2):
            x[i, c] += alpha[c] * p[i, c] + omega[c] * s[i, c]
            residual = s[i, c] - omega[c] * t[i, c]
            r[i, c] = residual
            sums[0, c] += shadow[i, c] * residual
            sums[1, c] += residual * residual


@numba.njit(cache=True)
def turn(p: Array, r: Array, v: Array, beta: Array, omega: Array) -> None:
    """p = r + beta (p - omega v)."""
    for i in range(len(r)):
        p[i, 0] = r[i, 0] + beta[0] * (p[i, 0] - omega[0] * v[i, 0])
        p[i, 1] = r[i, 1] + beta[1] * (p[i, 1] - omega[1] * v[i, 1])


@numba.njit(cache=True, fastmath={"contract"})
def start(
    rows: Rows,
    mass: Array,
    scale: Array,
    x: Array,
    rate: Array,
    force: Array,
    r: Array,
    sums: Array,
) -> None:
    """r = scale * (force - M rate - A x), both matrices in one pass over their common rows.

    sums[0] = (r, r), sums[1] = |scale (force - M rate)|^2 + |scale A x|^2, the scale: prescribed
    boundary values in x may be all that drives the flow.
    """
    indptr, indices, data = rows
    sums[:] = 0.0
    for i in range(len(indptr) - 1):
        first, second, first_rate, second_rate = 0.0, 0.0, 0.0, 0.0
        for e in range(indptr[i], indptr[i + 1]):
            j = indices[e]
            first += data[e] * x[j, 0]
            second += data[e] * x[j, 1]
            first_rate += mass[e] * rate[j, 0]
            second_rate += mass[e] * rate[j, 1]
        for c in range(2):
            product = scale[i, c] * (first if c == 0 else second)
            right = scale[i, c] * (force[i, c] - (first_rate if c == 0 else second_rate))
            residual = right - product
            r[i, c] = residual
            sums[0, c] += residual * residual
            sums[1, c] += right * right + product * product


@numba.njit(cache=True)
def row_scales(data: Array, diagonal: Array, free: Array, scale: Array) -> None:
    """scale = free / A_ii: Jacobi's scaling, zero where a value is prescribed (free is 0 or 1)."""
    for i in range(len(diagonal)):
        inverse = 1.0 / data[diagonal[i]]
        scale[i, 0] = free[i, 0] * inverse
        scale[i, 1] = free[i, 1] * inverse


class TwoColumnBiCGStab:
    """Solver of A x_c = force_c - M rate_c, c = 0, 1, rows scaled by ``scale`` (n_owned, 2).

    Where ``scale`` is zero the solution keeps the value of the initial guess: boundary
    values, which may differ between the columns.

    Args:
        columns: index map of the matrix's columns (its first nodes are the rank's rows).
        rtol: relative residual, in the norm scaled by the rows.

    Collective.
    """

    def __init__(self, columns: object, rtol: float) -> None:
        self.rtol = rtol
        self._p, self._s = la.vector(columns, 2), la.vector(columns, 2)
        self.comm = columns.comm  # type: ignore[attr-defined]
        n = columns.size_local  # type: ignore[attr-defined]
        self._r, self._shadow, self._v, self._t = (np.zeros((n, 2)) for _ in range(4))
        self._sums = np.zeros((2, 2))
        self.iterations = 0

    def solve(
        self, rows: Rows, mass: Array, scale: Array, rate: Array, force: Array, x: la.Vector
    ) -> bool:
        """Improve ``x`` (block size 2) until both columns meet ``rtol``; returns whether they do.

        ``rows`` of A and ``mass`` (nnz,) values of M in their pattern; ``force`` (n_owned, 2);
        ``rate`` (n_local, 2) and ``x`` with current ghosts, as ``x`` has afterwards. Collective.
        """
        r, shadow, v, t, sums = self._r, self._shadow, self._v, self._t, self._sums
        p, s = self._p.array.reshape(-1, 2), self._s.array.reshape(-1, 2)
        solution, n = x.array.reshape(-1, 2), len(force)
        start(rows, mass, scale, solution, rate, force, r, sums)
        norms, yardstick = self._total()
        limits = self.rtol**2 * np.maximum(yardstick, TINY)
        shadow[:], p[:n] = r, r
        rho, self.iterations = norms, 0
        while not (norms <= limits).all():
            if self.iterations >= MAX_ITERATIONS or not np.isfinite(norms).all():
                return False
            active = norms > limits
            self._multiply(rows, scale, self._p, shadow, v)
            alpha = np.where(active, _ratio(rho, self._total()[0]), 0.0)
            subtract(r, v, alpha, s[:n])
            self._multiply(rows, scale, self._s, s, t)
            omega = np.where(active, _ratio(*self._total()), 0.0)
            advance(solution[:n], r, p[:n], s[:n], t, shadow, alpha, omega, sums)
            self.iterations += 1
            old_rho, (rho, norms) = rho, self._total()
            if not (norms <= limits).all():
                beta = _ratio(rho, old_rho) * _ratio(alpha, omega)
                turn(p[:n], r, v, np.where(active, beta, 0.0), omega)
        self._update(x)
        return True

    def _multiply(self, rows: Rows, scale: Array, x: la.Vector, left: Array, out: Array) -> None:
        """out = scale * (A x) with the halo of ``x`` brought up to date. Collective."""
        self._update(x)
        multiply(rows, scale, x.array.reshape(-1, 2), left, out, self._sums)

    def _total(self) -> Array:
        return sum_over_ranks(self.comm, self._sums)

    def _update(self, vector: la.Vector) -> None:
        if self.comm.size > 1:
            vector.scatter_forward()


def _ratio(a: Array, b: Array) -> Array:
    """a / b where b is not zero, else 0: a column that has converged stays where it is."""
    return np.divide(a, b, out=np.zeros_like(a), where=np.abs(b) > TINY)
