"""Unsteady incompressible Navier-Stokes equations: dv/dt + v . grad v - nu lap v + grad p = 0.

Taylor-Hood P2/P1 in space. In time BDF2 with incremental pressure correction in its unprojected
form (Guermond and Quartapelle, Numer. Math. 80 (1998) 207; Guermond, Minev and Shen, Comput.
Methods Appl. Mech. Engrg. 195 (2006) 6011): with w = 2 v^n - v^{n-1} and
p* = p^n + 4/3 f^n - 1/3 f^{n-1}, each component of the velocity solves

    (3 v - 4 v^n + v^{n-1}) / (2 dt) + w . grad v + 1/2 (div w) v - nu lap v + grad p* = 0,

then lap f = 3/(2 dt) div v and p = p^n + f. No projection of the velocity is ever formed, so that
no mass matrix is inverted. Convection is skew-symmetric and hence free of energy; both components
share one scalar matrix unless walls fix only one of them. Open boundaries take the natural
condition nu dv/dn - p n = 1/2 min(v . n, 0) v, which is "do nothing" where fluid leaves and cannot
feed energy where it enters (Braack and Mucha, J. Comput. Math. 32 (2014) 507).

docs/navier_stokes.md says why the element loops are compiled by numba and summed by PETSc.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from hypemarl.config.keys import LinearSolver
from hypemarl.meshing import TaggedMesh
from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers import flow_kernels as kernels
from hypemarl.solvers.errors import SolverDiverged, TimeStepTooLong, require_positive
from hypemarl.solvers.functionals import WallForces
from hypemarl.solvers.krylov import TwoColumnBiCGStab, multiply, row_scales
from hypemarl.solvers.momentum import MomentumMatrix
from hypemarl.solvers.pressure import PressureCorrection
from hypemarl.solvers.taylor_hood import BoundaryFacets, TaylorHood

CHECK_EVERY = 10  # steps between checks of the energy balance
CHECKS = 3  # that must fail in a row
ROUNDING = 1e-24  # power of the splitting below this share of inertia |v|^2 is noise


@dataclass(frozen=True)
class FlowState:
    """All that the next step depends on: nodal arrays, viscosity, time, steps.

    velocity, old_velocity, older_velocity, rate and boundary (n_local, 2); pressure, increment and
    old_increment (n_pressure_local,). ``splitting``: energy exchanged since the last check, and
    ``suspect``: checks in a row that it failed; ``history``: steps since the last start.
    """

    velocity: np.ndarray
    old_velocity: np.ndarray
    older_velocity: np.ndarray
    rate: np.ndarray
    boundary: np.ndarray
    pressure: np.ndarray
    increment: np.ndarray
    old_increment: np.ndarray
    viscosity: float
    splitting: float
    suspect: int
    time: float
    steps: int
    history: int


# Attributes of the solver by fields of its state.
_ARRAYS = ("rate", "boundary", "increment", "old_increment")
ARRAYS = {"velocity": "_v", "old_velocity": "_old_v", "older_velocity": "_older_v"}
ARRAYS |= {"pressure": "pressure"} | {name: f"_{name}" for name in _ARRAYS}
NUMBERS = {name: name for name in ("viscosity", "time", "steps")}
NUMBERS |= {name: f"_{name}" for name in ("splitting", "suspect", "history")}


class UnsteadyFlow:
    """Second-order pressure-correction solver; built once, then only values change. Collective.

    Args:
        tagged: triangle mesh with named boundary parts.
        dirichlet: tag -> velocity components (0, 1) prescribed there; other boundaries are
            open (or, for a component, free to slip).
        time_step: dt.
        viscosity: nu.
        linear_solver: for the pressure, see :func:`hypemarl.solvers.pressure.symmetric_solver`.
        bodies: tags on whose nodes :meth:`traction` is taken; all prescribed nodes by default.
        cfl_limit: a step with a larger Courant number raises.
        imbalance_limit: so does a larger share of dissipation that the splitting takes or gives.
        rtol: relative residual of the velocity solve.

    Attributes:
        space: TaylorHood. viscosity: may change between steps; nothing is factorised again.
        boundary: (2, n_velocity_local), prescribed values at the END of the next
            step, for the caller to write on every rank that holds the node.
        fixed: (2, n_velocity_local) bool, where they count.
        courant: Courant number of the last step. imbalance: see imbalance_limit, of the last check.

    Raises:
        ValueError: on every rank, when a number or a tag makes no sense.
    """

    def __init__(
        self,
        tagged: TaggedMesh,
        *,
        dirichlet: Mapping[str, Sequence[int]],
        time_step: float,
        viscosity: float = 1e-3,
        bodies: Sequence[str] | None = None,
        linear_solver: LinearSolver = "auto",
        cfl_limit: float = 2.0,
        imbalance_limit: float = 0.01,
        rtol: float = 5e-8,
    ) -> None:
        require_positive("time_step", time_step)
        require_positive("viscosity", viscosity)
        self.space = space = TaylorHood(tagged)
        self.comm = space.comm
        self.dt, self.viscosity = time_step, viscosity
        self.cfl_limit, self.imbalance_limit = cfl_limit, imbalance_limit
        self.fixed = space.prescribed(dirichlet)
        open_facets = space.exterior(self.fixed.any(axis=0), closed=False)
        self._build_operators(open_facets, linear_solver)
        self.krylov = TwoColumnBiCGStab(self.momentum.columns, rtol)
        self.walls = WallForces(space, self._wall_nodes(bodies))
        self._allocate()

    def _build_operators(self, open_facets: BoundaryFacets, linear_solver: LinearSolver) -> None:
        self.momentum = MomentumMatrix(self.space, open_facets)
        self.pressure_correction = PressureCorrection(self.space, open_facets, linear_solver)

    def _wall_nodes(self, bodies: Sequence[str] | None) -> np.ndarray:
        if bodies is None:
            return self.fixed.any(axis=0)
        marked = np.zeros(self.space.n_velocity_local, dtype=bool)
        for name in bodies:
            marked[self.space.nodes(name)] = True
        return marked

    def _allocate(self) -> None:
        space, momentum = self.space, self.momentum
        n, owned, m = momentum.n_local, momentum.n_owned, space.n_pressure_local
        self._vector, self._old_vector, self._older_vector = (momentum.vector() for _ in range(3))
        self._v = self._vector.array.reshape(-1, 2)
        self._old_v = self._old_vector.array.reshape(-1, 2)
        self._older_v = self._older_vector.array.reshape(-1, 2)
        self._w, self._rate, self._boundary = (np.zeros((n, 2)) for _ in range(3))
        self.boundary = self._boundary[: space.n_velocity_local].T
        self._prescribed = np.flatnonzero(self.fixed.T)
        self._free = (~self.fixed[:, :owned].T).astype(float)
        self._ones, self._right, self._scale = (np.ones((owned, 2)) for _ in range(3))
        self._sums = np.zeros((2, 2))
        self.pressure, self._p_star = np.zeros(m), np.zeros(m)
        self._increment, self._old_increment = np.zeros(m), np.zeros(m)
        self.time, self.steps, self._history = 0.0, 0, 0
        self.courant, self.imbalance = 0.0, 0.0
        self._splitting, self._suspect = 0.0, 0

    @property
    def velocity(self) -> np.ndarray:
        """Nodal velocities (2, n_velocity_local), ghosts up to date; a view."""
        return self._v[: self.space.n_velocity_local].T

    def step(self) -> None:
        """Advance by ``dt`` to the values in ``boundary``. Collective.

        Raises:
            TimeStepTooLong: on every rank, when the Courant number or what the splitting does to
                the energy passes its limit.
            SolverDiverged: on every rank, when a linear solve fails.
        """
        inertia = self._extrapolate()
        self._check_courant(self.momentum.assemble(self._w, inertia, self.viscosity))
        self._solve_velocity(inertia)
        increment, old = self._increment, self._old_increment
        self._increment, self._old_increment = old, increment
        if not self.pressure_correction.increment(self._v, inertia, self._increment):
            self._diverged("the linear solver of the pressure failed")
        self.pressure += self._increment
        self.time += self.dt
        self.steps += 1
        self._history += 1
        self._check_energy(inertia)

    def _extrapolate(self) -> float:
        """w, p*, the explicit part of the time derivative and a guess of the new velocity.

        Returns the coefficient of the implicit part. The guess stands in the oldest velocity's
        place, which becomes that of the new one.
        """
        dt, v, old, older = self.dt, self._v, self._old_v, self._older_v
        if self._history == 0:  # one step of first order
            self._w[:], older[:] = v, v
            self._p_star[:] = self.pressure
            self._rate[:] = v * (-1.0 / dt)
            return 1.0 / dt
        kernels.extrapolate(v, old, older, dt, self._history > 1, self._w, self._rate)
        self._p_star[:] = self.pressure + (4.0 * self._increment - self._old_increment) / 3.0
        return 1.5 / dt

    def _solve_velocity(self, inertia: float) -> None:
        momentum = self.momentum
        scale = self._scale
        row_scales(momentum.rows[2], momentum.diagonal, self._free, scale)
        self._rotate()
        places = self._prescribed  # in the flattened arrays
        self._v.ravel()[places] = self._boundary.ravel()[places]
        if self.comm.size > 1:  # the halo of the matrix reaches beyond that of the boundary values
            self._vector.scatter_forward()
        force = self.pressure_correction.weak_gradient(self._p_star)
        rows, mass = momentum.rows, momentum.mass
        if not self.krylov.solve(rows, mass, scale, self._rate, force, self._vector):
            count = self.krylov.iterations
            self._diverged(f"the linear solver of the velocity stopped after {count} iterations")
        self._rate += inertia * self._v

    def _rotate(self) -> None:
        """The new velocity, so far a guess, takes the place of the present one."""
        new, old, older = self._older_vector, self._vector, self._old_vector
        self._vector, self._old_vector, self._older_vector = new, old, older
        self._v, self._old_v, self._older_v = self._older_v, self._v, self._old_v

    def _check_courant(self, fastest: float) -> None:
        """Courant number 2 dt max |w . grad(l)|: P2 nodes lie half an edge apart. Collective."""
        if self.comm.size > 1:
            fastest = self.comm.allreduce(fastest, MPI.MAX)
        self.courant = 2.0 * self.dt * fastest
        if not self.courant <= self.cfl_limit:
            self._diverged(
                f"Courant number {self.courant:.3g} above the limit {self.cfl_limit:g}, beyond "
                "which the scheme drifts without warning",
                TimeStepTooLong if np.isfinite(self.courant) else SolverDiverged,
            )

    def _check_energy(self, inertia: float) -> None:
        """Power that enters by the splitting, |grad f|^2 / inertia, against dissipation.

        The scheme's own energy balance lacks nothing else. The share is 1e-4 while the splitting
        works and 0.04 or more soon after it has gone wrong, where forces are still plausible. A
        sudden change of boundary data may pass the limit for a moment: it counts when CHECKS
        means over CHECK_EVERY steps do so in a row. Collective.
        """
        self._splitting += self.pressure_correction.energy / inertia
        if self._history % CHECK_EVERY:
            return
        power, self._splitting = self._splitting / CHECK_EVERY, 0.0
        self.imbalance = float(power / max(self._dissipation(), 1e-300))
        if self.imbalance > self.imbalance_limit:  # a uniform flow has no dissipation to compare
            flow = inertia * self._quadratic(self.momentum.mass)
            self.imbalance = 0.0 if power <= ROUNDING * flow else self.imbalance
        self._suspect = 0 if self.imbalance <= self.imbalance_limit else self._suspect + 1
        if self._suspect == CHECKS:
            self._diverged(
                f"energy balance: the splitting exchanges {self.imbalance:.2g} of the dissipation, "
                f"above the limit {self.imbalance_limit:g}",
                TimeStepTooLong,
            )

    def _dissipation(self) -> float:
        """nu |grad v|^2 over the domain. Collective."""
        return self.viscosity * self._quadratic(self.momentum.stiffness)

    def _quadratic(self, values: np.ndarray) -> float:
        """v . A v, A with ``values`` (nnz,) in the rows of the momentum matrix. Collective."""
        rows = self.momentum.rows._replace(data=values)
        v, owned = self._v, self._v[: self.momentum.n_owned]
        multiply(rows, self._ones, v, owned, self._right, self._sums)
        return float(sum_over_ranks(self.comm, self._sums[0]).sum())

    def _diverged(self, cause: str, error: type[SolverDiverged] = SolverDiverged) -> None:
        raise error(
            f"{cause}, at time {self.time:g} (step {self.steps}); take a smaller time step than "
            f"{self.dt:g}, or slower boundary values"
        )

    def set_time_step(self, time_step: float) -> None:
        """Change dt; nothing is factorised again, the next step is of first order. Local."""
        self.dt, self._history, self._splitting = time_step, 0, 0.0

    def refine(self, time_step: float) -> None:
        """Go on with a shorter dt and no step of first order.

        The velocity that long ago is interpolated, the pressure goes on at its rate. Local.
        """
        share, self.dt = time_step / self.dt, time_step
        self._old_v[:] = self._v + share * (self._old_v - self._v)
        self._increment *= share
        self._forget_older()

    def coarsen(self, time_step: float, earlier: FlowState) -> None:
        """Go on with a longer dt, likewise; ``earlier``: the state that long ago. Local."""
        self.dt = time_step
        self._old_v[:] = earlier.velocity
        self._increment[:] = self.pressure - earlier.pressure
        self._forget_older()

    def _forget_older(self) -> None:
        """Let what is older continue the last change, and the energy balance begin anew."""
        self._older_v[:] = 2.0 * self._old_v - self._v  # no more than a guess depends on it
        self._old_increment[:] = self._increment
        self._splitting = 0.0

    def reset(self, velocity: np.ndarray, pressure: np.ndarray | None = None) -> None:
        """Start at time zero from nodal values; the first step is then of first order in time.

        ``velocity`` (2, n_velocity_local), ``pressure`` (n_pressure_local,), zero by default;
        ghosts included. Collective.
        """
        for array in (self._increment, self._old_increment, self._rate):
            array[:] = 0.0
        self._v[: self.space.n_velocity_local] = velocity.T
        self._vector.scatter_forward()
        self._old_v[:], self._older_v[:] = self._v, self._v
        self.boundary[:] = velocity
        self.pressure[:] = 0.0 if pressure is None else pressure
        self.time, self.steps, self._history = 0.0, 0, 0
        self._splitting, self._suspect = 0.0, 0

    def snapshot(self) -> FlowState:
        """A copy of the state. Local."""
        arrays = {name: getattr(self, attribute).copy() for name, attribute in ARRAYS.items()}
        return FlowState(**arrays, **{name: getattr(self, a) for name, a in NUMBERS.items()})

    def restore(self, state: FlowState) -> None:
        """Return to a snapshot of this solver. Local."""
        values, stored = vars(self), vars(state)
        for name, attribute in ARRAYS.items():
            values[attribute][:] = stored[name]
        for name, attribute in NUMBERS.items():
            values[attribute] = stored[name]

    def traction(self) -> np.ndarray:
        """Forces of the fluid on the walls' nodes by this rank's cells, (2, n_velocity_local).

        See :mod:`hypemarl.solvers.functionals`. A sum over nodes and then over ranks is the force
        on a body. A view. Local.
        """
        return self.walls.evaluate(self._rate, self._v, self.pressure, self.viscosity).T
