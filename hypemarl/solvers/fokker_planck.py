"""Fokker-Planck equation dy/dt + div(-nu grad y + w y) = 0 with no flux through the boundary.

Scheme (docs/fokker_planck.md has the measurements behind the choice). P1 elements with lumped mass
m_i and the group form of the advective flux give, for neighbours i and j,

    m_i dy_i/dt = sum_j g_ij,   g_ij = k_ij y_j - k_ji y_i = -g_ji,   k_ij = c_ij . w_j - nu s_ij,

c_ij = int grad(phi_i) phi_j, s_ij = int grad(phi_i) . grad(phi_j): second order, and mass is
conserved to rounding because each flux leaves one node and enters the other. Density stays
non-negative since no flux takes more from its donor than a multiple of what the donor holds,

    -a_ji y_i <= g_ij <= a_ij y_j,   a_ij = k_ij + theta max(0, -k_ij, -k_ji) >= 0.

This is monolithic convex limiting (Kuzmin, Comput. Methods Appl. Mech. Engrg. 361 (2020) 112804)
with zero as the only bound; theta = 2 leaves smooth solutions unlimited. Two-stage
strong-stability-preserving Runge-Kutta (Heun) keeps the sign for dt sum_j a_ji <= m_i. The flux
is a local, piecewise smooth function of (y, w), free of dt, so that its transpose is a loop over
the same edges.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
import ufl
from dolfinx import la
from dolfinx import mesh as dmesh
from mpi4py import MPI

from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.errors import SolverDiverged, require_positive
from hypemarl.solvers.kernels import Exchange, edge_rates, euler_stage
from hypemarl.solvers.p1 import P1Space

THETA = 2.0
SAFETY = 0.95  # share of the largest time step that keeps the density non-negative
MAX_TIME_STEPS = 200_000  # of one `advance`: more means that the velocity has run away


@dataclass(frozen=True)
class DensityState:
    """State for a restart: densities (n_local,), velocity (n_local, gdim), time, steps."""

    density: np.ndarray
    velocity: np.ndarray
    time: float
    steps: int


class FokkerPlanck:
    """Explicit, conservative, non-negative solver; built once, then only arrays change. Collective.

    Args:
        mesh: simplicial mesh.
        viscosity: nu > 0.
        max_time_step: upper bound of dt; the stability bound may lower it.

    Raises:
        ValueError: on every rank, when nu or the time step is not positive and finite.
    """

    def __init__(self, mesh: dmesh.Mesh, viscosity: float, max_time_step: float = 0.01) -> None:
        require_positive("viscosity", viscosity, "diffusion must be positive")
        require_positive("max_time_step", max_time_step, "it bounds the solver's time step")
        self.space = P1Space(mesh)
        self.viscosity = viscosity
        self.max_time_step = max_time_step
        self.time = 0.0
        self.steps = 0
        self._assemble_constants()
        self._y = self.space.vector()
        self._stage = self.space.vector()
        #: nodal densities (n_local,) with up-to-date ghosts; a view
        self.density = self._y.array
        #: nodal velocities (n_local, gdim)
        self.velocity = np.zeros_like(self.space.points)
        self.set_velocity(self.velocity)

    @property
    def stable_time_step(self) -> float:
        """Largest dt for which the sign of the density is kept."""
        return SAFETY / self._fastest if self._fastest > 0 else np.inf

    def reset(self, density: np.ndarray) -> None:
        """Start at time zero from nodal densities (n_local,), ghosts included. Local."""
        self.density[:] = density
        self.time, self.steps = 0.0, 0

    def set_velocity(self, velocity: np.ndarray) -> None:
        """Set w from nodal values (n_local, gdim), ghosts included. Collective.

        Raises:
            SolverDiverged: on every rank, when a velocity is not finite.
        """
        self.velocity[:] = velocity
        self._fastest = self._rates_under(self.velocity, self.exchange)
        if not np.isfinite(self._fastest):
            raise SolverDiverged("velocity: expected finite nodal values, got NaN or infinity")

    def _rates_under(self, velocity: np.ndarray, exchange: Exchange) -> float:
        """Fill the rates of ``exchange``; returns the fastest decay of a node. Collective."""
        p, gradients = self.space, (self.gradient, self.gradient_t)
        local = edge_rates(velocity, *gradients, self._diffusion, THETA, *exchange)
        # max(0, nan) may hide a NaN, the sum does not
        local = local if np.isfinite(velocity.sum()) else np.inf
        return p.comm.allreduce(local, MPI.MAX) if p.comm.size > 1 else local

    def steps_needed(self, duration: float) -> int:
        """Time steps that ``duration`` takes under the present velocity. Local."""
        return max(1, ceil(duration / min(self.max_time_step, self.stable_time_step) - 1e-9))

    def advance(
        self,
        duration: float,
        observe: Callable[[np.ndarray, float], None] | None = None,
        at_least: int = 1,
        record: Callable[[np.ndarray, np.ndarray], None] | None = None,
    ) -> int:
        """March by ``duration`` under the present velocity; returns the number of time steps.

        ``observe(density, weight)`` is called at every time level with the trapezoidal weight of a
        time integral, ``record(density, stage)`` in every step with its start and the result of
        its first stage (views), ``at_least`` bounds the number of steps from below. Collective.

        Raises:
            SolverDiverged: on every rank, when the density is not finite or the velocity asks for
                an absurd number of steps.
        """
        count = max(at_least, self.steps_needed(duration))
        if count > MAX_TIME_STEPS:
            raise SolverDiverged(
                f"{count} time steps needed for {duration:g} time units (at most "
                f"{MAX_TIME_STEPS}): {self._most_demanding(duration, count)}"
            )
        dt = duration / count
        for n in range(count):
            if observe is not None:
                observe(self.density, 0.5 * dt if n == 0 else dt)
            self._heun(dt, record)
        if observe is not None:
            observe(self.density, 0.5 * dt)
        self.time += duration
        self.steps += count
        self._check_finite()
        return count

    def _most_demanding(self, duration: float, count: int) -> str:
        """Cause of most of the ``count`` time steps, and the remedy. Collective."""
        unused = self.exchange._replace(rates=np.empty_like(self.exchange.rates))
        still = self._rates_under(np.zeros_like(self.velocity), unused)
        diffusion, present = duration * still / SAFETY, duration * self._fastest / SAFETY
        speed = np.abs(self.velocity).max(initial=0.0)
        speed = self.space.comm.allreduce(speed, MPI.MAX)
        if 2.0 * duration / self.max_time_step >= count:
            return f"the time step may not exceed {self.max_time_step:g}; allow a larger one"
        if 2.0 * diffusion >= count:
            return (
                f"diffusion alone needs {diffusion:.0f}, the viscosity is {self.viscosity:g}; "
                "lower it or coarsen the mesh"
            )
        if 2.0 * present >= count:
            return f"the velocity reaches {speed:g}; bound it or coarsen the mesh"
        return (
            "the largest velocity that controls may reach needs them; bound it or coarsen the mesh"
        )

    def mass(self) -> float:
        """Integral of the density, the same on every rank. Collective."""
        return self.space.total(self.lumped_mass @ self.density[: self.space.n_owned])

    def minimum(self) -> float:
        """Smallest nodal density. Collective."""
        return self.space.comm.allreduce(
            self.density[: self.space.n_owned].min(initial=np.inf), MPI.MIN
        )

    def snapshot(self) -> DensityState:
        """A copy of the state. Local."""
        return DensityState(self.density.copy(), self.velocity.copy(), self.time, self.steps)

    def restore(self, state: DensityState) -> None:
        """Return to a snapshot of this solver. Collective."""
        self.density[:] = state.density
        self.time, self.steps = state.time, state.steps
        self.set_velocity(state.velocity)

    def _assemble_constants(self) -> None:
        """Matrices that never change: c, its transpose, nu s, and the lumped mass."""
        p, axes = self.space, range(self.space.gdim)
        self.gradient = np.stack([p.assemble(lambda u, v, k=k: v.dx(k) * u) for k in axes], axis=1)
        self.gradient_t = np.stack(
            [p.assemble(lambda u, v, k=k: u.dx(k) * v) for k in axes], axis=1
        )
        self._diffusion = self.viscosity * p.assemble(
            lambda u, v: ufl.inner(ufl.grad(u), ufl.grad(v))
        )
        consistent = p.pattern.data[: p.indptr[-1]]
        #: lumped mass of the owned nodes, (n_owned,)
        self.lumped_mass = np.add.reduceat(consistent, p.indptr[:-1]) if p.n_owned else np.zeros(0)
        rates = np.zeros((len(p.indices), 4))
        #: rates of exchange under the present velocity
        self.exchange = Exchange(p.indptr, p.indices, rates, self.lumped_mass)
        self._fastest = 0.0

    def _heun(self, dt: float, record: Callable[[np.ndarray, np.ndarray], None] | None) -> None:
        """y <- 1/2 y + 1/2 E(E(y)), E one explicit Euler step: both stages keep sign and mass."""
        y, stage = self._y, self._stage
        euler_stage(y.array, y.array, 0.0, dt, *self.exchange, stage.array)
        self._update_ghosts(stage)
        if record is not None:
            record(y.array, stage.array)
        euler_stage(stage.array, y.array, 0.5, dt, *self.exchange, y.array)
        self._update_ghosts(y)

    def _update_ghosts(self, vector: la.Vector) -> None:
        if self.space.comm.size > 1:
            vector.scatter_forward()

    def _check_finite(self) -> None:
        bad = np.array([float(np.count_nonzero(~np.isfinite(self.density[: self.space.n_owned])))])
        count = int(sum_over_ranks(self.space.comm, bad)[0])
        if count:
            raise SolverDiverged(
                f"density: expected finite values, got {count} NaN or infinite nodes "
                f"at time {self.time:g} (step {self.steps}); check actions and initial state"
            )
