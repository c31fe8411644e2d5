"""The steady flow v(mu) that carries a density: Navier-Stokes in the square around a disc."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
from mpi4py import MPI

from hypemarl.coupling.recent import Recent
from hypemarl.meshing import TaggedMesh
from hypemarl.meshing.boundary import Boundary
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.solvers.p1 import P1Space
from hypemarl.solvers.steady_flow import Anchor, SteadyFlow
from hypemarl.solvers.taylor_hood import VertexValues
from hypemarl.systems.body import ONSET_OF_SHEDDING
from hypemarl.systems.density.options import InFluidOptions

REMEMBERED = 40
"""Flows kept in memory: of a validation set and of the 25 episodes between two validations."""


class BackgroundFlow:
    """Flow from below through (lower, upper)^2 minus a disc, at any speed and angle.

    On the bottom v = speed (s sin(angle), cos(angle)), s the parabola of height one that vanishes
    at the ends; no slip on the disc and on further bodies, free slip at the sides, free outflow at
    the top. In a mesh that is turned, ``bottom`` is where fluid enters, along its inward normal,
    and a positive angle turns the stream to its right.

    Every flow is computed from the same anchor, the one in the middle of the parameters' box, so
    that it is a function of its parameters, whatever was asked for before: chord steps with the
    anchor's factorisation, a new one where they converge slowly (docs/navier_stokes.md has times).

    Args:
        tagged: mesh with the tags left, right, bottom, top, disc; target: nodes where the velocity
            is evaluated; config: viscosity, box of speeds and angles, linear solver; boundary:
            conditions on the mesh, by :func:`hypemarl.coupling.validation.examine`.

    Raises:
        SolverDiverged: there is no steady flow at the box's middle.

    Collective, every method too.
    """

    def __init__(
        self, tagged: TaggedMesh, target: P1Space, config: InFluidOptions, boundary: Boundary
    ) -> None:
        self.config = config
        self.flow = SteadyFlow(
            tagged, dirichlet=boundary.dirichlet, linear_solver=config.linear_solver
        )
        self._at_vertices = VertexValues(self.flow.space, target)
        self._inflow_nodes = self.flow.space.nodes("bottom")
        self._along = np.array(boundary.stream)
        self._right = np.array([self._along[1], -self._along[0]])
        entrance = self.flow.space.velocity_points[self._inflow_nodes]
        self._profile = self._parabola(entrance @ self._right)
        self._warn()
        self._known: Recent[tuple[float, float], np.ndarray] = Recent(REMEMBERED)
        self._anchor: Anchor | None = None
        speed = 0.5 * (config.speed_low + config.speed_high)
        self._solve(speed, 0.5 * (config.angle_low + config.angle_high))
        self._anchor = self.flow.keep()

    def velocity(self, speed: float, angle: float) -> np.ndarray:
        """Velocities (n_local, 2) at the target's nodes; not to be written to.

        Raises SolverDiverged: on every rank, when no steady flow was found.
        """
        key = (float(speed), float(angle))
        return self._known.get(key, lambda: self._solve(*key))

    def _warn(self) -> None:
        """Beyond the onset of vortex shedding a steady flow is not what a fluid does."""
        disc = self._extent(self.flow.space.velocity_points[self.flow.space.nodes("disc"), 0])
        reynolds = self.config.speed_high * (disc[1] - disc[0]) / self.config.flow_viscosity
        if reynolds > ONSET_OF_SHEDDING and self.flow.comm.rank == 0:
            warnings.warn(
                f"density-fluid: Reynolds number up to {reynolds:.3g} (speed_high times the disc's "
                f"diameter / flow_viscosity, of env.density-fluid); above {ONSET_OF_SHEDDING:g} "
                "the steady flow is unstable and the solver may not find it; raise flow_viscosity",
                stacklevel=2,
            )

    def _extent(self, x: np.ndarray) -> tuple[float, float]:
        comm = self.flow.comm
        low = comm.allreduce(float(x.min(initial=np.inf)), MPI.MIN)
        return low, comm.allreduce(float(x.max(initial=-np.inf)), MPI.MAX)

    def _parabola(self, x: np.ndarray) -> np.ndarray:
        """One in the middle of the bottom, zero at its ends."""
        low, high = self._extent(x)
        return 4.0 * (x - low) * (high - x) / (high - low) ** 2

    def _solve(self, speed: float, angle: float) -> np.ndarray:
        boundary = np.zeros((2, self.flow.space.n_velocity_local))
        across = self._right[:, None] * (speed * np.sin(angle) * self._profile)
        boundary[:, self._inflow_nodes] = self._along[:, None] * (speed * np.cos(angle)) + across
        start: Anchor | Literal["rest"] = self._anchor or "rest"
        try:
            solution = self.flow.solve(self.config.flow_viscosity, boundary, start)
        except SolverDiverged as error:
            raise SolverDiverged(
                f"flow at speed {speed:g}, angle {angle:g}: {error} (env.density-fluid.speed_high, "
                "env.density-fluid.flow_viscosity, env.mesh.element_size)"
            ) from error
        velocity = self._at_vertices(solution.velocity)
        velocity.flags.writeable = False
        return velocity
