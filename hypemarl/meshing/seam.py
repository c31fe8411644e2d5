"""The sides of a mesh that become one, and which of their nodes meet."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from dolfinx.mesh import Mesh
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from hypemarl.meshing.raw import MeshError, describe_place
from hypemarl.meshing.topology import COINCIDENT
from hypemarl.mpi import bounding_box, on_root

CELLS = ("interval", "triangle", "quadrilateral", "tetrahedron", "hexahedron")


@dataclass(frozen=True)
class Sides:
    """The two sides x[a] = low and x[a] = high of every periodic axis a, equal on every rank."""

    axes: tuple[int, ...]
    low: np.ndarray
    high: np.ndarray
    tolerance: float

    def contain(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether points (..., gdim) lie on the lower and the upper side of each axis: (..., n)."""
        x = points[..., self.axes]
        return np.abs(x - self.low) <= self.tolerance, np.abs(x - self.high) <= self.tolerance


@dataclass(frozen=True)
class Seam:
    """Nodes of the mesh on any of the sides, equal on every rank.

    Attributes:
        nodes: their global numbers, ascending: (k,).
        first: number of the node that each of them becomes: (k,).
        upper: whether it lies on the upper side of each axis: (k, n).
        points: coordinates: (k, gdim).
    """

    nodes: np.ndarray
    first: np.ndarray
    upper: np.ndarray
    points: np.ndarray

    def find(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Place of each global number in ``nodes``, and whether it is there."""
        places = np.minimum(np.searchsorted(self.nodes, numbers), len(self.nodes) - 1)
        return places, self.nodes[places] == numbers

    def become(self, numbers: np.ndarray) -> np.ndarray:
        """The vertices that nodes become, of the same shape."""
        places, there = self.find(numbers)
        return np.where(there, self.first[places], numbers)


def opposite_sides(mesh: Mesh, axes: Sequence[int]) -> Sides:
    """Check mesh and axes, and measure the mesh. Collective. Raises MeshError on every rank."""
    _require_straight(mesh)
    wanted, gdim = tuple(axes), mesh.geometry.dim
    x = mesh.geometry.x[: mesh.geometry.index_map().size_local]
    low, high = bounding_box(mesh.comm, x)
    tolerance = COINCIDENT * float((high - low).max())
    have = [a for a in range(gdim) if high[a] - low[a] > tolerance]
    if not wanted or len(set(wanted)) < len(wanted) or not set(wanted) <= set(have):
        raise MeshError(
            f"periodic: expected one or more different axes among {have}, along which the mesh "
            f"extends, got {list(wanted)}"
        )
    return Sides(wanted, low[list(wanted)], high[list(wanted)], tolerance)


def _require_straight(mesh: Mesh) -> None:
    names = [cell.name for cell in mesh.topology.entity_types[mesh.topology.dim]]
    degree = mesh.geometry.cmaps[0].degree
    if len(names) > 1 or names[0] not in CELLS or degree != 1:
        raise MeshError(
            f"periodic: expected cells of one kind among {', '.join(CELLS)} with a geometry of "
            f"degree 1, got {', '.join(names)} of degree {degree}; use straight cells"
        )
    nodes = mesh.geometry.index_map().size_global
    vertices = mesh.topology.index_map(0).size_global
    if nodes != vertices:
        raise MeshError(
            f"periodic: expected a vertex for each of the {nodes} nodes, got {vertices} vertices: "
            "this mesh is periodic already. Name all axes in one call on the mesh it was made of"
        )


def owned_cells(mesh: Mesh) -> np.ndarray:
    """Global numbers of the nodes of every owned cell: (n_cells, k)."""
    owned = mesh.topology.index_map(mesh.topology.dim).size_local
    rows = mesh.geometry.dofmaps[0][:owned]
    return mesh.geometry.index_map().local_to_global(rows.ravel()).reshape(rows.shape)


def identify(mesh: Mesh, sides: Sides) -> Seam:
    """Which nodes of opposite sides become one vertex. Collective.

    Raises:
        MeshError: on every rank; nodes without a partner, or fewer than 3 cells between the sides.
    """
    parts = mesh.comm.gather(_nodes_on(mesh, sides))
    seam = on_root(mesh.comm, lambda: _seam(sides, parts))
    edges = mesh.comm.gather(_edges_at(mesh, seam))
    on_root(mesh.comm, lambda: _require_distinct(sides, seam, edges))
    return seam


def _nodes_on(mesh: Mesh, sides: Sides) -> tuple[np.ndarray, np.ndarray]:
    """Owned nodes on any of the sides: global numbers (k,) and coordinates (k, gdim). Local."""
    index_map = mesh.geometry.index_map()
    x = mesh.geometry.x[: index_map.size_local, : mesh.geometry.dim]
    which = np.flatnonzero(np.logical_or(*sides.contain(x)).any(axis=1))
    return index_map.local_range[0] + which, x[which]


def _seam(sides: Sides, parts: list) -> Seam:
    """Pair the nodes of opposite sides; each becomes the first of all it is paired with. Local."""
    numbers = np.concatenate([part[0] for part in parts])
    points = np.concatenate([part[1] for part in parts])
    lower, upper = sides.contain(points)
    pairs = np.concatenate(
        [_pair(points, lower[:, n], upper[:, n], a, sides) for n, a in enumerate(sides.axes)]
    )
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(points), len(points)))
    # Through their pairs along each axis, all corners of the domain become one.
    group = connected_components(links, directed=False)[1]
    _, first = np.unique(group, return_index=True)  # numbers ascend: they come by rank
    return Seam(numbers, numbers[first[group]], upper, points)


def _pair(
    points: np.ndarray, lower: np.ndarray, upper: np.ndarray, axis: int, sides: Sides
) -> np.ndarray:
    """Indices of nodes that are opposite each other along one axis: (m, 2). Raises MeshError."""
    flat = points.copy()
    flat[:, axis] = 0.0
    below, above = np.flatnonzero(lower), np.flatnonzero(upper)
    far, to_above = cKDTree(flat[above]).query(flat[below])
    back, to_below = cKDTree(flat[below]).query(flat[above])
    # The nearest of the nearest is the node itself, else several lie at one place.
    alone_below = (far > sides.tolerance) | (to_below[to_above] != np.arange(len(below)))
    alone_above = (back > sides.tolerance) | (to_above[to_below] != np.arange(len(above)))
    alone = np.concatenate([below[alone_below], above[alone_above]])
    if alone.size:
        raise MeshError(
            f"periodic: the sides x[{axis}] = min and x[{axis}] = max do not match: {alone.size} "
            f"of {len(below) + len(above)} nodes have no partner on the other side, the first "
            f"one at {describe_place(points[alone[0]])}; mesh both sides alike (gmsh: setPeriodic)"
        )
    return np.column_stack([below, above[to_above]])


def _edges_at(mesh: Mesh, seam: Seam) -> np.ndarray:
    """Pairs of nodes of owned cells, at least one of them at the seam: (m, 2 + n). Local.

    The columns are the two nodes that they become, and along each axis how many periods the second
    one is from the first where the cell has them.
    """
    cells = owned_cells(mesh)
    places, there = seam.find(cells)
    first = seam.become(cells)
    upper = np.where(there[..., None], seam.upper[places], False).astype(np.int64)
    rows = []
    for i, j in combinations(range(cells.shape[1]), 2):
        which = there[:, i] | there[:, j]
        ends = np.column_stack([first[which, i], first[which, j]])
        sign = np.where(ends[:, 0] <= ends[:, 1], 1, -1)[:, None]
        rows.append(np.hstack([np.sort(ends, axis=1), sign * (upper[which, j] - upper[which, i])]))
    return np.unique(np.concatenate(rows), axis=0)


def _require_distinct(sides: Sides, seam: Seam, parts: list[np.ndarray]) -> None:
    """Refuse a mesh where cells would have edges with the same vertices. Local.

    A topology knows an edge, a facet or a cell by its vertices only. With two cells between the
    sides, two edges have the same ones; with one cell, both ends of an edge are one vertex.
    """
    edges = np.unique(np.concatenate(parts), axis=0)
    same = np.flatnonzero((edges[1:, :2] == edges[:-1, :2]).all(axis=1))
    loops = np.flatnonzero(edges[:, 0] == edges[:, 1])
    short = np.unique(np.concatenate([loops, same, same + 1]))
    if short.size:
        crossed = (edges[same, 2:] != edges[same + 1, 2:]).any(axis=0)
        crossed |= (edges[loops, 2:] != 0).any(axis=0)
        axes = [axis for axis, bad in zip(sides.axes, crossed, strict=True) if bad]
        places, there = seam.find(edges[short[0], :2])
        raise MeshError(
            f"periodic: fewer than 3 cells between the sides along axes {axes}: {len(short)} edges "
            f"would share their vertices with others, the first one at "
            f"{describe_place(seam.points[places[there][0]])}; use smaller elements"
        )
