"""A mesh with named tags as plain arrays, the form that every source is turned into."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

UNTAGGED = 0
"""Value of a cell that belongs to no named tag."""
LARGEST = 1e30
"""Largest coordinate; volumes and their products stay finite."""
FLAT = 1e-9
"""Largest departure of a flat mesh from its plane, as a share of its extent."""


class MeshError(ValueError):
    """A shape, a mesh file or a set of tags cannot be used. Raised on every rank alike."""


@dataclass(frozen=True)
class Facets:
    """All facets of a mesh.

    Attributes:
        points: (F, tdim) point indices, ascending in each row, rows in lexicographic order.
        cells: (F, 2) the cells on both sides; the second is -1 on the exterior.
    """

    points: np.ndarray
    cells: np.ndarray

    @property
    def exterior(self) -> np.ndarray:
        """Indices of the facets that bound one cell only: (E,)."""
        return np.flatnonzero(self.cells[:, 1] < 0)


@dataclass(frozen=True)
class RawMesh:
    """A whole simplex mesh on one rank.

    Attributes:
        points: (N, gdim) coordinates, in the units of the equations.
        cells: (M, tdim + 1) point indices, int64.
        cell_values: (M,) tag number of each cell, 0 where it has none, int32.
        facets: (K, tdim) point indices of the tagged facets, int64.
        facet_values: (K,) tag numbers, int32.
        tags: name -> (topological dimension, tag number).
    """

    points: np.ndarray
    cells: np.ndarray
    cell_values: np.ndarray
    facets: np.ndarray
    facet_values: np.ndarray
    tags: dict[str, tuple[int, int]]

    @property
    def tdim(self) -> int:
        """Topological dimension of the cells."""
        return int(self.cells.shape[1]) - 1

    @property
    def content_hash(self) -> str:
        """SHA-256 of coordinates, connectivity and tags, whatever the order of the facets."""
        digest = hashlib.sha256(repr((self.points.shape, sorted(self.tags.items()))).encode())
        digest.update(np.ascontiguousarray(self.points, dtype="<f8").tobytes())
        facets = np.column_stack([np.sort(self.facets, axis=1), self.facet_values])
        facets = facets[np.lexsort(facets.T[::-1])]
        for array in (self.cells, self.cell_values, facets):
            digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
        return digest.hexdigest()

    @cached_property
    def sides(self) -> Facets:
        """All facets with the cells on both sides, tagged or not; computed once.

        Raises:
            MeshError: three or more cells share a facet, so that some of them overlap.
        """
        corners, count = np.sort(self.cells, axis=1), self.cells.shape[1]
        rows = np.concatenate([np.delete(corners, side, axis=1) for side in range(count)])
        owner = np.tile(np.arange(len(self.cells)), count)
        order = np.lexsort(rows.T[::-1])
        rows, owner = rows[order], owner[order]
        first = np.flatnonzero(np.r_[True, (rows[1:] != rows[:-1]).any(axis=1)])
        counts = np.diff(np.r_[first, len(rows)])
        if counts.max(initial=0) > 2:
            place = describe_centre(self.points, rows[first[np.argmax(counts)]])
            raise MeshError(
                f"{np.count_nonzero(counts > 2)} facets have three or more cells, the first one at "
                f"{place}: cells overlap; a facet has a cell on one side or on both"
            )
        cells = np.full((len(first), 2), -1, dtype=np.int64)
        cells[:, 0] = owner[first]
        cells[counts == 2, 1] = owner[first[counts == 2] + 1]
        return Facets(rows[first], cells)

    def members(self, name: str) -> np.ndarray:
        """Simplices of a tag: (m, dim + 1) point indices."""
        return self.members_of(*self.tags[name])

    def members_of(self, dim: int, value: int) -> np.ndarray:
        """Simplices with a tag number: (m, dim + 1) point indices."""
        if dim == self.tdim:
            return self.cells[self.cell_values == value]
        return self.facets[self.facet_values == value]


def measures(points: np.ndarray, simplices: np.ndarray) -> np.ndarray:
    """Lengths, areas or volumes of simplices: (m, d + 1) indices into (N, gdim) points -> (m,).

    Points (d = 0) count as one.
    """
    dim = simplices.shape[1] - 1
    if dim == 0:
        return np.ones(len(simplices))
    corners = points[simplices]
    edges = corners[:, 1:] - corners[:, :1]
    gram = edges @ edges.transpose(0, 2, 1)
    return np.sqrt(np.maximum(np.linalg.det(gram), 0.0)) / math.factorial(dim)


def checked(raw: RawMesh, source: str) -> RawMesh:
    """The mesh itself when it can be used.

    Raises:
        MeshError: no cells, cells of no volume, coordinates that are not finite, or a facet or
            cell that is tagged twice.
    """
    if len(raw.cells) == 0:
        raise MeshError(f"{source}: the mesh has no cells")
    largest = np.abs(raw.points).max()
    if not largest <= LARGEST:
        raise MeshError(
            f"{source}: some coordinates are {largest:.3g}; expected finite numbers of at most "
            f"{LARGEST:g} in size; the file is damaged or in an odd unit"
        )
    extent = float(np.ptp(raw.points, axis=0).max())
    volumes = measures(raw.points, raw.cells)
    flat = np.flatnonzero(volumes <= 1e-14 * extent**raw.tdim)
    if flat.size:
        raise MeshError(
            f"{source}: {flat.size} of {len(raw.cells)} cells have no volume, "
            f"the first one is cell {flat[0]}; remake the mesh"
        )
    for name, entities in (("cell", raw.cells), ("facet", raw.facets)):
        unique = np.unique(np.sort(entities, axis=1), axis=0)
        if len(unique) < len(entities):
            raise MeshError(
                f"{source}: {len(entities) - len(unique)} {name}s stand in more than one tag or "
                f"are stored twice; put every {name} in exactly one physical group"
            )
    return raw


def compact(
    points: np.ndarray, cells: np.ndarray, facets: np.ndarray, source: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drop unused points and the coordinates that a flat mesh does not need.

    Returns:
        points (N, tdim), cells (M, tdim + 1), facets (K, tdim) with renumbered indices.

    Raises:
        MeshError: the mesh is curved in space, or lies in another plane than that of its first
            coordinates.
    """
    used, inverse = np.unique(cells, return_inverse=True)
    points = _flattened(points[used], cells.shape[1] - 1, source)
    stray = np.setdiff1d(facets, used)
    if stray.size:
        raise MeshError(f"{source}: tagged facets have {stray.size} points that no cell has")
    renumbered = np.searchsorted(used, facets).reshape(facets.shape)
    return np.ascontiguousarray(points), inverse.reshape(cells.shape), renumbered


