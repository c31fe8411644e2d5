"""The steady Navier-Stokes equations on one mixed P2/P1 space: residual, Jacobian, numbering."""

import basix.ufl
import numpy as np
import ufl
from dolfinx import default_scalar_type, fem, la

from hypemarl.solvers.fem_petsc import petsc as fem_petsc
from hypemarl.solvers.taylor_hood import TaylorHood


class MixedFlow:
    """Forms, sparsity and numbering, built once; then only values change. Collective.

    Args:
        space: numbering of the velocity and pressure arrays that callers use.

    Attributes:
        state: velocity and pressure as one finite element function.
        viscosity, convection: constants; the latter is the share of the convection term.
        velocity_dofs: (2, n_velocity_local), pressure_dofs: (n_pressure_local,): where the nodes of
            ``space`` stand in the local mixed vector.
        divergence: (2, n_velocity_local) integrals of the divergence of the nodal functions.
        n_owned: entries of the mixed vector that this rank owns.
        residual_form: the equations at ``state``, linear in the test function. Like all forms here
            it reads the mesh's coordinates when it is assembled.
        matrix: the Jacobian, see :meth:`linearise`.
    """

    def __init__(self, space: TaylorHood) -> None:
        mesh = space.mesh
        cell, real = mesh.basix_cell(), mesh.geometry.x.dtype
        elements = [
            basix.ufl.element("Lagrange", cell, 2, shape=(2,), dtype=real),
            basix.ufl.element("Lagrange", cell, 1, dtype=real),
        ]
        self.mixed = fem.functionspace(mesh, basix.ufl.mixed_element(elements))
        self.n_owned = self.mixed.dofmap.index_map.size_local
        self.state = fem.Function(self.mixed)
        self.viscosity = fem.Constant(mesh, default_scalar_type(1.0))
        self.convection = fem.Constant(mesh, default_scalar_type(1.0))
        (v, p), (w, q) = ufl.split(self.state), ufl.TestFunctions(self.mixed)
        momentum = self.viscosity * ufl.inner(ufl.grad(v), ufl.grad(w)) - p * ufl.div(w)
        momentum += self.convection * ufl.inner(ufl.dot(ufl.grad(v), v), w)
        self.residual_form = residual = (momentum - q * ufl.div(v)) * ufl.dx
        self._form = fem.form(residual)
        self._jacobian = fem.form(ufl.derivative(residual, self.state))
        self._vector = fem.create_vector(self.mixed)
        self.matrix = fem_petsc.create_matrix(self._jacobian)
        self._number(space)
        weights = self._assembled(fem.form((ufl.div(w) + 0 * q) * ufl.dx))
        weights.scatter_forward()
        self.divergence = weights.array[self.velocity_dofs]

    def residual(self) -> np.ndarray:
        """Residual at the present state, (n_owned,), a new array. Collective."""
        return self._assembled(self._form).array[: self.n_owned].copy()

    def linearise(self, conditions: list[fem.DirichletBC]) -> None:
        """Assemble ``matrix`` at the present state, unit rows of fixed entries. Collective."""
        self.matrix.zeroEntries()
        fem_petsc.assemble_matrix(self.matrix, self._jacobian, bcs=conditions)
        self.matrix.assemble()

    def _assembled(self, form: fem.Form) -> la.Vector:
        vector = assembled(form, self._vector)
        vector.scatter_reverse(la.InsertMode.add)
        return vector

    def _number(self, space: TaylorHood) -> None:
        """Number the nodes by cells, whose nodes every space lists alike."""
        self.velocity_dofs = np.empty((2, space.n_velocity_local), dtype=np.int32)
        for component in range(2):
            dofs = self.mixed.sub(0).sub(component).dofmap.list
            self.velocity_dofs[component, space.V.dofmap.list.ravel()] = dofs.ravel()
        self.pressure_dofs = np.empty(space.n_pressure_local, dtype=np.int32)
        self.pressure_dofs[space.Q.dofmap.list.ravel()] = self.mixed.sub(1).dofmap.list.ravel()


def assembled(form: fem.Form, vector: la.Vector) -> la.Vector:
    """``vector`` with the contributions of this rank's cells to a form. Local."""
    vector.array[:] = 0.0
    fem.assemble_vector(vector.array, form)
    return vector
