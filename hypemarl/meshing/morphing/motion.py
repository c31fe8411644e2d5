"""A mesh that follows the shape of its obstacle: coordinates as a function of the shape alone."""

from dataclasses import dataclass, replace

import numpy as np

from hypemarl.meshing.morphing.extension import elastic_extension
from hypemarl.meshing.morphing.outlines import Outline, loop_of
from hypemarl.meshing.morphing.quality import worst_cell
from hypemarl.meshing.morphing.shape_space import ShapeSpace
from hypemarl.meshing.raw import MeshError, RawMesh


@dataclass(frozen=True)
class MeshMotion:
    """Coordinates x(q) = X + G (q - q_0): reference plus displacement, never accumulated.

    Attributes:
        raw: the reference mesh, anticlockwise cells, made for the shape ``origin``.
        space: the shapes.
        loop: (n,) nodes of the obstacle, in order. places: (n,) their parameters on the outline.
        origin: (size,) q_0, zero unless the mesh was made for another shape than the reference.
        modes: (2 N, size) G, displacement of all nodes by each mode; built once.
        tag: of the obstacle's facets.
        root: motion of the first mesh, whose sizes a remesh takes; None where this is the first.
    """

    raw: RawMesh
    space: ShapeSpace
    loop: np.ndarray
    places: np.ndarray
    origin: np.ndarray
    modes: np.ndarray
    tag: str = "obstacle"
    root: "MeshMotion | None" = None

    def points(self, q: np.ndarray) -> np.ndarray:
        """Coordinates (N, 2) of all nodes for the shape q, a new array."""
        return self.raw.points + (self.modes @ (q - self.origin)).reshape(-1, 2)

    def velocity(self, rate: np.ndarray) -> np.ndarray:
        """Velocity (N, 2) of all nodes when q changes at ``rate`` (size,)."""
        return (self.modes @ rate).reshape(-1, 2)

    def moved(self, q: np.ndarray) -> RawMesh:
        """The mesh of the shape q: same cells and tags, moved nodes."""
        return replace(self.raw, points=self.points(q))

    def worst_cell(self, q: np.ndarray) -> tuple[float, int]:
        """Smallest radius ratio of a cell at the shape q, and that cell."""
        return worst_cell(self.points(q), self.raw.cells)

    @property
    def walls(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends (m, 2) of all tagged facets but the obstacle's."""
        others = self.raw.facets[~np.isin(self.raw.facets, self.loop).all(axis=1)]
        return self.raw.points[others[:, 0]], self.raw.points[others[:, 1]]


def outline_of(raw: RawMesh, tag: str = "obstacle") -> Outline:
    """The outline of a tagged obstacle, see :class:`Outline`."""
    return Outline(raw.points[loop_of(raw, tag)])


def follow(
    raw: RawMesh, space: ShapeSpace, tag: str = "obstacle", origin: np.ndarray | None = None
) -> MeshMotion:
    """Let a mesh follow the shapes of its obstacle. Takes a fraction of a second; local.

    Args:
        raw: mesh whose obstacle has the shape ``origin`` of ``space``.
        space: made from the outline of ``raw``, or of the mesh that ``raw`` replaces.
        tag: of the obstacle's facets. All other boundary nodes stay.
        origin: q_0, by default the reference shape.

    Raises:
        MeshError: no closed obstacle, one that touches the rest of the boundary, or an outline
            that is not that shape.
    """
    raw = anticlockwise(raw)
    loop = loop_of(raw, tag)
    q = np.zeros(space.size) if origin is None else origin
    places = _places(raw.points[loop], space, q)
    outer = np.setdiff1d(boundary_nodes(raw.cells), loop)
    basis = space.parametrisation.basis(places) @ space.to_amplitudes
    modes = elastic_extension(raw.points, raw.cells, loop, outer, basis.reshape(-1, space.size))
    return MeshMotion(raw, space, loop, places, q, np.ascontiguousarray(modes), tag)


def anticlockwise(raw: RawMesh) -> RawMesh:
    """The mesh with every triangle's nodes anticlockwise."""
    a, b, c = (raw.points[raw.cells[:, i]] for i in range(3))
    first, second = b - a, c - a
    wrong = first[:, 0] * second[:, 1] < first[:, 1] * second[:, 0]
    if not wrong.any():
        return raw
    cells = raw.cells.copy()
    cells[wrong] = cells[wrong][:, [0, 2, 1]]
    return replace(raw, cells=cells)


def boundary_edges(cells: np.ndarray) -> np.ndarray:
    """Edges (m, 2) that belong to one cell only, tagged or not; nodes of each in order."""
    edges = np.sort(cells[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    unique, counts = np.unique(edges, axis=0, return_counts=True)
    return unique[counts == 1]


def boundary_nodes(cells: np.ndarray) -> np.ndarray:
    """Sorted nodes of the boundary edges."""
    return np.unique(boundary_edges(cells))


def _places(nodes: np.ndarray, space: ShapeSpace, q: np.ndarray) -> np.ndarray:
    """Parameters of the nodes: those of the outline's own nodes, whose images they must be."""
    outline = space.parametrisation.outline
    expected = outline.points(outline.places) + space.displacement(q, outline.places)
    if len(nodes) == len(expected):
        first = int(np.linalg.norm(expected - nodes[0], axis=1).argmin())
        order = (first + np.arange(len(nodes))) % len(nodes)
        if np.abs(expected[order] - nodes).max() < 1e-9 * outline.length:
            return outline.places[order]
    raise MeshError(
        "morphing: the obstacle in the mesh is not this shape of the outline; make the "
        "outline from this mesh, or remesh the shape by remesh()"
    )
