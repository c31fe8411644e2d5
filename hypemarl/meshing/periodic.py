"""Periodic meshes: opposite sides of a distributed mesh become one, its geometry stays as it is.

The cells get a new topology in which the two nodes of every pair on opposite sides are one vertex.
Every finite-element space on it is periodic without constraints, and facets of the seam (where the
sides meet) are interior. Cells keep their own nodes: those at the seam have their true size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import ufl
from dolfinx import cpp
from dolfinx.mesh import Mesh, MeshTags, entities_to_geometry, meshtags

from hypemarl.meshing.raw import MeshError, describe_place
from hypemarl.meshing.seam import Seam, Sides, identify, opposite_sides, owned_cells
from hypemarl.mpi import raise_together

_MESSAGE = 1207
"""MPI tag of messages on which ranks share nodes."""


@dataclass(frozen=True)
class _Nodes:
    """Nodes by global number (k,), with owning rank (k,), input number (k,), place (k, gdim)."""

    numbers: np.ndarray
    owners: np.ndarray
    inputs: np.ndarray
    x: np.ndarray

    def at(self, which: np.ndarray) -> "_Nodes":
        return _Nodes(self.numbers[which], self.owners[which], self.inputs[which], self.x[which])

    @staticmethod
    def join(parts: "list[_Nodes]") -> "_Nodes":
        names = ("numbers", "owners", "inputs", "x")
        return _Nodes(*(np.concatenate([getattr(one, name) for one in parts]) for name in names))


@dataclass(frozen=True)
class _Ghosts:
    """Nodes of ghost cells (g, k), original index (g,), owner (g,); nodes of all local cells."""

    cells: np.ndarray
    numbers: np.ndarray
    owners: np.ndarray
    nodes: _Nodes


def periodic(mesh: Mesh, axes: Sequence[int]) -> Mesh:
    """The mesh with its sides x[a] = min and x[a] = max as one, for every axis a. Collective.

    Every rank owns the cells that it owned, in their order, and has ghost cells at its facets, also
    across the seam, so that integrals over interior facets (dS) are whole. Nodes are copied: a
    motion of one mesh does not move the other.

    A vertex of the seam has the coordinates of one of its two places: there the interpolation of a
    function that is not periodic may take either value, and ``locate_entities_boundary`` by a
    coordinate along a periodic axis may miss facets. :func:`carry_tags` misses none.

    Args:
        mesh: intervals, triangles, quadrilaterals, tetrahedra or hexahedra with straight edges.
        axes: axes along which it becomes periodic, all of them in one call.

    Raises:
        MeshError: on every rank; an axis that the mesh has not, curved or other cells, a mesh that
            is periodic already, sides that do not match, or fewer than 3 cells between them.
    """
    sides = opposite_sides(mesh, axes)
    seam = identify(mesh, sides)
    whole = _assemble(mesh, seam)
    # A domain of its own: forms find their mesh by it, those on the given mesh must keep theirs.
    result = Mesh(whole, ufl.Mesh(mesh.ufl_domain().ufl_coordinate_element()))
    _require_closed(result, sides)
    return result


def _assemble(mesh: Mesh, seam: Seam) -> object:
    """The mesh on identified vertices, with ghost cells across the seam. Collective."""
    owned = owned_cells(mesh)
    shared = _shared(mesh, seam, owned)
    ghosts = _ghosts(mesh, seam, owned, shared)
    cells = np.concatenate([owned, ghosts.cells])
    numbers = mesh.topology.original_cell_index[: len(owned)]
    topology = cpp.mesh.create_topology(
        mesh.comm,
        [mesh.topology.cell_type],
        [seam.become(cells).ravel()],
        [np.concatenate([numbers, ghosts.numbers])],
        [ghosts.owners],
        shared,
        1,
    )
    geometry = _geometry(mesh, cells, ghosts.nodes)
    return type(mesh._cpp_object)(mesh.comm, topology, geometry)


def _local_nodes(mesh: Mesh) -> _Nodes:
    """Every node of the mesh that this rank knows. Local."""
    index_map = mesh.geometry.index_map()
    n = index_map.size_local + index_map.num_ghosts
    return _Nodes(
        index_map.local_to_global(np.arange(n, dtype=np.int32)),
        np.concatenate([np.full(index_map.size_local, mesh.comm.rank), index_map.owners]),
        mesh.geometry.input_global_indices,
        mesh.geometry.x[:, : mesh.geometry.dim],
    )


def _shared(mesh: Mesh, seam: Seam, cells: np.ndarray) -> np.ndarray:
    """Vertices of ``cells`` (m, k) that other ranks may have too, ascending: (v,). Collective.

    They are the ones that more ranks had before, and all of the seam.
    """
    index_map = mesh.geometry.index_map()
    counts = np.diff(index_map.index_to_dest_ranks(_MESSAGE).offsets)
    before = index_map.local_to_global(np.flatnonzero(counts).astype(np.int32))
    return np.unique(seam.become(cells)[seam.find(cells)[1] | np.isin(cells, before)])


def _ghosts(mesh: Mesh, seam: Seam, cells: np.ndarray, shared: np.ndarray) -> _Ghosts:
    """Cells of other ranks that have as many vertices here as a facet has. Collective.

    The seam brings new neighbours, so the ghost cells that were there do not do.
    """
    comm, nodes = mesh.comm, _local_nodes(mesh)
    edge = np.flatnonzero(np.isin(seam.become(cells), shared).any(axis=1))
    rows = mesh.geometry.dofmaps[0][edge]
    parcel = (cells[edge], mesh.topology.original_cell_index[edge], nodes.at(rows.ravel()))
    n_facet = cpp.mesh.cell_num_vertices(
        cpp.mesh.cell_entity_type(mesh.topology.cell_type, mesh.topology.dim - 1, 0)
    )
    parts = []
    for rank, (theirs, numbers, corners) in enumerate(comm.allgather(parcel)):
        here = np.isin(seam.become(theirs), shared).sum(axis=1) >= n_facet
        here &= rank != comm.rank
        owners = np.full(int(here.sum()), rank, dtype=np.int32)
        corner = np.repeat(here, theirs.shape[1])
        parts.append((theirs[here], numbers[here], owners, corners.at(corner)))
    cells_, numbers_, owners_, corners_ = zip(*parts, strict=True)
    return _Ghosts(
        np.concatenate(cells_),
        np.concatenate(numbers_),
        np.concatenate(owners_),
        _Nodes.join([nodes, *corners_]),
    )


def _geometry(mesh: Mesh, cells: np.ndarray, nodes: _Nodes) -> object:
    """A copy of the geometry for other ghost cells. Collective.

    Args:
        mesh: the given mesh, whose owned nodes stay as they are.
        cells: global numbers of the nodes of owned cells and ghost cells, (m, k).
        nodes: at least their nodes.
    """
    given, index_map = mesh.geometry, mesh.geometry.index_map()
    start, end = index_map.local_range
    own = index_map.size_local
    numbers, first = np.unique(nodes.numbers, return_index=True)
    ghosts = np.setdiff1d(cells, np.arange(start, end))
    at = first[np.searchsorted(numbers, ghosts)]
    owners = nodes.owners[at].astype(np.int32)
    new_map = cpp.common.IndexMap(mesh.comm, own, ghosts, owners, _MESSAGE)
    inside = (cells >= start) & (cells < end)
    dofmap = np.where(inside, cells - start, own + np.searchsorted(ghosts, cells))
    return type(given._cpp_object)(
        new_map,
        dofmap.astype(np.int32),
        given._cpp_object.cmaps[0],
        np.concatenate([given.x[:own, : given.dim], nodes.x[at]]),
        np.concatenate([given.input_global_indices[:own], nodes.inputs[at]]),
    )


def _require_closed(mesh: Mesh, sides: Sides) -> None:
    """Refuse sides whose nodes match but whose facets do not. Collective."""
    tdim = mesh.topology.dim
    exterior = _exterior(mesh.topology._cpp_object)
    nodes = entities_to_geometry(mesh, tdim - 1, exterior)
    corners = mesh.geometry.x[nodes][..., : mesh.geometry.dim]
    lower, upper = sides.contain(corners)
    open_ = (lower.all(axis=1) | upper.all(axis=1)).any(axis=1)
    count = mesh.comm.allreduce(int(open_.sum()))
    with raise_together(mesh.comm):
        if open_.any():
            place = describe_place(corners[open_][0].mean(axis=0))
            raise MeshError(
                f"periodic: the sides of axes {list(sides.axes)} have the same nodes but not the "
                f"same facets: {count} facets have no partner on the other side, one of them at "
                f"{place}; mesh both sides alike (gmsh: setPeriodic)"
            )


def _exterior(topology: cpp.mesh.Topology) -> np.ndarray:
    """Owned exterior facets of a topology: (m,). Collective."""
    topology.create_entities(topology.dim - 1, 0)
    topology.create_connectivity(topology.dim - 1, topology.dim)
    topology.create_connectivity(topology.dim, topology.dim - 1)
    return cpp.mesh.exterior_facet_indices(topology)


def carry_tags(tags: MeshTags, mesh: Mesh) -> MeshTags:
    """Tags of cells or facets of a mesh on its periodic one. Collective.

    Facets of the seam lose their tags: they are no boundary any more. Ghost cells have none.

    Args:
        tags: of the mesh that ``mesh`` was made of, known on every rank that has the entity.
        mesh: what :func:`periodic` gave.

    Raises:
        MeshError: on every rank; tags of entities of another dimension, or of another mesh.
    """
    source, target = tags.topology, mesh.topology._cpp_object
    tdim = target.dim
    n_cells = target.index_map(tdim).size_local
    numbers = [one.original_cell_index[:n_cells] for one in (source, target)]
    with raise_together(mesh.comm):
        if not np.array_equal(*numbers) or tags.dim not in (tdim - 1, tdim):
            raise MeshError(
                f"carry_tags: expected tags of dimension {tdim - 1} or {tdim} on the mesh that the "
                f"periodic one was made of, got tags of dimension {tags.dim} "
                f"{'on' if np.array_equal(*numbers) else 'on the cells of another mesh than'} it"
            )
    if tags.dim == tdim:
        places = np.arange(source.index_map(tdim).size_local + source.index_map(tdim).num_ghosts)
        places[n_cells:] = -1
    else:
        places = _facets(source, target, n_cells)
    carried = places[tags.indices]
    order = np.argsort(carried)[np.count_nonzero(carried < 0) :]
    result = meshtags(mesh, tags.dim, carried[order].astype(np.int32), tags.values[order])
    result.name = tags.name
    return result


def _facets(source: cpp.mesh.Topology, target: cpp.mesh.Topology, n_cells: int) -> np.ndarray:
    """For each local facet of ``source`` its index in ``target``; -1 without. Collective."""
    exterior = [_exterior(one) for one in (source, target)]
    maps = [one.index_map(one.dim - 1) for one in (source, target)]
    outer = [np.zeros(one.size_local + one.num_ghosts, dtype=bool) for one in maps]
    for marks, facets in zip(outer, exterior, strict=True):
        marks[facets] = True
    rows = [one.connectivity(one.dim, one.dim - 1).array for one in (source, target)]
    places = np.full(len(outer[0]), -1)
    n = n_cells * cpp.mesh.cell_num_entities(source.cell_type, source.dim - 1)
    places[rows[0][:n]] = rows[1][:n]  # the same cells have their facets in the same order
    seam = outer[0] & ~outer[1][places]
    return np.where(seam, -1, places)
