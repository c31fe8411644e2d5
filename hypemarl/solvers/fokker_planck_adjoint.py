"""Transpose of the Fokker-Planck scheme: :class:`FokkerPlanck` backwards.

The limited flux is piecewise bilinear in density and rates. Where two of its pieces meet it has a
kink, and the derivative taken is that of the piece which the forward run took: the exact derivative
almost everywhere. The number of time steps counts as constant.
"""

from collections.abc import Callable, Sequence

import numba
import numpy as np
from dolfinx import la
from numpy import ndarray as Array

from hypemarl.solvers.fokker_planck import THETA, FokkerPlanck
from hypemarl.solvers.kernels import Exchange
from hypemarl.solvers.p1 import collect


class FokkerPlanckAdjoint:
    """Vector-Jacobian products of ``FokkerPlanck.advance``.

    Cotangents of nodal values are zero on ghosts: what a rank adds there is sent to the owner.

    Args:
        solver: whose scheme is transposed. Collective.
    """

    def __init__(self, solver: FokkerPlanck) -> None:
        self.solver = solver
        self._bar, self._stage_bar = solver.space.vector(), solver.space.vector()

    def pull(
        self,
        density_bar: Array,
        levels: Sequence[tuple[Array, Array]],
        dt: float,
        velocity: Array,
        observe_bar: Callable[[int, Array], None],
    ) -> tuple[Array, Array]:
        """Cotangents of density (n_local,) and velocity (n_local, gdim) before an ``advance``.

        Args:
            density_bar: (n_local,), of the density after it, ghosts zero.
            levels: density and first stage (n_local,) of every time step, as recorded.
            dt: length of a time step; velocity: (n_local, gdim), of the interval.
            observe_bar: adds to its second argument (n_local,) the cotangent of the density at
                time level n, for what ``observe`` of ``advance`` computes from it.

        The velocity's cotangent is this rank's part, ghosts included. The solver is left with
        ``velocity``. Collective.
        """
        solver, bar, stage_bar = self.solver, self._bar, self._stage_bar
        solver.set_velocity(velocity)
        exchange = solver.exchange
        rates_bar = np.zeros((len(exchange.indices), 3))
        bar.array[:] = density_bar
        observe_bar(len(levels), bar.array)
        self._collect(bar)
        for n in reversed(range(len(levels))):
            y, stage = levels[n]
            stage_bar.array[:] = 0.0
            euler_stage_bar(bar.array, 0.5, dt, stage, exchange, stage_bar.array, rates_bar)
            self._collect(stage_bar)
            bar.array[:] *= 0.5
            euler_stage_bar(stage_bar.array, 1.0, dt, y, exchange, bar.array, rates_bar)
            observe_bar(n, bar.array)
            self._collect(bar)
        velocity_bar = np.zeros_like(velocity)
        gradients = (solver.gradient, solver.gradient_t)
        edge_rates_bar(rates_bar, *gradients, THETA, exchange, velocity_bar)
        return bar.array.copy(), velocity_bar

    def _collect(self, vector: la.Vector) -> None:
        """Send what lies on ghosts to the owners. Collective."""
        if self.solver.space.comm.size > 1:
            collect(vector)


@numba.njit(cache=True)
def euler_stage_bar(
    out_bar: Array,
    share: float,
    dt: float,
    y: Array,
    exchange: Exchange,
    y_bar: Array,
    rates_bar: Array,
) -> None:
    """Adds the transpose of out = share (y + dt F(y)) to ``y_bar`` and ``rates_bar``.

    ``rates_bar`` (nnz, 3): of k_ij, k_ji and of d_ij = theta max(0, -k_ij, -k_ji).
    """
    indptr, indices, rates, mass = exchange
    for i in range(len(mass)):
        scaled = share * out_bar[i]
        y_bar[i] += scaled
        pull = scaled * dt / mass[i]
        y_i = y[i]
        at_i = 0.0
        for e in range(indptr[i], indptr[i + 1]):
            j = indices[e]
            y_j = y[j]
            flux = rates[e, 0] * y_j - rates[e, 1] * y_i
            most, least = rates[e, 2] * y_j, -rates[e, 3] * y_i
            limited = most if flux > most else flux
            if limited < least:
                at_i -= rates[e, 3]
                rates_bar[e, 1] -= pull * y_i
                rates_bar[e, 2] -= pull * y_i
            elif flux > most:
                y_bar[j] += pull * rates[e, 2]
                rates_bar[e, 0] += pull * y_j
                rates_bar[e, 2] += pull * y_j
            else:
                y_bar[j] += pull * rates[e, 0]
                at_i -= rates[e, 1]
                rates_bar[e, 0] += pull * y_j
                rates_bar[e, 1] -= pull * y_i
        y_bar[i] += pull * at_i


@numba.njit(cache=True)
def edge_rates_bar(
    rates_bar: Array,
    gradient: Array,
    gradient_t: Array,
    theta: float,
    exchange: Exchange,
    velocity_bar: Array,
) -> None:
    """Adds the transpose of ``kernels.edge_rates`` to ``velocity_bar`` (n_local, gdim)."""
    indptr, indices, rates, _ = exchange
    for i in range(len(indptr) - 1):
        for e in range(indptr[i], indptr[i + 1]):
            j = indices[e]
            if j == i:
                continue
            k_ij, k_ji = rates[e, 0], rates[e, 1]
            first, second = rates_bar[e, 0], rates_bar[e, 1]
            if min(k_ij, k_ji) < 0.0:
                if k_ij < k_ji:
                    first -= theta * rates_bar[e, 2]
                else:
                    second -= theta * rates_bar[e, 2]
            for axis in range(velocity_bar.shape[1]):
                velocity_bar[j, axis] += first * gradient[e, axis]
                velocity_bar[i, axis] += second * gradient_t[e, axis]
