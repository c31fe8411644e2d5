"""Steady incompressible Navier-Stokes flow on Taylor-Hood elements (P2 velocity, P1 pressure).

    (v . grad) v - nu laplace v + grad p = 0,   div v = 0

with velocity components prescribed on tagged facets; where a component is free, its traction
nu dv/dn - p n vanishes (free outflow, free slip). Velocity and pressure stand in one system, so
that a direct factorisation serves both (docs/navier_stokes.md has the measurements).

- From rest: the Stokes flow, then Newton's method with backtracking for the whole convection; where
  that fails, the share of convection (the Reynolds number) grows in steps that are halved on
  failure.
- Near a known flow: **chord steps** with the factorisation at hand, as long as each of them reduces
  the residual well; a new factorisation costs more than fifteen of them.

A factorisation is not trusted: its first solution is put into the system it should solve.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from dolfinx import fem
from mpi4py import MPI

from hypemarl.meshing import TaggedMesh
from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.direct import Factorisation, direct_package
from hypemarl.solvers.errors import SolverDiverged, require_positive
from hypemarl.solvers.mixed_flow import MixedFlow
from hypemarl.solvers.taylor_hood import TaylorHood

TOLERANCE = 1e-10  # of the residual, in units of the forces at Dirichlet nodes
COARSE_TOLERANCE = 1e-3  # the same between the steps of the continuation
CHORD_RATE = 0.3  # a step that reduces the residual less than this asks for a new factorisation
MAX_FACTORISATIONS = 8  # of one Newton iteration
BACKTRACKS = 5  # halvings of a Newton step that does not reduce the residual
SMALLEST_SHARE = 1 / 64  # smallest step of the continuation in the share of convection
ROUNDING = 1e-12
BALANCE = 1e-3  # largest net flux through a closed boundary, in units of the flux through it


@dataclass(frozen=True)
class FlowSolution:
    """A steady flow. Arrays are local, owned nodes first, then ghosts (numbering of TaylorHood).

    Attributes:
        viscosity: nu.
        velocity: (2, n_velocity_local) at the P2 nodes.
        pressure: (n_pressure_local,) at the vertices; of mean zero in an enclosed flow.
        forces: (2, n_velocity_local) nodal forces of the fluid where its velocity is fixed, from
            the residual; zero at free nodes and ghosts. On no-slip walls they sum to drag and lift.
        residual: norm of the residual in units of the norm of ``forces``, or of viscosity times
            velocity where a flow bears next to none.
        newton_steps, chord_steps: with a new and with a kept factorisation.
        factorisations: how many were made.
        seconds: wall time of the solve.
    """

    viscosity: float
    velocity: np.ndarray
    pressure: np.ndarray
    forces: np.ndarray
    residual: float
    newton_steps: int
    chord_steps: int
    factorisations: int
    seconds: float


@dataclass(frozen=True)
class Anchor:
    """A flow kept with its factorisation: where solves of nearby problems start from."""

    state: np.ndarray
    factorisation: Factorisation


@dataclass
class Counters:
    """Totals over all solves of a solver."""

    newton_steps: int = 0
    chord_steps: int = 0
    factorisations: int = 0
    solves: int = 0


class SteadyFlow:
    """Newton and chord solver; forms, sparsity and numbering are built once. Collective.

    Args:
        tagged: triangle mesh with its tags.
        dirichlet: tag -> components of the velocity (0, 1) prescribed on its facets.
        linear_solver: "auto" and "mumps": MUMPS on any number of ranks, "lu": PETSc's own on one
            rank (it does not pivot and may refuse a saddle point).

    Attributes:
        space: the :class:`TaylorHood` numbering of all arrays.
        fixed: (2, n_velocity_local) bool, prescribed components.
        enclosed: no facet lets fluid pass freely; the pressure is then fixed to mean zero.
        mixed: forms and numbering of the system.
        counters: :class:`Counters`.

    Raises:
        MeshError: no such tag; ValueError: unknown components or linear solver. On every rank.
    """

    def __init__(
        self,
        tagged: TaggedMesh,
        *,
        dirichlet: Mapping[str, Sequence[int]],
        linear_solver: str = "auto",
    ) -> None:
        self.space = TaylorHood(tagged)
        self.comm = self.space.comm
        self._package = direct_package(linear_solver, self.comm.size)
        self.fixed = self.space.prescribed(dirichlet)
        if not self.comm.allreduce(int(self.fixed.any()), MPI.MAX):
            raise ValueError(
                "dirichlet: the velocity must be prescribed somewhere, got no boundary values"
            )
        self.mixed = MixedFlow(self.space)
        self._state = self.mixed.state.x
        self._constrain()
        self.counters = Counters()
        self._factors: Factorisation | None = None  # of chord steps
        self._spare: Factorisation | None = None  # no anchor's: may be renewed
        self._started = False
        self._scale, self._least_scale, self._obstacle = 0.0, 0.0, ""

    def solve(
        self,
        viscosity: float,
        boundary: np.ndarray,
        start: Literal["last", "rest"] | Anchor | FlowSolution = "last",
    ) -> FlowSolution:
        """The flow for ``viscosity`` and boundary values (2, n_velocity_local). Collective.

        Args:
            viscosity: nu > 0.
            boundary: only the entries where ``fixed`` is True count; ghosts included.
            start: "last": the last solution and factorisation, the fastest for a sequence of
                nearby problems; an anchor: its own, so that the result does not depend on
                the solves before; a solution: that flow and a factorisation there, which depend on
                nothing before either and fit a mesh that has moved; "rest": the Stokes flow.

        Raises:
            ValueError: on every rank: viscosity, values or their mass balance make no sense.
            SolverDiverged: on every rank, with the attempts.
        """
        began, before = time.perf_counter(), Counters(**vars(self.counters))
        self._set_problem(viscosity, boundary)
        tried: list[str] = []
        if not (self._take(start) and self._iterate(TOLERANCE, tried, "near the known flow")):
            self._continuation(viscosity, tried)
        self._started = True
        self.counters.solves += 1
        return self._solution(viscosity, before, began)

    def keep(self) -> Anchor:
        """The last solution as an anchor, factorised at its own place. Collective."""
        if not self._started:
            raise RuntimeError("keep: there is no solution yet, call solve first")
        self._spare = None
        factors = self._factorise()
        self._spare = None
        return Anchor(self._state.array.copy(), factors)

    def assume(self, solution: FlowSolution) -> None:
        """Let forms of ``mixed`` be those at a known flow. Local."""
        self._begin_at(solution)
        self.mixed.viscosity.value, self.mixed.convection.value = solution.viscosity, 1.0

    def transposed(self, solution: FlowSolution, right: np.ndarray) -> np.ndarray:
        """w with R_u^T w = right at free entries and zero at fixed ones, R_u the Jacobian there.

        ``right`` and w: (n_owned,) of the mixed vector. Takes one factorisation; the mesh must have
        the coordinates that ``solution`` was computed on. Collective.

        Raises:
            SolverDiverged: on every rank, when the factorisation gave no solution.
        """
        self.assume(solution)
        free = np.where(self._fixed_mask, 0.0, right)
        solution_bar = self._factorise().solve(free, transposed=True)
        if solution_bar is None:
            raise SolverDiverged(
                f"adjoint of a steady flow: {self._package} gave no usable factors"
            )
        return solution_bar

    def force(self, solution: FlowSolution, tag: str) -> np.ndarray:
        """Force (2,) of the fluid on the facets of ``tag``, where both components are prescribed.

        Drag and lift where ``tag`` is an obstacle in a flow along x; it must not share nodes with
        other tags of prescribed velocity. The residual's force converges twice as fast as integrals
        of surface gradients (John and Matthies, Int. J. Numer. Methods Fluids 37 (2001) 885). On
        no-slip walls nu dv/dn - p n and the full stress have the same force. Collective.
        """
        return sum_over_ranks(self.comm, solution.forces[:, self.space.nodes(tag)].sum(axis=1))

    def _set_problem(self, viscosity: float, boundary: np.ndarray) -> None:
        require_positive("viscosity", viscosity)
        shape = (2, self.space.n_velocity_local)
        if boundary.shape != shape:
            raise ValueError(
                f"boundary: expected shape {shape} (components, local P2 nodes), "
                f"got {boundary.shape}"
            )
        values = np.where(self.fixed, boundary, 0.0)
        bad = sum_over_ranks(self.comm, np.array([np.count_nonzero(~np.isfinite(values))], float))
        if bad[0]:
            raise ValueError(f"boundary: expected finite values, got {int(bad[0])} that are not")
        largest = self.comm.allreduce(float(np.abs(values).max(initial=0.0)), MPI.MAX)
        self._balance(values, largest)
        # a uniform flow bears no forces at all
        self._least_scale = max(viscosity * largest, np.finfo(float).tiny)
        self.mixed.viscosity.value = viscosity
        self._values = values[self.fixed]

    def _balance(self, values: np.ndarray, largest: float) -> None:
        """Scale the outflow of an enclosed domain to its inflow, in place.

        The interpolation of exact boundary values leaves a small difference.
        """
        if not self.enclosed:
            return
        flux = self.mixed.divergence * values
        owned = flux[:, : self.space.n_velocity]
        weights = np.abs(self.mixed.divergence[:, : self.space.n_velocity]).sum()
        parts = [np.maximum(owned, 0.0).sum(), -np.minimum(owned, 0.0).sum(), weights]
        out, into, weights = sum_over_ranks(self.comm, np.array(parts))
        if max(out, into) <= ROUNDING * weights * largest:
            return  # all the boundary moves along itself
        if abs(out - into) > BALANCE * max(out, into):
            raise ValueError(
                f"boundary: the velocity is fixed on the whole boundary, {into:g} flows in and "
                f"{out:g} flows out per unit of time; correct the values or leave an outflow free"
            )
        values[flux > 0] *= into / out

    def _begin_at(self, solution: FlowSolution) -> None:
        """Take the values of a known flow as the present state; factors of other states go."""
        self._state.array[self.mixed.velocity_dofs] = solution.velocity
        self._state.array[self.mixed.pressure_dofs] = solution.pressure
        self._factors = None

    def _take(self, start: Literal["last", "rest"] | Anchor | FlowSolution) -> bool:
        """Begin from a known flow; False where there is none."""
        if isinstance(start, FlowSolution):
            self._begin_at(start)
        elif isinstance(start, Anchor):
            self._state.array[:] = start.state
            self._factors = start.factorisation
        elif start == "rest" or not self._started:
            return False
        self.mixed.convection.value = 1.0
        return True

    def _continuation(self, viscosity: float, tried: list[str]) -> None:
        """From the Stokes flow by growing shares of convection. Collective."""
        self._state.array[:] = 0.0
        self._factors = None
        self.mixed.convection.value = 0.0
        if not self._iterate(COARSE_TOLERANCE, tried, "Stokes flow"):
            advice = "the Stokes flow is linear and no other viscosity helps: look for flat cells "
            advice += "and for parts of the mesh that no boundary condition holds"
            self._give_up(viscosity, tried, advice)
        share, step = 0.0, 1.0
        while share < 1.0:
            state, goal = self._state.array.copy(), min(1.0, share + step)
            self.mixed.convection.value = goal
            tolerance = TOLERANCE if goal == 1.0 else COARSE_TOLERANCE
            if self._iterate(tolerance, tried, f"{goal:.3g} of the Reynolds number"):
                share = goal
                continue
            self._state.array[:] = state
            self._factors = None
            step /= 2
            if step < SMALLEST_SHARE:
                advice = f"the solver got as far as {share:.3g} of the Reynolds number: lower it, "
                advice += "refine the mesh, or use the unsteady solver"
                self._give_up(viscosity, tried, advice)

    def _give_up(self, viscosity: float, tried: list[str], advice: str) -> None:
        self._started = False
        raise SolverDiverged(
            f"steady flow at viscosity {viscosity:g}: no solution ({'; '.join(tried)}); {advice}"
        )

    def _iterate(self, tolerance: float, tried: list[str], stage: str) -> bool:
        """Chord steps, and Newton steps where these do not reduce the residual well. Collective.

        Returns whether the residual fell below ``tolerance``; if not, ``tried`` gets the reason.
        """
        self._state.array[self._fixed_dofs] = self._values
        norm, budget = self._residual(), MAX_FACTORISATIONS
        while not norm <= tolerance * self._scale:
            fresh = self._factors is None
            if fresh and budget == 0:
                tried.append(f"{stage}: residual {norm / self._scale:.1e} after the last step")
                return False
            budget -= fresh
            new = self._step(self._factors or self._factorise(), norm, fresh)
            if new is None and fresh:
                tried.append(f"{stage}: {self._obstacle} at residual {norm / self._scale:.1e}")
                return False
            if new is None or new > CHORD_RATE * norm:
                self._factors = None
            norm = norm if new is None else new
        return True

    def _step(self, factors: Factorisation, norm: float, fresh: bool) -> float | None:
        """One step; the new residual's norm, or None (and no step) where none reduces it."""
        correction = factors.solve(self._free_residual)
        if correction is None:
            self._obstacle = f"{self._package} gave no usable factors"
            return None
        state, owned = self._state, self.mixed.n_owned
        old, length = state.array.copy(), 1.0
        for _ in range(BACKTRACKS if fresh else 1):
            state.array[:owned] = old[:owned] - length * correction
            state.scatter_forward()
            new = self._residual()
            if new < norm:  # never where it is NaN
                self.counters.newton_steps += fresh
                self.counters.chord_steps += not fresh
                return new
            length /= 2
        self._obstacle = "no Newton step reduces it"
        state.array[:] = old
        self._residual()
        return None

    def _residual(self) -> float:
        """Assemble the residual at the present state; norm of its free entries. Collective."""
        owned = self._every_residual = self.mixed.residual()
        self._free_residual = np.where(self._fixed_mask, 0.0, owned)
        squares = np.array([self._free_residual @ self._free_residual, owned @ owned])
        free, every = np.sqrt(sum_over_ranks(self.comm, squares))
        self._scale = float(max(every, self._least_scale))
        return float(free)

    def _factorise(self) -> Factorisation:
        """Factorise the Jacobian at the present state. Collective."""
        if self._spare is None:
            self._spare = Factorisation(self.mixed.matrix, self._package, self.comm)
        self.mixed.linearise(self._conditions)
        self._spare.update()
        self._factors = self._spare
        self.counters.factorisations += 1
        return self._spare

    def _constrain(self) -> None:
        """Rows of fixed components, and of one pressure where only its gradient is determined."""
        free = np.where(self.fixed, 0.0, np.abs(self.mixed.divergence)).max(initial=0.0)
        largest = np.abs(self.mixed.divergence).max(initial=0.0)
        free, largest = (self.comm.allreduce(float(x), MPI.MAX) for x in (free, largest))
        self.enclosed = bool(free <= 1e-10 * largest)
        self._fixed_dofs = self.mixed.velocity_dofs[self.fixed]
        rows = np.unique(np.concatenate([self._fixed_dofs, self._pinned()])).astype(np.int32)
        self._conditions = [fem.dirichletbc(fem.Function(self.mixed.mixed), rows)]
        self._fixed_mask = np.zeros(self.mixed.n_owned, dtype=bool)
        self._fixed_mask[rows[rows < self.mixed.n_owned]] = True

    def _pinned(self) -> np.ndarray:
        """The local index, if there is one here, of the pressure that stays what it is."""
        marks = fem.create_vector(self.mixed.mixed)
        if self.enclosed and self.comm.rank == 0:
            marks.array[self.mixed.pressure_dofs[0]] = 1.0
        marks.scatter_forward()
        return np.flatnonzero(marks.array)

    def _solution(self, viscosity: float, before: Counters, began: float) -> FlowSolution:
        state, owned = self._state.array, self.space.n_velocity
        if self.enclosed:
            state[self.mixed.pressure_dofs] -= self._mean(state[self.mixed.pressure_dofs])
        norm = self._residual()
        forces = np.zeros_like(self.mixed.divergence)
        forces[:, :owned] = -self._every_residual[self.mixed.velocity_dofs[:, :owned]]
        forces[~self.fixed] = 0.0
        now = self.counters
        counts = {n: getattr(now, n) - x for n, x in vars(before).items() if n != "solves"}
        velocity, pressure = state[self.mixed.velocity_dofs], state[self.mixed.pressure_dofs]
        fields = {"velocity": velocity, "pressure": pressure, "forces": forces}
        seconds, residual = time.perf_counter() - began, norm / self._scale
        return FlowSolution(viscosity, **fields, residual=residual, **counts, seconds=seconds)

    def _mean(self, pressure: np.ndarray) -> float:
        space = self.space
        integral = space.volumes @ pressure[space.pressure_cells].mean(axis=1)
        total, area = sum_over_ranks(self.comm, np.array([integral, space.volumes.sum()]))
        return float(total / area)
