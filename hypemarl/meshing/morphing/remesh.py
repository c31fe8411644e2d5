"""A new mesh of the current shape where the moved one has become too poor.

gmsh keeps every node of the boundary, on the obstacle and on the walls, and remakes the inside. So
old and new mesh cover the same polygon, fields can be transferred without loss at the boundary,
and whatever is tied to the boundary's nodes stays as it is.
"""

from collections.abc import Iterator
from dataclasses import replace

import gmsh
import numba
import numpy as np
from scipy.spatial import cKDTree

from hypemarl.meshing.channel import GROWTH
from hypemarl.meshing.morphing.motion import MeshMotion, boundary_edges, follow
from hypemarl.meshing.morphing.outlines import closed_loops
from hypemarl.meshing.obstacle_channel import facet_sizes, graded_size
from hypemarl.meshing.polygons import crosses_itself, signed_area
from hypemarl.meshing.raw import MeshError, RawMesh, checked
from hypemarl.meshing.shapes import GMSH_TYPES, session


def renewed(motion: MeshMotion, q: np.ndarray, min_quality: float) -> MeshMotion:
    """The motion itself where its worst cell at q keeps the bound, else another one. Local.

    The first mesh (``motion.root``) where that keeps the bound, else a new mesh.

    Raises:
        MeshError: the new mesh breaks the bound as well.
    """
    for known in (motion, motion.root):
        if known is not None and known.worst_cell(q)[0] >= min_quality:
            return known
    new = remesh(motion, q)
    worst, cell = new.worst_cell(q)
    if worst < min_quality:
        raise MeshError(
            f"remesh: cell {cell} of the new mesh has quality {worst:.3g}, below "
            f"min_quality={min_quality:g}: the boundary's facets are too uneven for this shape; "
            f"refine them or tighten max_curvature"
        )
    return new


def remesh(motion: MeshMotion, q: np.ndarray) -> MeshMotion:
    """Mesh the shape q anew by gmsh: same boundary nodes and tags, origin q. Local.

    Edge lengths are those of the first mesh (``motion.root``), moved along, so that they do not
    drift over many remeshes.

    Raises:
        MeshError: the mesh has several tags of cells, or q is no shape that can be meshed.
    """
    tags = [name for name, (dim, _) in motion.raw.tags.items() if dim == 2]
    if len(tags) != 1:
        raise MeshError(f"remesh: expected one tag of cells, got {sorted(tags)}; join them")
    if crosses_itself(motion.points(q)[motion.loop]):
        raise MeshError("remesh: the outline crosses itself; take a shape from a FeasibleMap")
    root = motion.root or motion
    raw = _mesh(motion.moved(q), root, q, tags[0])
    new = follow(checked(raw, "remesh"), motion.space, motion.tag, origin=q)
    return replace(new, root=root)


def _mesh(moved: RawMesh, root: MeshMotion, q: np.ndarray, domain: str) -> RawMesh:
    edges = boundary_edges(moved.cells)
    loops = sorted(closed_loops(edges), key=lambda loop: -abs(signed_area(moved.points[loop])))
    with session() as model:
        gmsh.option.setNumber("Mesh.MeshSizeExtendFromBoundary", 0)
        lines = _add_loops(model.geo, moved.points, loops)
        curves = [[lines[min(e), max(e)] for e in _edges_of(loop)] for loop in loops]
        model.geo.addPlaneSurface([model.geo.addCurveLoop(curve) for curve in curves])
        model.geo.synchronize()
        _prescribe_sizes(model, moved.points, loops, root, q)
        try:
            model.mesh.generate(2)
        except Exception as error:  # gmsh raises nothing more special
            raise MeshError(f"remesh: gmsh cannot mesh this shape: {error}") from error
        tags, coordinates, _ = model.mesh.getNodes()
        cells = model.mesh.getElementsByType(GMSH_TYPES[2])[1].reshape(-1, 3)
    order = np.argsort(tags)
    points = coordinates.reshape(-1, 3)[order, :2]
    cells = np.searchsorted(tags[order], cells).astype(np.int64)
    values = np.full(len(cells), moved.tags[domain][1], dtype=np.int32)
    return RawMesh(points, cells, values, _same(moved, points), moved.facet_values, moved.tags)


def _same(moved: RawMesh, points: np.ndarray) -> np.ndarray:
    """The tagged facets in the nodes of the new mesh, which has a node at each of theirs."""
    used = np.unique(moved.facets)
    distance, nearest = cKDTree(points).query(moved.points[used])
    if distance.max(initial=0.0) > 1e-12 * np.ptp(points):
        raise MeshError(
            f"remesh: gmsh moved the boundary's node at {moved.points[used[distance.argmax()]]}"
        )
    new = np.zeros(len(moved.points), dtype=np.int64)
    new[used] = nearest
    return new[moved.facets]


def _edges_of(loop: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of neighbouring nodes, in order around the curve."""
    yield from zip(loop.tolist(), np.roll(loop, -1).tolist(), strict=True)


def _add_loops(
    geo: type[gmsh.model.geo], points: np.ndarray, loops: list[np.ndarray]
) -> dict[tuple, int]:
    """Points and undivided lines of the boundary: sorted pair of nodes -> line."""
    lines = {}
    for loop in loops:
        made = {node: geo.addPoint(*points[node].tolist(), 0.0) for node in loop.tolist()}
        for a, b in _edges_of(loop):
            line = lines[min(a, b), max(a, b)] = geo.addLine(made[a], made[b])
            geo.mesh.setTransfiniteCurve(line, 2)
    return lines


def _prescribe_sizes(
    model: type[gmsh.model],
    points: np.ndarray,
    loops: list[np.ndarray],
    root: MeshMotion,
    q: np.ndarray,
) -> None:
    """The first mesh's edge length nearby, and growth from the boundary's facets."""
    nodes, nodal = root.points(q), _nodal_sizes(root.raw)
    corners = np.concatenate([points[loop] for loop in loops])
    facets = np.concatenate([facet_sizes(points[loop]) for loop in loops])

    def size(dim: int, tag: int, x: float, y: float, z: float, before: float) -> float:
        return float(graded_size(x, y, corners, facets, GROWTH, _nearest(x, y, nodes, nodal)))

    model.mesh.setSizeCallback(size)


def _nodal_sizes(raw: RawMesh) -> np.ndarray:
    """Mean length (N,) of the edges at each node."""
    edges = raw.cells[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    lengths = np.linalg.norm(raw.points[edges[:, 0]] - raw.points[edges[:, 1]], axis=1)
    total = np.bincount(edges.ravel(), np.repeat(lengths, 2), len(raw.points))
    return total / np.bincount(edges.ravel(), minlength=len(raw.points))


@numba.njit(cache=True)
def _nearest(x: float, y: float, points: np.ndarray, values: np.ndarray) -> float:
    """The value of the nearest point."""
    least, nearest = np.inf, 0
    for k in range(len(points)):
        square = (points[k, 0] - x) ** 2 + (points[k, 1] - y) ** 2
        if square < least:
            least, nearest = square, k
    return values[nearest]
