"""meshio's mesh -> cells, facets and groups, from whichever of the usual forms of tags it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from hypemarl.meshing.groups import FileMesh, Group, top_dimension, unsupported, with_domain
from hypemarl.meshing.raw import UNTAGGED, describe_place
from hypemarl.meshing.topology import COINCIDENT

if TYPE_CHECKING:
    import meshio


CELL_TYPES = {0: "vertex", 1: "line", 2: "triangle", 3: "tetra"}
PHYSICAL = "gmsh:physical"
NUMBERS = (PHYSICAL, "medit:ref")
"""Arrays over cells that hold numbers of groups, in the formats that have a name for them."""
PREFIX = "tag:"
"""Formats without names for tags carry one array per tag, ``tag:<name>``: the tag's number on its
members, 0 elsewhere; of points for the ends of a 1D mesh (meshio's XDMF loses single points)."""


def from_meshio(mesh: meshio.Mesh, facets: meshio.Mesh | None = None) -> FileMesh:
    """Convert a ``meshio.Mesh``, and one of its facets where they stand in a second file.

    Groups are taken from arrays ``tag:<name>``, else from named cell sets (numbered in their
    order), else from the numbers of :data:`NUMBERS` with the names in ``field_data``, else from
    the only array of whole numbers. Without groups of cells all cells are ``domain``.

    Raises:
        ValueError: elements other than straight simplices, facets at other points than the cells.
    """
    tdim = _dimension(mesh)
    rows = {dim: _rows(mesh, dim) for dim in (tdim, tdim - 1)}
    groups = _groups(mesh, (tdim, tdim - 1))
    if tdim == 1:
        rows[0] = _add_points(mesh, rows[0], groups)
    if facets is not None:
        rows[tdim - 1], others = _second_file(mesh, facets, tdim)
        groups = [group for group in groups if group.dim == tdim] + others
    points = np.asarray(mesh.points, dtype=np.float64)
    return with_domain(FileMesh(points, rows[tdim], rows[tdim - 1], groups))


def _dimension(mesh: meshio.Mesh) -> int:
    """Topological dimension of the cells."""
    dims = {kind: dim for dim, kind in CELL_TYPES.items()}
    unknown = sorted({block.type for block in mesh.cells} - set(dims))
    if unknown:
        raise unsupported(", ".join(unknown))
    return top_dimension(dims[block.type] for block in mesh.cells if len(block.data))


def _rows(mesh: meshio.Mesh, dim: int) -> np.ndarray:
    """Point indices (m, dim + 1) of all elements of a dimension."""
    rows = mesh.cells_dict.get(CELL_TYPES[dim], np.empty((0, dim + 1)))
    return np.asarray(rows, dtype=np.int64)


def _groups(mesh: meshio.Mesh, dims: Sequence[int]) -> list[Group]:
    """The groups of elements of these dimensions, by the first of the forms that the mesh has."""
    groups = list[Group]()
    for name, values in mesh.cell_data.items():
        if name.startswith(PREFIX):
            groups += _numbered(mesh, values, dims, {}, name.removeprefix(PREFIX))
    sets = [name for name in mesh.cell_sets if not name.startswith("gmsh:")]
    for number, name in enumerate(sets if not groups else (), start=1):
        marks = _marks(mesh, number, mesh.cell_sets[name])
        groups += _numbered(mesh, marks, dims, {}, name)
    if groups:
        return groups
    name = next((name for name in NUMBERS if name in mesh.cell_data), None) or _only(mesh)
    if name is None:
        return []
    names = {(int(dim), int(tag)): text for text, (tag, dim) in mesh.field_data.items()}
    return _numbered(mesh, mesh.cell_data[name], dims, names)


def _only(mesh: meshio.Mesh) -> str | None:
    """The only array of whole numbers, as the usual recipes for pairs of XDMF files write it."""
    names = [
        name
        for name, parts in mesh.cell_data.items()
        if not name.startswith("gmsh:")
        and all(np.ndim(p) == 1 and np.issubdtype(np.asarray(p).dtype, np.integer) for p in parts)
    ]
    return names[0] if len(names) == 1 else None


def _numbered(
    mesh: meshio.Mesh,
    parts: Sequence[np.ndarray],
    dims: Sequence[int],
    names: dict[tuple[int, int], str],
    name: str | None = None,
) -> list[Group]:
    """Groups of an array over the blocks; 0 is none, the sign does not count."""
    groups = []
    for dim in sorted(dims):
        pairs = zip(parts, mesh.cells, strict=True)
        here = [np.asarray(p).astype(np.int64) for p, b in pairs if b.type == CELL_TYPES[dim]]
        values = np.abs(np.concatenate([np.empty(0, dtype=np.int64), *here]))
        for number in np.setdiff1d(values, [UNTAGGED]).tolist():
            title = name or names.get((dim, number), str(number))
            groups.append(Group(title, dim, number, np.flatnonzero(values == number)))
    return groups


def _marks(
    mesh: meshio.Mesh, number: int, members: Sequence[np.ndarray | None]
) -> list[np.ndarray]:
    """A set of cells as an array over the blocks: its number on its members, 0 elsewhere."""
    marks = [np.zeros(len(block.data), dtype=np.int64) for block in mesh.cells]
    for values, indices in zip(marks, members, strict=True):
        if indices is not None:
            values[np.asarray(indices, dtype=np.int64)] = number
    return marks


def _add_points(mesh: meshio.Mesh, facets: np.ndarray, groups: list[Group]) -> np.ndarray:
    """Tagged ends of a 1D mesh, stored as arrays over its points."""
    for name, array in mesh.point_data.items():
        if name.startswith(PREFIX):
            for number in np.setdiff1d(array, [UNTAGGED]).astype(int).tolist():
                points = np.argwhere(array == number)
                members = len(facets) + np.arange(len(points))
                groups.append(Group(name.removeprefix(PREFIX), 0, number, members))
                facets = np.concatenate([facets, points])
    return facets


def _second_file(
    mesh: meshio.Mesh, facets: meshio.Mesh, tdim: int
) -> tuple[np.ndarray, list[Group]]:
    """Facets (K, tdim) of the second file at the points of the mesh, and their groups."""
    rows, groups = _rows(facets, tdim - 1), _groups(facets, (tdim - 1,))
    if not groups:
        raise ValueError(
            f"env.mesh.facet_file holds no numbers of facets of dimension {tdim - 1}; expected one "
            f"array of whole numbers over its {CELL_TYPES[tdim - 1]}s"
        )
    width = min(mesh.points.shape[1], facets.points.shape[1])
    used, inverse = np.unique(rows, return_inverse=True)
    distance, nearest = cKDTree(mesh.points[:, :width]).query(facets.points[used, :width])
    away = distance > COINCIDENT * float(np.ptp(mesh.points, axis=0).max())
    if away.any():
        raise ValueError(
            f"{np.count_nonzero(away)} points of env.mesh.facet_file are no points of the mesh, "
            f"the first one is {describe_place(facets.points[used[away][0]])}; write both files "
            f"from one mesh"
        )
    return nearest[inverse.reshape(-1)].reshape(rows.shape), groups
