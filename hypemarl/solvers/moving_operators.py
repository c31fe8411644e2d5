"""Matrices of the momentum and of the pressure on a mesh that moves: refilled, never made anew."""

import numpy as np
from dolfinx import la
from petsc4py import PETSc

from hypemarl.config.keys import LinearSolver
from hypemarl.solvers import moving_kernels as kernels
from hypemarl.solvers.flow_kernels import reference_products
from hypemarl.solvers.momentum import MomentumMatrix, places
from hypemarl.solvers.pressure import PressureCorrection
from hypemarl.solvers.taylor_hood import BoundaryFacets, TaylorHood

RTOL = 1e-9
"""Relative residual of the pressure's conjugate gradients."""
KEPT_UP_TO = 6
"""Iterations above which new factors of the pressure's Laplacian are made: about their price."""
MOST_ITERATIONS = 200


class MovingMomentum(MomentumMatrix):
    """K = inertia M + viscosity S + C(w) + 1/2 M_div, M_div weighted by ``dilation``. Collective.

    Attributes:
        dilation: (n_cells,) divergence of the mesh's velocity, for the caller to write.
    """

    def __init__(self, space: TaylorHood, open_facets: BoundaryFacets) -> None:
        super().__init__(space, open_facets)
        self.dilation = np.zeros(len(space.volumes))
        self._still = np.zeros(len(space.volumes))
        full = places(space.velocity_cells, self._matrix.indptr, self._matrix.indices)
        nodes = np.arange(6)
        diagonals = full[:, nodes, nodes].astype(np.uint32)
        self._products = (kernels.packed_references(), self._cell_places, diagonals)

    def renew(self) -> None:
        """Mass, and geometry of the open boundary, where the nodes are now. Collective."""
        self.open.renew(self.space)
        self._renew(self.mass, 1.0, 0.0)

    def renew_stiffness(self) -> None:
        """Stiffness where the nodes are now; :meth:`assemble` does without. Collective."""
        self._renew(self.stiffness, 0.0, 1.0)

    def _renew(self, out: np.ndarray, inertia: float, viscosity: float) -> None:
        """inertia M + viscosity S into the owned rows ``out`` (nnz,), by way of K."""
        self._fill(inertia, self._still, viscosity)
        if self.space.comm.size > 1:
            self._matrix.scatter_reverse()
        out[:] = self._matrix.data[: self._nnz]

    def _set_constant_part(self, inertia: float, viscosity: float) -> None:
        self._fill(inertia, self.dilation, viscosity)

    def _fill(self, inertia: float, dilation: np.ndarray, viscosity: float) -> None:
        data, space = self._matrix.data, self.space
        data[:] = 0.0
        geometry = (space.volumes, space.gradients)
        kernels.add_mass_and_stiffness(
            inertia, dilation, viscosity, *geometry, *self._products, data
        )


class MovingPressure(PressureCorrection):
    """The pressure's half of a step with products by cells and a Laplacian that is refilled.

    Conjugate gradients with the factors of an earlier mesh: those of the first one as long as they
    serve, so that a result does not depend on what was solved before.

    Attributes:
        iterations: of the last solve. factorisations: how often factors were made.

    Collective.
    """

    def __init__(
        self, space: TaylorHood, open_facets: BoundaryFacets, linear_solver: LinearSolver
    ) -> None:
        super().__init__(space, open_facets, linear_solver)
        cells = len(space.volumes)
        self._entries = np.ones(9 * cells + len(self._fixed))
        self._cell_entries = self._entries[: 9 * cells].reshape(cells, 3, 3)
        self.solver.setType(PETSc.KSP.Type.CG)
        self.solver.setTolerances(rtol=RTOL, atol=1e-300, max_it=MOST_ITERATIONS)
        self.solver.getPC().setReusePreconditioner(True)
        self.iterations, self.factorisations = 0, 1

    def _build_products(self, pressure: np.ndarray, p_size: tuple[int, int]) -> None:
        space = self.space
        _, _, self._tensor = reference_products()
        self._pull, self._tested = la.vector(space.velocity_map, 2), la.vector(space.pressure_map)
        self._cells = kernels.Cells(
            space.pressure_cells, space.velocity_cells, space.volumes, space.gradients
        )

    def renew(self) -> None:
        """The Laplacian where the nodes are now. Collective."""
        kernels.set_laplacians(self.space.volumes, self.space.gradients, self._cell_entries)
        self.laplacian.setValuesCOO(self._entries)
        if self.iterations > KEPT_UP_TO:
            self.factorise()

    def factorise(self) -> None:
        """New factors of the Laplacian; its pattern was analysed at first. Collective."""
        self.laplacian.setValuesCOO(self._entries)  # or PETSc takes the factors for up to date
        factors = self.solver.getPC()
        factors.setReusePreconditioner(False)
        factors.setUp()
        factors.setReusePreconditioner(True)
        self.iterations, self.factorisations = 0, self.factorisations + 1

    def weak_gradient(self, p: np.ndarray) -> np.ndarray:
        """As in the base; ``p`` (n_pressure_local,) with its ghosts up to date. Collective."""
        self._pull.array[:] = 0.0
        out = self._pull.array.reshape(-1, 2)
        kernels.add_weak_gradient(p, self._cells, self._tensor, out)
        if self.space.comm.size > 1:
            self._pull.scatter_reverse(la.InsertMode.add)
        return out[: self.space.n_velocity]

    def weak_divergence(self, v: np.ndarray) -> np.ndarray:
        """As in the base; ``v`` (n_velocity_local or more, 2) with its ghosts. Collective."""
        self._tested.array[:] = 0.0
        kernels.add_weak_divergence(v, self._cells, self._tensor, self._tested.array)
        if self.space.comm.size > 1:
            self._tested.scatter_reverse(la.InsertMode.add)
        self._right.array_w[:] = self._tested.array[: self.space.n_pressure]
        return self._right.array_w

    def increment(self, v: np.ndarray, coefficient: float, out: np.ndarray) -> bool:
        """As in the base. Collective."""
        solved = super().increment(v, coefficient, out)
        self.iterations = int(self.solver.getIterationNumber())
        return solved
