"""Facets, components and coincident points of a mesh of plain arrays. Serial, numpy only.

Facets are rows of point indices in ascending order, and lists of them are sorted by row, so that
two lists can be compared by :func:`find_rows`.
"""

from dataclasses import replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from hypemarl.meshing.raw import MeshError, RawMesh, describe_centre

COINCIDENT = 1e-9
"""Points closer than this share of the mesh's extent are taken for one place."""


def components(raw: RawMesh) -> np.ndarray:
    """Component of every cell, 0 for the first: (M,). Facets connect cells."""
    inner = raw.sides.cells[raw.sides.cells[:, 1] >= 0]
    shape = (len(raw.cells), len(raw.cells))
    links = coo_array((np.ones(len(inner), dtype=bool), inner.T), shape=shape)
    return connected_components(links, directed=False)[1]


def find_rows(rows: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Index of each facet (k, d), in any order of its points, in ``among`` (n, d); -1 if absent.

    Args:
        rows: point indices of the facets that are looked for.
        among: facets, ascending in each row and all different, as :class:`Facets` has them.
    """
    both = np.concatenate([among, np.sort(rows, axis=1)])
    unique, inverse = np.unique(both, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    places = np.full(len(unique), -1)
    places[inverse[: len(among)]] = np.arange(len(among))
    return places[inverse[len(among) :]]


def tagged_places(raw: RawMesh) -> np.ndarray:
    """Index of every tagged facet among all facets: (K,); -1 where it is no facet of a cell."""
    return find_rows(raw.facets, raw.sides.points)


def interior_tagged(raw: RawMesh) -> np.ndarray:
    """Tagged facets with a cell on both sides: indices into ``raw.facets``, (k,)."""
    places = tagged_places(raw)
    return np.flatnonzero((places >= 0) & (raw.sides.cells[places, 1] >= 0))


def exterior_values(raw: RawMesh) -> np.ndarray:
    """Tag number of each exterior facet, as in ``raw.sides.exterior``; 0 without: (E,)."""
    values = np.zeros(len(raw.sides.points), dtype=np.int32)
    places = tagged_places(raw)
    values[places[places >= 0]] = raw.facet_values[places >= 0]
    return values[raw.sides.exterior]


def outward_normals(raw: RawMesh, which: np.ndarray) -> np.ndarray:
    """Unit normals of facets that point out of their first cell: (k, tdim).

    Args:
        raw: the mesh; tdim equals its number of coordinates.
        which: indices of its facets (``raw.sides``), (k,).
    """
    corners = raw.points[raw.sides.points[which]]
    cells = raw.cells[raw.sides.cells[which, 0]]
    centre = raw.points[cells].mean(axis=1)
    if raw.tdim == 1:
        normals = np.ones((len(which), 1))
    elif raw.tdim == 2:
        edge = corners[:, 1] - corners[:, 0]
        normals = np.column_stack([edge[:, 1], -edge[:, 0]])
    else:
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inward = ((centre - corners[:, 0]) * normals).sum(axis=1) > 0.0
    normals = np.where(inward[:, None], -normals, normals)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def representatives(points: np.ndarray, distance: float) -> np.ndarray:
    """For every point the lowest index of those at its place: (N,).

    Points are at one place when they are at most ``distance`` apart, or linked by such points.

    Args:
        points: (N, d) coordinates.
        distance: in the units of the coordinates.
    """
    # Equal ones first: the pairs of many points at one place would grow with their square.
    unique, inverse = np.unique(points, axis=0, return_inverse=True)
    pairs = cKDTree(unique).query_pairs(distance, output_type="ndarray")
    shape = (len(unique), len(unique))
    links = coo_array((np.ones(len(pairs), dtype=bool), pairs.T), shape=shape)
    group = connected_components(links, directed=False)[1][inverse.reshape(-1)]
    _, first = np.unique(group, return_index=True)
    return first[group]


def place_distance(raw: RawMesh) -> float:
    """Largest distance of points that are taken for one place, in the units of the mesh."""
    return COINCIDENT * float(np.ptp(raw.points, axis=0).max())


def coincident_facets(raw: RawMesh) -> np.ndarray:
    """Exterior facets that lie on another one without sharing its points: indices, (k,).

    A cut through the mesh: both sides of it are exterior although they are at the same places.
    """
    lowest = representatives(raw.points, place_distance(raw))
    exterior = raw.sides.exterior
    rows = np.sort(lowest[raw.sides.points[exterior]], axis=1)
    _, inverse, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    return exterior[counts[inverse.reshape(-1)] > 1]


def require_sound(raw: RawMesh, source: str) -> RawMesh:
    """The mesh itself where its cells are connected and its tagged facets belong to them.

    A cut whose sides are both tagged is an intended slit.

    Raises:
        MeshError: overlapping cells, tagged facets that are no facets of cells, an untagged cut,
            or several components; with the count, the first place and the remedy.
    """
    try:
        _require_members(raw)
        _require_no_fold(raw)
        _require_no_cut(raw)
        _require_one_piece(raw)
    except MeshError as error:
        raise MeshError(f"{source}: {error}") from None
    return raw


def _require_members(raw: RawMesh) -> None:
    stray = np.flatnonzero(tagged_places(raw) < 0)
    if stray.size:
        names = {value: name for name, (dim, value) in raw.tags.items() if dim < raw.tdim}
        tags = ", ".join(names[value] for value in np.unique(raw.facet_values[stray]))
        raise MeshError(
            f"{stray.size} tagged facets are no facets of a cell, the first one at "
            f"{describe_centre(raw.points, raw.facets[stray[0]])} (tags {tags}); mesh the boundary "
            f"and the domain together, and write both"
        )


def folded_facets(raw: RawMesh) -> np.ndarray:
    """Interior facets whose two cells lie on the same side, one over the other: indices, (k,)."""
    inside = np.flatnonzero(raw.sides.cells[:, 1] >= 0)
    facets, cells = raw.sides.points[inside], raw.sides.cells[inside]
    base = raw.points[facets[:, 0]]
    edges = raw.points[facets[:, 1:]] - base[:, None]
    sides = []
    for side in (0, 1):
        opposite = raw.cells[cells[:, side]].sum(axis=1) - facets.sum(axis=1)
        apex = raw.points[opposite] - base
        sides.append(np.sign(np.linalg.det(np.concatenate([edges, apex[:, None]], axis=1))))
    return inside[sides[0] == sides[1]]


def _require_no_fold(raw: RawMesh) -> None:
    folded = folded_facets(raw)
    if folded.size:
        place = describe_centre(raw.points, raw.sides.points[folded[0]])
        raise MeshError(
            f"the mesh is folded: at {folded.size} facets both cells lie on the same side, the "
            f"first one at {place}: cells overlap. Look at the coordinates near "
            "it, or mesh the domain again"
        )


def _require_no_cut(raw: RawMesh) -> None:
    cut = coincident_facets(raw)
    untagged = cut[~np.isin(cut, raw.sides.exterior[exterior_values(raw) != 0])]
    if untagged.size:
        place = describe_centre(raw.points, raw.sides.points[untagged[0]])
        raise MeshError(
            f"the domain is cut: {len(cut)} facets lie on another one without sharing its points, "
            f"the first untagged one at {place}. {_remedy(raw)}; tag both sides of an intended slit"
        )


def _remedy(raw: RawMesh) -> str:
    return (
        f"Mesh the parts as one (gmsh: Coherence or BooleanFragments) or merge points at the same "
        f"place by env.mesh.merge_distance={place_distance(raw):.0e}"
    )


def _require_one_piece(raw: RawMesh) -> None:
    component = components(raw)
    sizes = np.bincount(component)
    if len(sizes) > 1:
        other = np.flatnonzero(component == np.argsort(sizes)[-2])
        raise MeshError(
            f"the mesh has {len(sizes)} parts that share no facets; the largest has {sizes.max()} "
            f"of {len(raw.cells)} cells, another one of {len(other)} cells is at "
            f"{describe_centre(raw.points, raw.cells[other[0]])}. {_remedy(raw)}, or write one part"
        )


def merge_points(raw: RawMesh, distance: float) -> RawMesh:
    """The mesh with points that are at most ``distance`` apart as one, the first of them.

    Facets that become one are kept once where they have the same tag.
    """
    lowest = representatives(raw.points, distance)
    kept, cells = np.unique(lowest[raw.cells], return_inverse=True)
    rows = np.column_stack([np.sort(lowest[raw.facets], axis=1), raw.facet_values])
    first = np.sort(np.unique(rows, axis=0, return_index=True)[1])
    return replace(
        raw,
        points=raw.points[kept],
        cells=cells.reshape(raw.cells.shape),
        facets=np.searchsorted(kept, lowest[raw.facets[first]]),
        facet_values=raw.facet_values[first],
    )
