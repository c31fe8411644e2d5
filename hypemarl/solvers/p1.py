"""Piecewise linear elements as plain arrays, for kernels and couplings, built once per mesh."""

from collections.abc import Callable
from math import factorial

import numpy as np
import ufl
from dolfinx import fem, la
from dolfinx import mesh as dmesh
from dolfinx.common import IndexMap

from hypemarl.mpi import sum_over_ranks


class P1Space:
    """Continuous P1 functions on a simplicial mesh, their halo, and integrals of their squares.

    Nodal arrays are local: the rank's own nodes first (``n_owned``), then ghosts; ghosts include
    every neighbour of an owned node, so that a loop over the owned rows of a matrix needs no other
    rank.

    Args:
        mesh: simplicial mesh of intervals or triangles (tetrahedra work too). Collective.
    """

    def __init__(self, mesh: dmesh.Mesh) -> None:
        self.mesh = mesh
        self.comm = mesh.comm
        self.gdim = mesh.geometry.dim
        self.space = fem.functionspace(mesh, ("Lagrange", 1))
        self.tdim = mesh.topology.dim
        self.pattern = assembled_matrix(lambda u, v: u * v, self.space)
        self.columns = self.pattern.index_map(1)
        self.n_owned = self.columns.size_local
        self.n_local = self.n_owned + self.columns.num_ghosts
        #: row pointers (n_owned + 1,) of the owned rows and the column (local node) of every entry
        #: (nnz,)
        self.indptr = self.pattern.indptr[: self.n_owned + 1].astype(np.int32)
        self.indices = self.pattern.indices[: self.indptr[-1]].astype(np.uint32)
        require_ghosts_first(self.columns, self.space.dofmap.index_map)
        self.points = self._halo_points()
        self.cells, self.volumes = self._cells()
        self.midpoints = self.points[self.cells].mean(axis=1)
        self.gradients = barycentric_gradients(self.points[self.cells])
        self.facets, self.facet_measures, self.facet_cells = self._exterior_facets()

    def assemble(self, integrand: Callable) -> np.ndarray:
        """Entries of the matrix of ``integrand(u, v) * dx`` in the pattern's order, owned rows.

        Collective. Returns shape (nnz,).
        """
        return assembled_matrix(integrand, self.space).data[: self.indptr[-1]].copy()

    def vector(self) -> la.Vector:
        """A nodal vector with the halo of this space: ``.array`` has shape (n_local,)."""
        return la.vector(self.columns)

    def total(self, values: np.ndarray) -> float:
        """Sum of rank contributions, the same number on every rank. Collective."""
        return float(sum_over_ranks(self.comm, np.atleast_1d(np.asarray(values, float)))[0])

    def gather(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """The whole mesh on rank 0, None elsewhere: points (N, gdim), cells (M, tdim + 1), values.

        ``values`` is nodal, (n_local, m) -> (N, m). Collective.
        """
        start = self.columns.local_range[0]
        names = np.concatenate([np.arange(self.n_owned) + start, self.columns.ghosts])
        part = (self.points[: self.n_owned], names[self.cells], values[: self.n_owned])
        pieces = self.comm.gather(part, root=0)
        if pieces is None:
            return None
        points, cells, fields = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
        return points, cells, fields

    def _halo_points(self) -> np.ndarray:
        """Coordinates of all local nodes: those of far ghosts come from their owners."""
        vector = la.vector(self.columns, self.gdim)
        points = vector.array.reshape(-1, self.gdim)
        points[: self.n_owned] = self.space.tabulate_dof_coordinates()[: self.n_owned, : self.gdim]
        vector.scatter_forward()
        return points.copy()

    def _cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes (n_cells, tdim + 1) and volumes (n_cells,) of the cells owned by this rank."""
        count = self.mesh.topology.index_map(self.tdim).size_local
        cells = np.array(self.space.dofmap.list[:count], dtype=np.int32)
        edges = self.points[cells[:, 1:]] - self.points[cells[:, :1]]
        return cells, np.abs(np.linalg.det(edges)) / factorial(self.tdim)

    def _exterior_facets(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Nodes (n, tdim), measures (n,) and cells (n,) of the boundary facets of owned cells."""
        topology, fdim = self.mesh.topology, self.tdim - 1
        topology.create_connectivity(fdim, self.tdim)
        cells, places = facet_places(topology, dmesh.exterior_facet_indices(topology))
        closure = self.space.dofmap.dof_layout.entity_closure_dofs
        corners = np.array([closure(fdim, place) for place in range(self.tdim + 1)])
        dofs = self.space.dofmap.list[cells]
        nodes = np.take_along_axis(dofs, corners[places], axis=1).astype(np.int32)
        if len(cells) and cells.max() >= len(self.cells):
            raise RuntimeError("a boundary facet of this rank belongs to another rank's cell")
        return nodes, _facet_measures(self.points[nodes]), cells


def facet_places(topology: dmesh.Topology, facets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First cell (n,) of each facet, and which of its facets it is (n,): 0, 1, ... Local."""
    tdim = topology.dim
    topology.create_connectivity(tdim - 1, tdim)
    topology.create_connectivity(tdim, tdim - 1)
    to_cell = topology.connectivity(tdim - 1, tdim)
    to_facet = topology.connectivity(tdim, tdim - 1)
    cells = to_cell.array[to_cell.offsets[facets]]
    sides = to_facet.array.reshape(-1, tdim + 1)[cells]
    return cells, (sides == facets[:, None]).argmax(axis=1)


def collect(vector: la.Vector) -> None:
    """Add the ghosts' values to the owners' and set them to zero. Collective."""
    vector.scatter_reverse(la.InsertMode.add)
    vector.array[vector.index_map.size_local * vector.block_size :] = 0.0


def require_ghosts_first(columns: IndexMap, space: IndexMap) -> None:
    """A matrix's ghosts must begin with the space's own, since cells index both alike. Local."""
    if not np.array_equal(space.ghosts, columns.ghosts[: len(space.ghosts)]):
        raise RuntimeError("dolfinx ordered the ghosts of the matrix unlike those of the space")


def _facet_measures(corners: np.ndarray) -> np.ndarray:
    """Lengths of edges (n, 2, gdim), areas of triangles (n, 3, 3), ones for points."""
    edges = corners[:, 1:] - corners[:, :1]
    gram = np.einsum("nik,njk->nij", edges, edges)
    return np.sqrt(np.linalg.det(gram)) / factorial(edges.shape[1])


def barycentric_gradients(corners: np.ndarray) -> np.ndarray:
    """Gradients of the nodal functions of each cell, shape (n_cells, tdim + 1, gdim)."""
    inverse = np.linalg.inv(corners[:, 1:] - corners[:, :1])
    rest = np.swapaxes(inverse, 1, 2)
    return np.concatenate([-rest.sum(axis=1, keepdims=True), rest], axis=1)


def assembled_matrix(integrand: Callable, space: fem.FunctionSpace) -> la.MatrixCSR:
    """Matrix of ``integrand(u, v) * dx``, complete on the rows of the owners. Collective."""
    u, v = ufl.TrialFunction(space), ufl.TestFunction(space)
    matrix = fem.assemble_matrix(fem.form(integrand(u, v) * ufl.dx))
    matrix.scatter_reverse()
    return matrix
