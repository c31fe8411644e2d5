"""meshio's mesh -> our arrays, from whichever of the usual forms of tags the file has."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

import numpy as np

from hypemarl.meshing.raw import UNTAGGED, MeshError, RawMesh, add_tag, compact

# meshio's XDMF needs h5py, and h5py cannot be imported any more once dolfinx.fem.petsc has loaded
# the HDF5 of its own wheel for all to see; the other order works. Other formats do without.
with contextlib.suppress(ImportError, ValueError):
    importlib.import_module("h5py")

CELL_TYPES = {0: "vertex", 1: "line", 2: "triangle", 3: "tetra"}
PHYSICAL = "gmsh:physical"
PREFIX = "tag:"
"""Formats without names for tags carry one array per tag, ``tag:<name>``: the tag's number on its
members, 0 elsewhere; of points for the ends of a 1D mesh (meshio's XDMF loses single points)."""

Tags = dict[str, tuple[int, int]]


def from_meshio(mesh: Any, source: str) -> RawMesh:
    """Convert a ``meshio.Mesh``.

    Tags are taken from arrays ``tag:<name>``, else from named cell sets (numbered in their
    order), else from ``gmsh:physical`` with the names in ``field_data``.

    Raises:
        MeshError: elements other than straight simplices, or sets that overlap.
    """
    dims = _dimensions(mesh, source)
    tdim = max(dims)
    if any(name.startswith(PREFIX) for name in mesh.cell_data):
        values, tags = _from_arrays(mesh, dims, source)
    elif any(not name.startswith("gmsh:") for name in mesh.cell_sets):
        values, tags = _from_sets(mesh, dims, source)
    else:
        values, tags = _from_numbers(mesh, dims, source)
    cells, cell_values = _join(mesh, values, tdim)
    facets, facet_values = _join(mesh, values, tdim - 1)
    if tdim == 1:
        facets, facet_values = _add_points(mesh, facets, facet_values, tags, source)
    named = facet_values != UNTAGGED
    points, cells, facets = compact(mesh.points, cells, facets[named], source)
    tags = {name: entry for name, entry in tags.items() if entry[0] >= tdim - 1}
    return RawMesh(points, cells, cell_values, facets, facet_values[named], tags)


def _dimensions(mesh: Any, source: str) -> list[int]:
    """Topological dimension of every block."""
    dims = {kind: dim for dim, kind in CELL_TYPES.items()}
    unknown = sorted({block.type for block in mesh.cells} - set(dims))
    if unknown:
        raise MeshError(
            f"{source}: elements of type {', '.join(unknown)} are not supported; write straight "
            f"(first-order) lines, triangles or tetrahedra"
        )
    found = [dims[block.type] for block in mesh.cells]
    if max(found, default=0) == 0:
        raise MeshError(f"{source}: the file holds no mesh (no lines, triangles or tetrahedra)")
    return found


def _join(mesh: Any, values: list[np.ndarray], dim: int) -> tuple[np.ndarray, np.ndarray]:
    """All blocks of one dimension as one: connectivity (m, dim + 1) and tag numbers (m,)."""
    which = [i for i, block in enumerate(mesh.cells) if block.type == CELL_TYPES[dim]]
    nodes = [np.empty((0, dim + 1), dtype=np.int64)] + [mesh.cells[i].data for i in which]
    numbers = [np.empty(0, dtype=np.int32)] + [values[i] for i in which]
    return np.concatenate(nodes).astype(np.int64), np.concatenate(numbers).astype(np.int32)


def _zeros(mesh: Any) -> list[np.ndarray]:
    return [np.zeros(len(block.data), dtype=np.int32) for block in mesh.cells]


def _assign(values: np.ndarray, members: np.ndarray, number: int, name: str, source: str) -> None:
    if (values[members] != UNTAGGED).any():
        raise MeshError(
            f"{source}: tag {name!r} overlaps another; a cell or facet may have one tag"
        )
    values[members] = number


def _from_arrays(mesh: Any, dims: list[int], source: str) -> tuple[list[np.ndarray], Tags]:
    values, tags = _zeros(mesh), Tags()
    for name, parts in mesh.cell_data.items():
        if not name.startswith(PREFIX):
            continue
        name = name[len(PREFIX) :]
        for block, part in enumerate(parts):
            for number in np.setdiff1d(part, [UNTAGGED]).astype(int):
                if tags.get(name) != (dims[block], number):
                    add_tag(tags, name, dims[block], int(number), source)
                _assign(values[block], np.flatnonzero(part == number), number, name, source)
    return values, tags


def _add_points(
    mesh: Any, facets: np.ndarray, values: np.ndarray, tags: Tags, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """Tagged ends of a 1D mesh, stored as arrays over its points."""
    for name, array in mesh.point_data.items():
        if not name.startswith(PREFIX):
            continue
        for number in np.setdiff1d(array, [UNTAGGED]).astype(int):
            add_tag(tags, name[len(PREFIX) :], 0, int(number), source)
            members = np.flatnonzero(array == number)
            facets = np.concatenate([facets, members[:, None]])
            values = np.concatenate([values, np.full(len(members), number, dtype=np.int32)])
    return facets, values


def _from_sets(mesh: Any, dims: list[int], source: str) -> tuple[list[np.ndarray], Tags]:
    values, tags = _zeros(mesh), Tags()
    names = [name for name in mesh.cell_sets if not name.startswith("gmsh:")]
    for number, name in enumerate(names, start=1):
        for block, part in enumerate(mesh.cell_sets[name]):
            members = np.asarray([] if part is None else part, dtype=np.int64)
            if len(members) and tags.get(name) != (dims[block], number):
                add_tag(tags, name, dims[block], number, source)
            _assign(values[block], members, number, name, source)
    return values, tags


def _from_numbers(mesh: Any, dims: list[int], source: str) -> tuple[list[np.ndarray], Tags]:
    numbers = mesh.cell_data.get(PHYSICAL)
    tags = Tags()
    if numbers is None:
        return _zeros(mesh), tags
    names = {(int(dim), int(tag)): name for name, (tag, dim) in mesh.field_data.items()}
    for dim in sorted(set(dims)):
        blocks = [part for part, d in zip(numbers, dims, strict=True) if d == dim]
        for tag in np.setdiff1d(np.concatenate(blocks), [UNTAGGED]).astype(int):
            add_tag(tags, names.get((dim, tag), str(tag)), dim, int(tag), source)
    return [np.asarray(number, dtype=np.int32) for number in numbers], tags
