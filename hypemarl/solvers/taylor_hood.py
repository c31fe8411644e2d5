"""Taylor-Hood elements (P2 velocity, P1 pressure) as plain arrays, for kernels and couplings.

Built once per mesh. Local node arrays hold the rank's own nodes first, then ghosts; element
arrays hold the cells that the rank owns, so that every cell is counted once over all ranks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from dolfinx import default_scalar_type, fem, la
from dolfinx import mesh as dmesh

from hypemarl.meshing import TaggedMesh, require_tags
from hypemarl.solvers.flow_kernels import Facets, facet_quadrature
from hypemarl.solvers.moving_kernels import CellGeometry, renew_cells
from hypemarl.solvers.p1 import P1Space, barycentric_gradients, facet_places

#: local edge e lies opposite to local vertex e: the ends of the edges of a triangle
EDGE_ENDS = np.array([[1, 2], [0, 2], [0, 1]])


def quadratics(places: np.ndarray) -> np.ndarray:
    """P2 functions (k, 6) at barycentric coordinates (k, 3): vertices, then opposite edges."""
    ends = places[:, EDGE_ENDS]
    return np.hstack([places * (2.0 * places - 1.0), 4.0 * ends[..., 0] * ends[..., 1]])


@dataclass(frozen=True)
class BoundaryFacets:
    """Facets of one tag that belong to the rank's own cells.

    Attributes:
        nodes: (m, 3) local P2 nodes: end, end, middle.
        cells: (m,) index of the cell in the element arrays.
        places: (m,) the cell's vertex opposite to the facet: 0, 1 or 2.
        lengths: (m,).
        normals: (m, 2) unit normals that point out of the fluid.
    """

    nodes: np.ndarray
    cells: np.ndarray
    places: np.ndarray
    lengths: np.ndarray
    normals: np.ndarray

    def for_kernels(self) -> Facets:
        """Views of the arrays, which follow :meth:`renew`, with quadrature points."""
        return Facets(self.nodes, self.lengths, self.normals, *facet_quadrature())

    def renew(self, space: "TaylorHood") -> None:
        """Lengths and normals where the nodes of ``space`` are now, in place. Local."""
        self.lengths[:], self.normals[:] = _measure(space, self.nodes, self.cells, self.places)


class TaylorHood:
    """P2/P1 spaces on a triangle mesh, their numbering, geometry and halo. Collective.

    Args:
        tagged: triangle mesh with its tags.

    Raises:
        ValueError: on every rank, when the mesh is not one of triangles in the plane.
    """

    def __init__(self, tagged: TaggedMesh) -> None:
        mesh = tagged.mesh
        if (mesh.topology.dim, mesh.geometry.dim) != (2, 2):
            raise ValueError(
                "Navier-Stokes: expected a mesh of triangles in the plane, got cells of dimension "
                f"{mesh.topology.dim} in {mesh.geometry.dim} dimensions"
            )
        self.tagged, self.mesh, self.comm = tagged, mesh, mesh.comm
        self.V = fem.functionspace(mesh, ("Lagrange", 2))
        self.Q = fem.functionspace(mesh, ("Lagrange", 1))
        self.velocity_map, self.pressure_map = self.V.dofmap.index_map, self.Q.dofmap.index_map
        self.n_velocity = self.velocity_map.size_local
        self.n_velocity_local = self.n_velocity + self.velocity_map.num_ghosts
        self.n_pressure = self.pressure_map.size_local
        self.n_pressure_local = self.n_pressure + self.pressure_map.num_ghosts
        self.velocity_points = self.V.tabulate_dof_coordinates()[:, :2].copy()
        self.pressure_points = self.Q.tabulate_dof_coordinates()[:, :2].copy()
        count = mesh.topology.index_map(2).size_local
        self.velocity_cells = np.array(self.V.dofmap.list[:count], dtype=np.int32)
        self.pressure_cells = np.array(self.Q.dofmap.list[:count], dtype=np.int32)
        corners = self.pressure_points[self.pressure_cells]
        edges = corners[:, 1:] - corners[:, :1]
        twice = np.linalg.det(edges)
        self.volumes, self._orientation = 0.5 * np.abs(twice), np.sign(twice)
        self.gradients = barycentric_gradients(corners)
        self.midpoints = corners.mean(axis=1)
        self._pressure_halo = la.vector(self.pressure_map, 1, dtype=default_scalar_type)

    def renew(self) -> float:
        """Take over the coordinates that the mesh has now, in place; facets renew themselves.

        Returns this rank's smallest signed volume of a cell, negative where one is turned over.
        Local.
        """
        geometry = self.mesh.geometry
        out = CellGeometry(
            self.velocity_points, self.pressure_points, self.volumes, self.gradients, self.midpoints
        )
        nodes = (geometry.dofmaps[0], self.V.dofmap.list, self.Q.dofmap.list)
        return float(renew_cells(geometry.x, *nodes, self._orientation, out))

    def put(self, points: np.ndarray) -> None:
        """Give the mesh the vertices of the P2 nodes ``points`` (n_velocity_local, 2). Local."""
        geometry = self.mesh.geometry
        geometry.x[geometry.dofmaps[0], :2] = points[self.V.dofmap.list[:, :3]]

    def facets(self, name: str) -> BoundaryFacets:
        """The facets of a tag that belong to this rank's cells. Local.

        Raises:
            MeshError: there is no such tag of dimension 1.
        """
        require_tags(self.tagged, {name: 1})
        return self._describe_facets(self.tagged.entities(name))

    def nodes(self, name: str) -> np.ndarray:
        """Sorted local P2 nodes of a tag (k,), ghosts included. Collective.

        Raises:
            MeshError: there is no such tag of dimension 1.
        """
        require_tags(self.tagged, {name: 1})
        entities = self.tagged.entities(name)
        return np.unique(fem.locate_dofs_topological(self.V, 1, entities, remote=True))

    def prescribed(self, dirichlet: Mapping[str, Sequence[int]]) -> np.ndarray:
        """Mask (2, n_velocity_local) of prescribed components; tag -> 0, 1. Collective.

        Raises:
            ValueError, MeshError: on every rank: there is no such component, or no such tag.
        """
        fixed = np.zeros((2, self.n_velocity_local), dtype=bool)
        for tag, components in dirichlet.items():
            if not set(components) <= {0, 1}:
                raise ValueError(
                    f"dirichlet: expected components 0 and 1, got {list(components)} of tag {tag!r}"
                )
            nodes = self.nodes(tag)
            for component in components:
                fixed[component, nodes] = True
        return fixed

    def update_pressure(self, values: np.ndarray) -> None:
        """Owners' values to the ghosts of ``values`` (n_pressure_local,). Collective."""
        if self.comm.size > 1:
            halo, owned = self._pressure_halo, self.n_pressure
            halo.array[:owned] = values[:owned]
            halo.scatter_forward()
            values[owned:] = halo.array[owned:]

    def exterior(self, marked: np.ndarray, *, closed: bool) -> BoundaryFacets:
        """Exterior facets all of whose nodes are ``marked``, or all others. Local.

        ``marked``: (n_velocity_local,) bool; ``closed``: which of both.
        """
        every = self._describe_facets(dmesh.exterior_facet_indices(self.mesh.topology))
        kept = marked[every.nodes].all(axis=1) == closed
        return BoundaryFacets(**{name: values[kept] for name, values in vars(every).items()})

    def _describe_facets(self, entities: np.ndarray) -> BoundaryFacets:
        """Nodes, cells, lengths and outward normals of facets (local indices)."""
        index, place = facet_places(self.mesh.topology, entities)
        owned = index < len(self.velocity_cells)
        index, place = index[owned], place[owned]
        dofs, ends = self.velocity_cells[index], EDGE_ENDS[place]
        rows = np.arange(len(index))
        nodes = np.stack([dofs[rows, ends[:, 0]], dofs[rows, ends[:, 1]], dofs[rows, 3 + place]], 1)
        return BoundaryFacets(nodes, index, place, *_measure(self, nodes, index, place))


