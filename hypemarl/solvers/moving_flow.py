"""Unsteady Navier-Stokes equations on a moving mesh: arbitrary Lagrangian-Eulerian form.

With d/dt at a node that moves with the mesh and w_m the velocity of the mesh,

    dv/dt + (v - w_m) . grad v - nu lap v + grad p = 0,   div v = 0,

everything on the mesh of the new time level. Nodal values v^n belong to nodes, wherever those were.
w_m is the difference of the coordinates that the scheme takes of velocities,

    w_m = (3 x^{n+1} - 4 x^n + x^{n-1}) / (2 dt),

and the term w . grad v + 1/2 (div w) v of :mod:`hypemarl.solvers.navier_stokes` becomes

    (w - w_m) . grad v + 1/2 (div w) v,

skew-symmetric but for 1/2 (div w_m) v, one number per cell beside its mass. As the form is not
conservative, the (discrete) geometric conservation law says no more than that this vanishes for a
constant v, which it does exactly and with any w_m: no test function sees where the mesh moves.
The price: momentum and energy are those of the moving domain up to the error in time, of second
order (L. Formaggia, F. Nobile, Comput. Methods Appl. Mech. Engrg. 193 (2004) 4097; D. Boffi,
L. Gastaldi, ibid. 4717).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI

from hypemarl.config.keys import LinearSolver
from hypemarl.meshing import TaggedMesh
from hypemarl.meshing.morphing import place
from hypemarl.meshing.raw import MeshError
from hypemarl.solvers import moving_kernels as kernels
from hypemarl.solvers.moving_operators import MovingMomentum, MovingPressure
from hypemarl.solvers.navier_stokes import FlowState, UnsteadyFlow
from hypemarl.solvers.taylor_hood import BoundaryFacets
from hypemarl.solvers.velocity_transfer import VelocityTransfer


@dataclass(frozen=True)
class MovingState(FlowState):
    """A :class:`FlowState` with four arrays (n_velocity_local, 2) of the P2 nodes.

    geometry: coordinates now, at the last and the last but one step, velocity in the last step.
    """

    geometry: tuple[np.ndarray, ...]


class MovingFlow(UnsteadyFlow):
    """:class:`UnsteadyFlow` on a mesh whose nodes move: ``move`` before ``step``. Collective.

    Args:
        moving: tags whose prescribed velocities are those of their nodes, written in each step.
        settings: of :class:`UnsteadyFlow`.

    Attributes:
        mesh_velocity: (2, n_velocity_local) of the last step, a view.

    Raises:
        ValueError: on every rank, see :class:`UnsteadyFlow`.
    """

    momentum: MovingMomentum
    pressure_correction: MovingPressure

    def __init__(
        self,
        tagged: TaggedMesh,
        *,
        dirichlet: Mapping[str, Sequence[int]],
        moving: Sequence[str] = ("obstacle",),
        **settings: Any,
    ) -> None:
        super().__init__(tagged, dirichlet=dirichlet, **settings)
        self._settings = settings | {"dirichlet": dirichlet, "moving": moving}
        n, points = self.space.n_velocity_local, self.space.velocity_points
        self._x, self._old_x, self._older_x = points, points.copy(), points.copy()
        self._mesh_v, self._relative = np.zeros((n, 2)), np.zeros((n, 2))
        self.mesh_velocity = self._mesh_v.T
        tags = [self.space.nodes(name) for name in moving]
        self._moving = np.unique(np.concatenate([*tags, np.zeros(0, dtype=np.int64)]))

    def _build_operators(self, open_facets: BoundaryFacets, linear_solver: LinearSolver) -> None:
        self.momentum = MovingMomentum(self.space, open_facets)
        self.pressure_correction = MovingPressure(self.space, open_facets, linear_solver)

    def move(self, points: np.ndarray) -> None:
        """Set vertices of the undistributed mesh (N, 2) at the end of the next step. Collective.

        Raises:
            MeshError: on every rank, when a cell is turned over; ``restore`` leads back.
        """
        place(self.space.tagged, points)
        self._renew()

    def _renew(self) -> None:
        """Everything that depends on coordinates, from those of the mesh."""
        least = self.space.renew()
        if self.comm.size > 1:
            least = self.comm.allreduce(least, MPI.MIN)
        if not least > 0.0:
            raise MeshError(
                f"moving mesh: a cell has the signed area {least:.3g} at time {self.time:g} (step "
                f"{self.steps}); move less, or remesh"
            )
        self.momentum.renew()
        self.pressure_correction.renew()
        self.walls.renew()

    def step(self) -> None:
        """As in :class:`UnsteadyFlow`, to the coordinates of ``move``. Collective."""
        super().step()
        self._older_x, self._old_x = self._old_x, self._older_x
        self._old_x[:] = self._x

    def _extrapolate(self) -> float:
        inertia = super()._extrapolate()
        if self._history == 0:  # a step of first order
            self._mesh_v[:] = (self._x - self._old_x) / self.dt
        else:
            change = 3.0 * self._x - 4.0 * self._old_x + self._older_x
            self._mesh_v[:] = change / (2.0 * self.dt)
        self._w[: len(self._mesh_v)] -= self._mesh_v
        self._boundary[self._moving] = self._mesh_v[self._moving]
        self._dilate()
        return inertia

    def _dilate(self) -> None:
        space = self.space
        kernels.dilate(self._mesh_v, space.velocity_cells, space.gradients, self.momentum.dilation)

    def _dissipation(self) -> float:
        self.momentum.renew_stiffness()
        return super()._dissipation()

    def handed_over(self, tagged: TaggedMesh) -> "MovingFlow":
        """This flow on another mesh of the polygon that its mesh covers now, after a remesh.

        The velocity goes over by :class:`VelocityTransfer`, the pressure by interpolation; the next
        step is of first order. Serial.

        Raises:
            NotImplementedError, ValueError: see :class:`VelocityTransfer`.
        """
        now = {"time_step": self.dt, "viscosity": self.viscosity}
        new = MovingFlow(tagged, **(self._settings | now))
        move = VelocityTransfer(self.space, new.space, new.fixed)
        new.reset(move(self.velocity), move.interpolate_pressure(self.pressure))
        new.time, new.steps = self.time, self.steps
        return new

    def reset(self, velocity: np.ndarray, pressure: np.ndarray | None = None) -> None:
        """As in :class:`UnsteadyFlow`; the mesh rests where it is. Collective."""
        super().reset(velocity, pressure)
        self._old_x[:], self._older_x[:] = self._x, self._x
        self._mesh_v[:], self.momentum.dilation[:] = 0.0, 0.0

    def snapshot(self) -> MovingState:
        """A copy of the state, coordinates included. Local."""
        flow = vars(super().snapshot())
        arrays = (self._x, self._old_x, self._older_x, self._mesh_v)
        return MovingState(**flow, geometry=tuple(array.copy() for array in arrays))

    def restore(self, state: FlowState) -> None:
        """Return to a snapshot of this solver, on which alone the flow then depends. Collective.

        Raises:
            TypeError: on every rank, when it is one of a mesh that does not move.
        """
        if not isinstance(state, MovingState):
            raise TypeError("MovingFlow.restore: expected a MovingState, got a FlowState")
        super().restore(state)
        points, self._old_x[:], self._older_x[:], self._mesh_v[:] = state.geometry
        self.space.put(points)
        self._renew()
        self.pressure_correction.factorise()
        self._dilate()

    def traction(self) -> np.ndarray:
        """As in :class:`UnsteadyFlow`, with the motion of the mesh. Local."""
        n = len(self._mesh_v)
        np.subtract(self._v[:n], self._mesh_v, out=self._relative)
        flow = (self._rate, self._v, self.pressure, self.viscosity)
        return self.walls.evaluate(*flow, self._relative, self.momentum.dilation).T
