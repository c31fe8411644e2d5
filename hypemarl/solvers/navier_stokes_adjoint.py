"""The transpose of a step of :class:`~hypemarl.solvers.navier_stokes.UnsteadyFlow`.

Discretise, then differentiate: cotangents are those of the discrete scheme, exact up to the
tolerance of the linear solves (A. Griewank, A. Walther, Evaluating Derivatives, SIAM 2008,
chapter 15, for equations that a step solves). With the notation of the scheme, K = K(w) and
inertia a, one step is

    w = 2 v - v_old,  r = (v_old / 2 - 2 v) / dt,  p* = p + 4/3 f - 1/3 f_old,
    K v_new = G p* - M r in free rows, v_new = b in fixed ones,  rate = r + a v_new,
    f_new = -a L^{-1} D v_new,  p_new = p + f_new.

Backwards, y the adjoint velocity (zero where values are prescribed), G^T = D and L symmetric:

    K^T y = v_new' + a rate' - a G L^{-1} (f_new' + p_new') in free rows,
    b' = the rest of that equation in fixed rows,  p*' = D y,  r' = rate' - M y,
    w' = -d/dw (y . K(w) v_new).

M and the viscous part are symmetric, convection is skew, so that K^T is K with the opposite
convection (not the opposite outflow term). The switch of the outflow term, max(w . n, 0), takes
the derivative of the side on which it stands. The guess of the velocity solver has no derivative.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from dolfinx import la

from hypemarl.solvers import flow_adjoint_kernels as kernels
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.solvers.krylov import TwoColumnBiCGStab, multiply, row_scales
from hypemarl.solvers.navier_stokes import UnsteadyFlow
from hypemarl.solvers.p1 import collect


@dataclass(frozen=True)
class FlowStep:
    """Data of one step for its transpose.

    Velocities (n_velocity_local, 2) with ghosts: two before the step and the one after; dt;
    viscosity; whether it was a step of first order.
    """

    old: np.ndarray
    now: np.ndarray
    new: np.ndarray
    time_step: float
    viscosity: float
    first: bool = False


class FlowCotangent:
    """Derivatives of a number by the state that a flow's next step depends on.

    Attributes:
        velocity, old_velocity, rate: (n_local, 2), by v^n, v^{n-1} and the time derivative that
            the last step left (wall forces read it); pressure, increment, old_increment:
            (n_pressure_local,).

    Contributions may be added to ghosts; :meth:`collect` moves them to the owners.
    """

    def __init__(self, solver: UnsteadyFlow) -> None:
        space, columns = solver.space, solver.momentum.columns
        self._comm, self._n, self._m = space.comm, space.n_velocity, space.n_pressure
        self._vectors = [la.vector(columns, 2) for _ in range(3)]
        self.velocity, self.old_velocity, self.rate = (
            vector.array.reshape(-1, 2) for vector in self._vectors
        )
        self._pressure = la.vector(space.pressure_map)
        self.pressure = self._pressure.array
        self.increment, self.old_increment = (np.zeros_like(self.pressure) for _ in range(2))
        self.size = 6 * self._n + 3 * self._m

    def collect(self) -> None:
        """Add values on ghosts of velocity, rate and pressure to those of the owners."""
        if self._comm.size > 1:
            for vector in (self._vectors[0], self._vectors[2], self._pressure):
                collect(vector)

    def pull_refined(self, share: float) -> None:
        """From after :meth:`UnsteadyFlow.refine` to ``share`` of the time step to before. Local."""
        self.velocity[: self._n] += (1.0 - share) * self.old_velocity[: self._n]
        self.old_velocity *= share
        self.increment[:] = share * (self.increment + self.old_increment)
        self.old_increment[:] = 0.0

    def pull_coarsened(self) -> tuple[np.ndarray, np.ndarray]:
        """From after :meth:`UnsteadyFlow.coarsen` to before.

        Returns the part of the earlier state's velocity (n_velocity, 2) and pressure (n_pressure,),
        for :meth:`add_earlier` when the steps since then are pulled. Local.
        """
        change = (self.increment + self.old_increment)[: self._m]
        earlier = self.old_velocity[: self._n].copy(), -change
        self.pressure[: self._m] += change
        for gone in (self.old_velocity, self.increment, self.old_increment):
            gone[:] = 0.0
        return earlier

    def add_earlier(self, earlier: tuple[np.ndarray, np.ndarray]) -> None:
        """Add what :meth:`pull_coarsened` returned. Local."""
        self.velocity[: self._n] += earlier[0]
        self.pressure[: self._m] += earlier[1]

    def flat(self) -> np.ndarray:
        """The owned parts in one array (size,), a copy. Local."""
        return np.concatenate([part.ravel() for part in self._owned()])

    def assign(self, flat: np.ndarray) -> None:
        """Set from an array (size,) as :meth:`flat` gives it. Local."""
        start = 0
        for whole, part in zip(self._whole(), self._owned(), strict=True):
            whole[:] = 0.0
            part[:] = flat[start : start + part.size].reshape(part.shape)
            start += part.size

    def _whole(self) -> tuple[np.ndarray, ...]:
        velocities = (self.velocity, self.old_velocity, self.rate)
        return (*velocities, self.pressure, self.increment, self.old_increment)

    def _owned(self) -> Iterator[np.ndarray]:
        for place, whole in enumerate(self._whole()):
            yield whole[: self._n if place < 3 else self._m]


class UnsteadyFlowAdjoint:
    """Transposed steps of one solver, last step first. Collective.

    It shares the solver's matrix, whose values it overwrites (each forward step sets its own).
    Adjoint velocities are guessed from those of the steps before, as in the solver.

    Args:
        solver: of the flow; rtol: relative residual of the adjoint velocity solve.
    """

    def __init__(self, solver: UnsteadyFlow, rtol: float = 5e-8) -> None:
        self.solver = solver
        momentum = solver.momentum
        self.krylov = TwoColumnBiCGStab(momentum.columns, rtol)
        n, owned = momentum.n_local, momentum.n_owned
        self._fixed_rows = np.flatnonzero(solver.fixed[:, :owned].any(axis=0))
        self._free = (~solver.fixed[:, :owned].T).astype(float)
        self._scale, self._ones = np.ones((owned, 2)), np.ones((owned, 2))
        self._weighted, self._w = np.zeros((owned, 2)), np.zeros((solver.space.n_velocity_local, 2))
        self._none, self._sums = np.zeros((n, 2)), np.zeros((2, 2))
        self._w_bar = momentum.vector()
        self._boundary = np.zeros((owned, 2))
        self._rest = np.zeros((len(self._fixed_rows), 2))
        self._solutions = [momentum.vector() for _ in range(3)]
        self._known = 0

    def forget(self) -> None:
        """Guess the next adjoint velocity to be zero: results then depend on nothing before."""
        self._known = 0

    def pull(self, step: FlowStep, bar: FlowCotangent) -> np.ndarray:
        """Turn ``bar`` at the end of ``step`` into that at its beginning. Collective.

        Returns the cotangent of the boundary values (n_velocity, 2), owners' values, zero where the
        velocity is free; a view that the next call overwrites.

        Raises:
            SolverDiverged: on every rank, when a linear solve fails.
        """
        dt = step.time_step
        inertia = (1.0 if step.first else 1.5) / dt
        bar.collect()
        n, momentum = len(self._free), self.solver.momentum
        pressure = self.solver.pressure_correction
        by_pressure = pressure.increment_transposed(bar.increment + bar.pressure, inertia)
        bar.velocity[:n] += by_pressure + inertia * bar.rate[:n]
        self._set_matrix(step, inertia)
        adjoint = self._solve(bar.velocity[:n])
        self._pull_boundary(bar.velocity, adjoint)
        mass = momentum.rows._replace(data=momentum.mass)
        multiply(mass, self._ones, adjoint, adjoint[:n], self._weighted, self._sums)
        w_bar = self._pull_advection(step, adjoint)
        p_star = pressure.weak_divergence(adjoint)
        self._turn_pressures(p_star, bar, first=step.first)
        if step.first:
            self._turn_first(w_bar, bar, dt)
        else:
            bars = (bar.velocity, bar.old_velocity)
            kernels.pull_extrapolation(dt, w_bar, bar.rate, self._weighted, *bars)
        return self._boundary

    def _set_matrix(self, step: FlowStep, inertia: float) -> None:
        momentum = self.solver.momentum
        np.copyto(self._w, step.now)
        if not step.first:
            self._w *= 2.0
            self._w -= step.old
        momentum.assemble(self._w, inertia, step.viscosity, transposed=True)
        row_scales(momentum.rows[2], momentum.diagonal, self._free, self._scale)

    def _solve(self, right: np.ndarray) -> np.ndarray:
        """The adjoint velocity (n_local, 2), ghosts up to date, zero in fixed rows."""
        momentum, vector = self.solver.momentum, self._guess()
        rows, mass = momentum.rows, momentum.mass
        if not self.krylov.solve(rows, mass, self._scale, self._none, right, vector):
            count = self.krylov.iterations
            raise SolverDiverged(
                f"adjoint: the linear solver of the velocity stopped after {count} iterations"
            )
        return np.asarray(vector.array).reshape(-1, 2)

    def _guess(self) -> la.Vector:
        """The oldest solution's place with a guess in it, now first in the list."""
        oldest = self._solutions.pop()
        first, second = (vector.array for vector in self._solutions)
        guess = oldest.array
        if self._known < 3:
            guess[:] = (0.0, first, 2.0 * first - second)[self._known]
        else:
            guess += 3.0 * (first - second)
        self._solutions.insert(0, oldest)
        self._known = min(self._known + 1, 3)
        return oldest

    def _pull_boundary(self, right: np.ndarray, adjoint: np.ndarray) -> None:
        rows, rest = self._fixed_rows, self._rest
        kernels.residual_rows(self.solver.momentum.rows, rows, adjoint, right, rest)
        self._boundary[rows] = rest * (1.0 - self._free[rows])

    def _pull_advection(self, step: FlowStep, adjoint: np.ndarray) -> np.ndarray:
        momentum, space = self.solver.momentum, self.solver.space
        w_bar = self._w_bar.array.reshape(-1, 2)
        w_bar[:] = 0.0
        geometry = (space.velocity_cells, space.volumes, space.gradients, momentum.convection)
        kernels.pull_convection(adjoint, step.new, *geometry, w_bar)
        kernels.pull_outflow(self._w, adjoint, step.new, momentum.outflow, w_bar)
        if space.comm.size > 1:
            collect(self._w_bar)
        return w_bar

    def _turn_pressures(self, p_star: np.ndarray, bar: FlowCotangent, *, first: bool) -> None:
        m = len(p_star)
        bar.pressure[:m] += p_star
        bar.increment[:m] = bar.old_increment[:m]
        bar.old_increment[:m] = 0.0
        if not first:
            bar.increment[:m] += (4.0 / 3.0) * p_star
            bar.old_increment[:m] -= p_star / 3.0

    def _turn_first(self, w_bar: np.ndarray, bar: FlowCotangent, dt: float) -> None:
        """A step of first order has w = v and r = -v / dt."""
        n = len(self._free)
        rate = (bar.rate[:n] - self._weighted) / dt
        bar.velocity[:n] = bar.old_velocity[:n] + w_bar[:n] - rate
        bar.old_velocity[:n] = 0.0
        bar.rate[:] = 0.0