def _flattened(points: np.ndarray, tdim: int, source: str) -> np.ndarray:
    """The first tdim coordinates (N, tdim); :func:`checked` refuses NaN and infinity."""
    gdim = points.shape[1]
    if gdim < tdim:
        raise MeshError(
            f"{source}: cells of dimension {tdim} with {gdim} coordinates a point; expected {tdim}"
        )
    extents = np.ptp(points, axis=0)
    if not (extents[tdim:] > FLAT * extents.max()).any():
        return points[:, :tdim]
    names, is_flat = np.array(list("xyz"[:gdim])), extents <= FLAT * extents.max()
    if is_flat.sum() == gdim - tdim:
        place, expected = (" plane", "x-y plane") if tdim == 2 else (" axis", "x axis")
        raise MeshError(
            f"{source}: the mesh lies in the {'-'.join(names[~is_flat])}{place} "
            f"({' and '.join(names[is_flat])} constant); expected the {expected}: exchange the "
            "coordinates and write it again"
        )
    raise MeshError(
        f"{source}: cells of dimension {tdim} in {gdim}D space; only flat meshes are supported "
        f"(here {names[tdim]} varies by {extents[tdim]:.3g}, {FLAT:g} of the extent is allowed)"
    )


def add_tag(tags: dict[str, tuple[int, int]], name: str, dim: int, tag: int, source: str) -> None:
    """Enter a tag; a name may stand for one group only. Raises MeshError: the name is taken."""
    if name in tags:
        raise MeshError(
            f"{source}: the name {name!r} is used by two tags, of dimension {tags[name][0]} and "
            f"{dim}; give them different names"
        )
    tags[name] = (dim, tag)


def describe_place(place: np.ndarray) -> str:
    """Coordinates as text: ``(0.5, 1)``."""
    return "(" + ", ".join(f"{value:.6g}" for value in place) + ")"


def describe_centre(points: np.ndarray, simplex: np.ndarray) -> str:
    """The same of the centre of a simplex (d + 1,) of points (N, gdim)."""
    return describe_place(points[simplex].mean(axis=0))


def parse(read: Callable[[], RawMesh], source: str) -> RawMesh:
    """Run a reader; whatever a mesh library raises becomes a :class:`MeshError` with the file."""
    try:
        return checked(read(), source)
    except MeshError:
        raise
    except MemoryError as error:
        raise MeshError(
            f"{source}: cannot be read as a mesh: its counts ask for more memory than its size "
            f"explains; the file is damaged, write it again"
        ) from error
    # Mesh libraries raise anything, SystemExit (meshio) included.
    except (Exception, SystemExit) as error:
        words = " ".join(str(error).split())[:300] or type(error).__name__
        raise MeshError(f"{source}: cannot be read as a mesh: {words}") from error