def _measure(
    space: TaylorHood, nodes: np.ndarray, cells: np.ndarray, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lengths (m,) and outward unit normals (m, 2) of facets."""
    # grad(lambda_v) of the vertex opposite to a facet points inwards
    inward = space.gradients[cells, places]
    tangents = space.velocity_points[nodes[:, 1]] - space.velocity_points[nodes[:, 0]]
    normals = -inward / np.linalg.norm(inward, axis=1, keepdims=True)
    return np.linalg.norm(tangents, axis=1), normals


class VertexValues:
    """Values of a P2 field at the nodes of a P1 space, ghosts included. Collective.

    Args:
        flow: numbering of the P2 field; target: space of the P1 nodes; both on one mesh.
    """

    def __init__(self, flow: TaylorHood, target: P1Space) -> None:
        if flow.mesh is not target.mesh:
            raise ValueError("VertexValues: expected both spaces on the same mesh object")
        self._target = target
        self._source = np.zeros(target.n_local, dtype=np.int64)
        # cells list their vertices alike in every space; own nodes are vertices of own cells
        self._source[target.cells.ravel()] = flow.velocity_cells[:, :3].ravel()
        self._halo = target.vector()

    def __call__(self, field: np.ndarray) -> np.ndarray:
        """Components (c, n_velocity_local) -> nodal values (n_local, c). Collective."""
        target = self._target
        values = np.empty((target.n_local, len(field)))
        for component, nodal in enumerate(field):
            self._halo.array[: target.n_owned] = nodal[self._source[: target.n_owned]]
            if target.comm.size > 1:
                self._halo.scatter_forward()
            values[:, component] = self._halo.array
        return values
