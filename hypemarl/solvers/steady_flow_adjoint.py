"""Derivatives of numbers of a steady flow with respect to the coordinates of the mesh's vertices.

A number of the flow is here

    L = sum_i w_i . F_i + sum_c k_c integral over cell c of |grad v|^2 / 2,

F_i the residual's force on node i of a body and k_c a weight of cell c. F_i = -R(u, x; phi_i), R
the weak form and phi_i the nodal function, so that L = -R(u, x; w) + D(u, x) is one form, and with

    R_u^T z = L_u,  z = 0 where the velocity is prescribed,

dL/dx = -R_x(u, x; w + z) + D_x(u, x): the partial derivative of the same form, w + z in place of w.
The derivative by coordinates is that of the assembled numbers, nodal values held, and so exact for
the discrete flow (D. Ham, L. Mitchell, A. Paganini, F. Wechsung, Automated shape differentiation in
the Unified Form Language, Struct. Multidiscip. Optim. 60 (2019) 1813).
"""

import numpy as np
import ufl
from dolfinx import fem, la

from hypemarl.solvers.mixed_flow import assembled
from hypemarl.solvers.steady_flow import FlowSolution, SteadyFlow


class SteadyShapeGradient:
    """dL/dx of weighted nodal forces and dissipation; forms are compiled once. Collective.

    Args:
        flow: the solver; the mesh's coordinates may move afterwards.
    """

    def __init__(self, flow: SteadyFlow) -> None:
        self.flow, mixed, mesh = flow, flow.mixed, flow.space.mesh
        self._test = fem.Function(mixed.mixed)
        self._cells = fem.Function(fem.functionspace(mesh, ("DG", 0)))
        velocity = ufl.split(mixed.state)[0]
        dissipation = 0.5 * ufl.inner(ufl.grad(velocity), ufl.grad(velocity))
        value = self._cells * dissipation * ufl.dx - ufl.action(mixed.residual_form, self._test)
        self._slope = fem.form(ufl.derivative(value, mixed.state))
        self._vertices = fem.functionspace(mesh, ("Lagrange", 1, (2,)))
        directions = ufl.TestFunction(self._vertices)
        self._motion = fem.form(ufl.derivative(value, ufl.SpatialCoordinate(mesh), directions))
        self._slope_vector = fem.create_vector(mixed.mixed)
        self._motion_vector = fem.create_vector(self._vertices)
        # node of the geometry of each vertex of the space of directions
        self._nodes = np.empty(len(self._vertices.tabulate_dof_coordinates()), dtype=np.int64)
        self._nodes[self._vertices.dofmap.list] = mesh.geometry.dofmaps[0]

    def evaluate(
        self, solution: FlowSolution, forces: np.ndarray, dissipation: np.ndarray
    ) -> np.ndarray:
        """This rank's part of dL/dx at the nodes of ``mesh.geometry``, (k, 2). Collective.

        Summed over ranks, parts of the same node make up its derivative. Nodes with prescribed
        velocities move with them. The mesh must have the coordinates of ``solution``.

        Args:
            solution: the flow; forces: (2, n_velocity_local) w, the same on every rank that holds a
                node, zero where the velocity is free; dissipation: (n_cells,) k of own cells.

        Raises:
            SolverDiverged: on every rank, when the adjoint has no solution.
        """
        mixed, test = self.flow.mixed, self._test.x
        owned = mixed.n_owned
        self._cells.x.array[: len(dissipation)] = dissipation
        self._cells.x.scatter_forward()
        test.array[:] = 0.0
        test.array[mixed.velocity_dofs] = forces
        self.flow.assume(solution)
        slope = assembled(self._slope, self._slope_vector)
        slope.scatter_reverse(la.InsertMode.add)
        test.array[:owned] += self.flow.transposed(solution, slope.array[:owned])
        test.scatter_forward()
        parts = assembled(self._motion, self._motion_vector).array.reshape(-1, 2)
        result = np.zeros((len(self.flow.space.mesh.geometry.x), 2))
        result[self._nodes] = parts
        return result
