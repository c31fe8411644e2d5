"""The peer of `bench flow-step`: the usual solver of unsteady flow in dolfinx.

Incremental pressure correction as the dolfinx tutorial teaches it (Dokken, FEniCSx tutorial, "Test
problem 2: flow past a cylinder"): vector-valued P2/P1, Crank-Nicolson diffusion, Adams-Bashforth
advection, the velocity matrix assembled anew in each step, Krylov solvers for the three stages.
"""

from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from petsc4py import PETSc

from hypemarl.meshing import TaggedMesh
from hypemarl.mpi import Comm
from hypemarl.solvers.fem_petsc import petsc as fem_petsc


class TutorialFlow:
    """Three-stage projection solver for the DFG channel. Collective.

    Args:
        tagged: channel mesh; time_step: dt; viscosity: nu; inflow: x -> velocities (2, m) at the
            entrance.
    """

    def __init__(self, tagged: TaggedMesh, time_step: float, viscosity: float, inflow: Any) -> None:
        mesh = tagged.mesh
        self.V = fem.functionspace(mesh, ("Lagrange", 2, (2,)))
        self.Q = fem.functionspace(mesh, ("Lagrange", 1))
        self.u, self.u_old, self.u_star = (fem.Function(self.V) for _ in range(3))
        self.p, self.phi = fem.Function(self.Q), fem.Function(self.Q)
        self._boundary(tagged, inflow)
        self._forms(float(time_step), float(viscosity))
        self._solvers(mesh.comm)

    def step(self) -> None:
        """Advance by dt. Collective."""
        matrix, right = self._matrices[0], self._vectors[0]
        matrix.zeroEntries()
        fem_petsc.assemble_matrix(matrix, self._lhs[0], bcs=self.bcu)
        matrix.assemble()
        self._solve(0, right, self.bcu, self.u_star)
        self._solve(1, self._vectors[1], self.bcp, self.phi)
        self.p.x.petsc_vec.axpy(1.0, self.phi.x.petsc_vec)
        self.p.x.scatter_forward()
        self.u_old.x.array[:] = self.u.x.array
        self._solve(2, self._vectors[2], [], self.u)

    def _boundary(self, tagged: TaggedMesh, inflow: Any) -> None:
        entrance = fem.Function(self.V)
        entrance.interpolate(inflow)
        at = {n: tagged.entities(n) for n in ("inflow", "disc", "bottom", "top", "outflow")}
        dofs = {n: fem.locate_dofs_topological(self.V, 1, at[n]) for n in at if n != "outflow"}
        zero = np.zeros(2)
        self.bcu = [fem.dirichletbc(entrance, dofs["inflow"])]
        self.bcu += [fem.dirichletbc(zero, dofs[n], self.V) for n in ("disc", "bottom", "top")]
        free = fem.locate_dofs_topological(self.Q, 1, at["outflow"])
        self.bcp = [fem.dirichletbc(0.0, free, self.Q)]

    def _forms(self, dt: float, nu: float) -> None:
        u, v = ufl.TrialFunction(self.V), ufl.TestFunction(self.V)
        q, r = ufl.TrialFunction(self.Q), ufl.TestFunction(self.Q)
        k, viscosity = (fem.Constant(self.V.mesh, value) for value in (dt, nu))
        advecting = 1.5 * self.u - 0.5 * self.u_old
        mean = 0.5 * (u + self.u)
        first = ufl.inner(u - self.u, v) / k * ufl.dx
        first += ufl.inner(ufl.dot(advecting, ufl.nabla_grad(mean)), v) * ufl.dx
        first += viscosity * ufl.inner(ufl.grad(mean), ufl.grad(v)) * ufl.dx
        first -= self.p * ufl.div(v) * ufl.dx
        second = ufl.inner(ufl.grad(q), ufl.grad(r)) * ufl.dx
        second += ufl.div(self.u_star) * r / k * ufl.dx
        third = ufl.inner(u - self.u_star, v) * ufl.dx
        third += k * ufl.inner(ufl.grad(self.phi), v) * ufl.dx
        pairs = [(ufl.lhs(form), ufl.rhs(form)) for form in (first, second, third)]
        self._lhs = [fem.form(left) for left, _ in pairs]
        self._rhs = [fem.form(right) for _, right in pairs]

    def _solvers(self, comm: Comm) -> None:
        conditions: list[list[fem.DirichletBC]] = [self.bcu, self.bcp, []]
        self._matrices = [
            fem_petsc.assemble_matrix(form, bcs=bcs)
            for form, bcs in zip(self._lhs, conditions, strict=True)
        ]
        self._vectors = [fem_petsc.create_vector(s) for s in (self.V, self.Q, self.V)]
        multigrid = "hypre" if PETSc.Sys.hasExternalPackage("hypre") else "gamg"
        kinds = (("bcgs", "jacobi"), ("minres", multigrid), ("cg", "sor"))
        self._krylov = []
        for matrix, (method, preconditioner) in zip(self._matrices, kinds, strict=True):
            matrix.assemble()
            solver: Any = PETSc.KSP().create(comm)  # type: ignore[arg-type]
            solver.setOperators(matrix)
            solver.setType(method)
            solver.getPC().setType(preconditioner)
            self._krylov.append(solver)

    def _solve(self, stage: int, right: Any, conditions: list, result: fem.Function) -> None:
        with right.localForm() as local:
            local.set(0.0)
        fem_petsc.assemble_vector(right, self._rhs[stage])
        fem_petsc.apply_lifting(right, [self._lhs[stage]], [conditions])
        right.ghostUpdate(addv=PETSc.InsertMode.ADD_VALUES, mode=PETSc.ScatterMode.REVERSE)
        fem_petsc.set_bc(right, conditions)
        self._krylov[stage].solve(right, result.x.petsc_vec)
        result.x.scatter_forward()
