"""The scalar momentum matrix of a Taylor-Hood flow: constant parts kept, convection per step."""

import numba
import numpy as np
import ufl
from dolfinx import la

from hypemarl.solvers import flow_kernels as kernels
from hypemarl.solvers.krylov import Rows
from hypemarl.solvers.p1 import assembled_matrix, require_ghosts_first
from hypemarl.solvers.taylor_hood import BoundaryFacets, TaylorHood


class MomentumMatrix:
    """K = inertia M + viscosity S + C(w) on P2, w the advecting velocity, as compressed rows.

    C is the skew-symmetric convection plus 1/2 int max(w . n, 0) u phi on the open boundary. Mass
    M and stiffness S are assembled once by dolfinx; C by compiled loops through a scatter map,
    what falls on other ranks' rows is sent by dolfinx.

    Attributes:
        columns: index map of the columns; local P2 nodes come first in it, in their own order.
        n_owned: rows of this rank. indptr (n_owned + 1,), indices (nnz,).

    Collective.
    """

    def __init__(self, space: TaylorHood, open_facets: BoundaryFacets) -> None:
        self.space, self.open = space, open_facets
        self._matrix = assembled_matrix(lambda u, v: u * v, space.V)
        self.columns = self._matrix.index_map(1)
        require_ghosts_first(self.columns, space.velocity_map)
        self.n_owned = self.columns.size_local
        self.n_local = self.n_owned + self.columns.num_ghosts
        self.indptr = self._matrix.indptr[: self.n_owned + 1].astype(np.int64)
        self._nnz = int(self.indptr[-1])
        self.indices = self._matrix.indices[: self._nnz].astype(np.uint32)
        self.mass = self._matrix.data[: self._nnz].copy()
        stiffness = assembled_matrix(lambda u, v: ufl.inner(ufl.grad(u), ufl.grad(v)), space.V)
        self.stiffness = stiffness.data[: self._nnz].copy()
        self._constant, self._combined = np.zeros_like(self._matrix.data), (0.0, 0.0)
        #: see :func:`hypemarl.solvers.flow_kernels.reference_convection`
        self.convection = kernels.reference_convection()
        self._negative_volumes = -space.volumes
        indptr, indices = self._matrix.indptr, self._matrix.indices
        nodes = np.arange(self.n_owned, dtype=np.int32)[:, None]
        #: places of the diagonal entries in the values of the owned rows, (n_owned,)
        self.diagonal = places(nodes, indptr, indices).ravel()
        full = places(space.velocity_cells, indptr, indices)
        i, j = kernels.PAIRS.T
        self._cell_places = np.stack([full[:, i, j], full[:, j, i]], axis=2).astype(np.uint32)
        self._facet_places = places(open_facets.nodes.astype(np.int32), indptr, indices)
        #: facets of the open boundary
        self.outflow = open_facets.for_kernels()

    @property
    def rows(self) -> Rows:
        """The owned rows; views."""
        return Rows(self.indptr, self.indices, self._matrix.data[: self._nnz])

    def assemble(
        self, w: np.ndarray, inertia: float, viscosity: float, *, transposed: bool = False
    ) -> float:
        """Set K for the advecting velocity ``w`` (n_local, 2), ghosts included, or its transpose.

        Returns this rank's largest |w . grad(l_a)|, one over the shortest time in which a particle
        crosses a cell. Collective.
        """
        data, space = self._matrix.data, self.space
        self._set_constant_part(inertia, viscosity)
        # the one part that is not symmetric is skew
        volumes = self._negative_volumes if transposed else space.volumes
        cells = (space.velocity_cells, volumes, space.gradients)
        fastest = kernels.add_convection(w, *cells, self.convection, self._cell_places, data)
        kernels.add_outflow(w, self.outflow, self._facet_places, data)
        if space.comm.size > 1:
            self._matrix.scatter_reverse()
        return float(fastest)

    def _set_constant_part(self, inertia: float, viscosity: float) -> None:
        if (inertia, viscosity) != self._combined:
            self._combined = (inertia, viscosity)
            kernels.combine(self.mass, inertia, self.stiffness, viscosity, self._constant)
        np.copyto(self._matrix.data, self._constant)

    def vector(self) -> la.Vector:
        """Two velocity components per node, interleaved, with the halo of the columns."""
        return la.vector(self.columns, 2)


@numba.njit(cache=True)
def places(nodes: np.ndarray, indptr: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Position in compressed rows of every pair of an element's ``nodes`` (n, k): (n, k, k)."""
    n, k = nodes.shape
    result = np.empty((n, k, k), dtype=np.int32)
    for c in range(n):
        for i in range(k):
            row = nodes[c, i]
            for j in range(k):
                e = indptr[row]
                while indices[e] != nodes[c, j]:
                    e += 1
                result[c, i, j] = e
    return result
