"""Arrays on rank 0 -> a mesh distributed over a communicator, and back; a summary of it."""

from dataclasses import dataclass
from itertools import combinations

import basix.ufl
import numpy as np
import ufl
from dolfinx import default_real_type
from dolfinx.graph import adjacencylist
from dolfinx.io.utils import distribute_entity_data
from dolfinx.mesh import (
    GhostMode,
    Mesh,
    MeshTags,
    create_cell_partitioner,
    create_mesh,
    entities_to_geometry,
    meshtags_from_entities,
)
from mpi4py import MPI

from hypemarl.meshing.raw import MeshError, RawMesh, checked, measures
from hypemarl.mpi import raise_together
from hypemarl.types import Row

CELL_NAMES = {1: "interval", 2: "triangle", 3: "tetrahedron"}
EQUILATERAL = {1: 1.0, 2: 4.0 * np.sqrt(3.0), 3: 12.0 * 3.0 ** (2.0 / 3.0)}


@dataclass(frozen=True)
class TaggedMesh:
    """A distributed mesh with named tags.

    Attributes:
        mesh: the dolfinx mesh; affine simplices, gdim equal to tdim.
        cell_tags: tag number of every cell that has one.
        facet_tags: tag number of every facet that has one.
        tags: name -> (topological dimension, tag number), equal on every rank.
        content_hash: hash of the undistributed mesh, equal for any number of ranks.
    """

    mesh: Mesh
    cell_tags: MeshTags
    facet_tags: MeshTags
    tags: dict[str, tuple[int, int]]
    content_hash: str

    def entities(self, name: str) -> np.ndarray:
        """Local indices of the cells or facets of a tag, ghosts included: (m,) int32.

        Raises:
            MeshError: there is no such tag.
        """
        if name not in self.tags:
            raise MeshError(f"no tag {name!r} in the mesh; it has {describe_tags(self.tags)}")
        dim, value = self.tags[name]
        return (self.cell_tags if dim == self.mesh.topology.dim else self.facet_tags).find(value)


def describe_tags(tags: dict[str, tuple[int, int]] | dict[str, int]) -> str:
    """Tags as text: ``domain (dim 2), left (dim 1)``."""
    dims = {name: entry if isinstance(entry, int) else entry[0] for name, entry in tags.items()}
    return ", ".join(f"{name} (dim {dim})" for name, dim in sorted(dims.items())) or "no tags"


def require_tags(tagged: TaggedMesh, needed: dict[str, int]) -> None:
    """Refuse a mesh that lacks a named tag; no communication, the same answer on every rank.

    Args:
        tagged: the mesh.
        needed: name -> topological dimension.

    Raises:
        MeshError: names the missing tags, those that the mesh has and those that it needs.
    """
    if sentence := missing_tags(tagged.tags, needed):
        raise MeshError(sentence)


def missing_tags(tags: dict[str, tuple[int, int]], needed: dict[str, int]) -> str:
    """Sentence on the ``needed`` tags (name -> dimension) that a mesh lacks; empty if none."""
    have = {name: dim for name, (dim, _) in tags.items()}
    lacking = {name: dim for name, dim in needed.items() if have.get(name) != dim}
    if not lacking:
        return ""
    return (
        f"the mesh lacks {describe_tags(lacking)}: it has {describe_tags(have)}; it needs "
        f"{describe_tags(needed)}. Name physical groups accordingly, or map their names by "
        f"env.mesh.names=[ours=theirs]"
    )


def distribute(raw: RawMesh | None, comm: MPI.Intracomm) -> TaggedMesh:
    """Distribute a mesh that stands on rank 0; ranks keep cells that share a facet. Collective.

    Args:
        raw: the mesh on rank 0, anything elsewhere.
        comm: communicator of the mesh.

    Raises:
        MeshError: on every rank, if there are more ranks than cells or the mesh is unusable.
    """
    header = None
    with raise_together(comm):
        if comm.rank == 0:
            if raw is None:
                raise MeshError("distribute: rank 0 has no mesh to distribute")
            if comm.size > len(checked(raw, "mesh").cells):
                raise MeshError(
                    f"{len(raw.cells)} cells cannot be shared by {comm.size} ranks: every rank "
                    f"needs at least one cell. Use fewer ranks or a smaller element_size"
                )
            header = (raw.tdim, raw.tags, raw.content_hash)
    tdim, tags, content_hash = comm.bcast(header, root=0)
    if raw is None or comm.rank != 0:  # this rank contributes nothing
        cells, facets = (np.empty((0, width), dtype=np.int64) for width in (tdim + 1, tdim))
        values = np.empty(0, dtype=np.int32)
        raw = RawMesh(np.empty((0, tdim)), cells, values, facets, values, {})
    mesh = _create(raw, tdim, comm)
    cell_tags = _mark(mesh, tdim, raw.cells, raw.cell_values, "cell_tags")
    facet_tags = _mark(mesh, tdim - 1, raw.facets, raw.facet_values, "facet_tags")
    return TaggedMesh(mesh, cell_tags, facet_tags, tags, content_hash)


