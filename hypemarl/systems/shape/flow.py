"""The steady flow around an obstacle that moves: the part of a shape plant that knows the mesh."""

from __future__ import annotations

import numpy as np
import ufl
from dolfinx import fem, la

from hypemarl.meshing import TaggedMesh
from hypemarl.meshing.boundary import Boundary
from hypemarl.meshing.morphing import MeshMotion, place
from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.steady_flow import FlowSolution, SteadyFlow
from hypemarl.systems.body import vertex_fields
from hypemarl.systems.shape.layout import shape_layout
from hypemarl.systems.shape.options import ShapeOptions
from hypemarl.types import Row

FAR = ("inflow", "bottom", "top")
"""Tags on which the fluid has the velocity of the undisturbed stream."""


class ShapeFlow:
    """Steady flows around the shapes of one mesh.

    The velocity is U (cos a, sin a) on inflow and side walls, a counted from the x axis, zero on
    the obstacle and on further bodies; the outflow is free. A flow of either sign of the angle a
    enters through one side and leaves through the other. Forms, sparsity and numbering are built
    once, whatever shape follows.

    Args:
        tagged: mesh with the tags domain, inflow, bottom, top and that of the obstacle; its
            coordinates are those of ``motion.raw``, and move with the shapes that are solved for.
        motion: of that mesh. flow: speed and linear solver. boundary: conditions on the mesh, by
            :func:`hypemarl.coupling.validation.examine`.

    Attributes:
        solver, space, layout, motion, tagged.

    Collective.
    """

    def __init__(
        self, tagged: TaggedMesh, motion: MeshMotion, flow: ShapeOptions, boundary: Boundary
    ) -> None:
        self.tagged, self.motion, self.comm = tagged, motion, tagged.mesh.comm
        self.solver = SteadyFlow(
            tagged, dirichlet=boundary.dirichlet, linear_solver=flow.linear_solver
        )
        self.space = self.solver.space
        self.layout = shape_layout(self.space, motion)
        self._speed = flow.speed
        self._far = np.unique(np.concatenate([self.space.nodes(name) for name in FAR]))
        self._boundary = np.zeros((2, self.space.n_velocity_local))
        self._build_forms()

    def _build_forms(self) -> None:
        """Dissipation per cell; vorticity tested with the vertices' functions, and their volume."""
        mixed, mesh = self.solver.mixed, self.space.mesh
        velocity = ufl.split(mixed.state)[0]
        cells = fem.functionspace(mesh, ("DG", 0))
        at_cell, at_vertex = ufl.TestFunction(cells), ufl.TestFunction(self.space.Q)
        squares = 0.5 * ufl.inner(ufl.grad(velocity), ufl.grad(velocity))
        self._dissipation = fem.form(squares * at_cell * ufl.dx)
        self._curl = fem.form(ufl.rot(velocity) * at_vertex * ufl.dx)
        self._volume = fem.form(at_vertex * ufl.dx(domain=mesh))
        self._at_cells, self._at_vertices = (
            fem.create_vector(cells),
            fem.create_vector(self.space.Q),
        )

    def place(self, q: np.ndarray) -> None:
        """Let the mesh take the shape q. Local."""
        place(self.tagged, self.motion.points(q))

    def solve(
        self, q: np.ndarray, viscosity: float, angle: float, start: FlowSolution | None
    ) -> FlowSolution:
        """The flow around the shape q; a function of its arguments alone. Collective.

        ``start``: a flow that is near, on this mesh at whatever shape; None begins at rest.
        Raises SolverDiverged: on every rank, when no steady flow was found.
        """
        self.place(q)
        stream = self._speed * np.array([np.cos(angle), np.sin(angle)])
        self._boundary[:, self._far] = stream[:, None]
        return self.solver.solve(viscosity, self._boundary, start or "rest")

    def forces(self, solution: FlowSolution) -> np.ndarray:
        """Force (n, 2) of the fluid on each agent's part of the obstacle. Collective.

        From the residual: they sum to the force on the body.
        """
        nodal = solution.forces[:, self.layout.nodes]
        return sum_over_ranks(self.comm, self.layout.node_shares @ nodal.T)

    def dissipation(self, solution: FlowSolution) -> np.ndarray:
        """Integral (n,) of |grad v|^2 / 2 over each agent's cells. Collective.

        The mesh must have the shape that ``solution`` was computed for, here and below.
        """
        self.solver.assume(solution)
        cells = self._assemble(self._dissipation, self._at_cells)
        return sum_over_ranks(self.comm, self.layout.cell_shares @ cells[: len(self.space.volumes)])

    def fields(self, solution: FlowSolution) -> Row | None:
        """On rank 0, None elsewhere: points (N, 2), cells (M, 3), velocity (N, 2), pressure (N,)
        and vorticity (N,) at the vertices, in an order that does not depend on the shape.
        Collective.
        """
        self.solver.assume(solution)
        curl, volume = (
            self._assemble(form, self._at_vertices, add=True) for form in (self._curl, self._volume)
        )
        space, count = self.space, self.space.n_pressure
        points = space.Q.tabulate_dof_coordinates()[:, :2]
        curl = curl[:count] / volume[:count]  # ghosts have no volume here
        return vertex_fields(space, points, solution.velocity, solution.pressure, curl)

    def _assemble(self, form: fem.Form, vector: la.Vector, *, add: bool = False) -> np.ndarray:
        """A new array; with ``add`` owners have the contributions of all ranks."""
        vector.array[:] = 0.0
        fem.assemble_vector(vector.array, form)
        if add:
            vector.scatter_reverse(la.InsertMode.add)
        return vector.array.copy()