def _create(raw: RawMesh, tdim: int, comm: MPI.Intracomm) -> Mesh:
    element = basix.ufl.element(
        "Lagrange", CELL_NAMES[tdim], 1, shape=(tdim,), dtype=default_real_type
    )
    partitioner = None
    if comm.size > 1:  # mypy sees only the first overload of a singledispatch function
        partitioner = create_cell_partitioner(GhostMode.shared_facet, 2)  # type: ignore[call-arg]
    points = raw.points.astype(default_real_type)
    return create_mesh(comm, raw.cells.astype(np.int64), ufl.Mesh(element), points, partitioner)


def _mark(mesh: Mesh, dim: int, entities: np.ndarray, values: np.ndarray, name: str) -> MeshTags:
    """Tags of the entities of one dimension; rank 0 names them by the indices of their points."""
    local, local_values = distribute_entity_data(
        mesh, dim, entities.astype(np.int64), values.astype(np.int32)
    )
    mesh.topology.create_entities(dim)
    mesh.topology.create_connectivity(dim, mesh.topology.dim)
    mesh.topology.create_connectivity(mesh.topology.dim, dim)
    tags = meshtags_from_entities(mesh, dim, adjacencylist(local), local_values.astype(np.int32))
    tags.name = name
    return tags


def gather(tagged: TaggedMesh) -> RawMesh | None:
    """The whole mesh on rank 0, in the order in which it was made; None elsewhere. Collective."""
    mesh = tagged.mesh
    n_nodes = mesh.geometry.index_map().size_local
    inputs = mesh.geometry.input_global_indices
    points = mesh.geometry.x[:n_nodes, : mesh.geometry.dim]
    tdim = mesh.topology.dim
    n_cells = mesh.topology.index_map(tdim).size_local
    cell_values = np.zeros(n_cells, dtype=np.int32)
    owned = tagged.cell_tags.indices < n_cells
    cell_values[tagged.cell_tags.indices[owned]] = tagged.cell_tags.values[owned]
    n_facets = mesh.topology.index_map(tdim - 1).size_local
    owned = tagged.facet_tags.indices < n_facets
    facets = entities_to_geometry(mesh, tdim - 1, tagged.facet_tags.indices[owned])
    part = (
        (inputs[:n_nodes], points),
        (mesh.topology.original_cell_index[:n_cells],)
        + (inputs[mesh.geometry.dofmaps[0][:n_cells]], cell_values),
        (inputs[facets].reshape(-1, tdim), tagged.facet_tags.values[owned]),
    )
    parts = mesh.comm.gather(part, root=0)
    return None if parts is None else _assemble(parts, tagged.tags)


def _assemble(parts: list, tags: dict[str, tuple[int, int]]) -> RawMesh:
    (nodes, points), (numbers, cells, values), (facets, facet_values) = (
        [np.concatenate(arrays) for arrays in zip(*groups, strict=True)]
        for groups in zip(*parts, strict=True)
    )
    order, by_nodes = np.argsort(numbers), np.lexsort(np.sort(facets, axis=1).T[::-1])
    sorted_facets = (facets[by_nodes], facet_values[by_nodes])
    return RawMesh(points[np.argsort(nodes)], cells[order], values[order], *sorted_facets, tags)


def edge_lengths(raw: RawMesh) -> np.ndarray:
    """Edge lengths of every cell: (M, edges per cell)."""
    corners = raw.points[raw.cells]
    pairs = combinations(range(raw.tdim + 1), 2)
    return np.stack([np.linalg.norm(corners[:, i] - corners[:, j], axis=1) for i, j in pairs], 1)


def quality(raw: RawMesh) -> np.ndarray:
    """Mean-ratio quality of every cell: (M,), 1 for an equilateral simplex, 0 for a flat one.

    Source: A. Liu and B. Joe, Relationship between tetrahedron shape measures, BIT 34 (1994);
    the triangle's form is 4 sqrt(3) area / sum of squared edges.
    """
    squares = (edge_lengths(raw) ** 2).sum(axis=1)
    volumes = measures(raw.points, raw.cells)
    return EQUILATERAL[raw.tdim] * volumes ** (2.0 / raw.tdim) / squares


def mesh_summary(tagged: TaggedMesh) -> Row:
    """Size, quality and tags of a mesh as one flat dict, equal on every rank. Collective.

    Keys: dimension, cells, vertices, area (length in 1D, volume in 3D), min_quality,
    mean_quality, min_edge, max_edge, tags (sorted names), measure_<name> for every tag, hash.
    """
    raw, summary = gather(tagged), None
    if raw is not None:
        qualities, edges = quality(raw), edge_lengths(raw)
        summary = {
            "dimension": raw.tdim,
            "cells": len(raw.cells),
            "vertices": len(raw.points),
            "area": float(measures(raw.points, raw.cells).sum()),
            "min_quality": float(qualities.min()),
            "mean_quality": float(qualities.mean()),
            "min_edge": float(edges.min()),
            "max_edge": float(edges.max()),
            "tags": sorted(raw.tags),
            "hash": tagged.content_hash,
        }
        for name in sorted(raw.tags):
            summary[f"measure_{name}"] = float(measures(raw.points, raw.members(name)).sum())
    return tagged.mesh.comm.bcast(summary, root=0)
