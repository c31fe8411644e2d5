"""The outline of an obstacle in a mesh: its nodes in order, and a smooth curve through them."""

from collections.abc import Iterator

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hypemarl.meshing.polygons import centroid, crosses_itself, signed_area
from hypemarl.meshing.raw import MeshError, RawMesh

PER_FACET = 4
"""Points per facet at which a shape's curvature, thickness and gaps are measured."""


class Outline:
    """Periodic cubic spline through the reference nodes, anticlockwise.

    Args:
        nodes: (n, 2) corners of a closed polygon, the first one not repeated.

    Attributes:
        places: (n,) parameters of the nodes in [0, 1): chord length over the polygon's length.
        dense: (PER_FACET n,) parameters, evenly spaced between nodes.
        centre: (2,) centre of area. length: of the polygon. radius: of the circle of equal area.

    Raises:
        MeshError: fewer than 8 nodes, or the polygon crosses itself.
    """

    def __init__(self, nodes: np.ndarray) -> None:
        if len(nodes) < 8:
            raise MeshError(f"outline: expected at least 8 nodes, got {len(nodes)}; refine there")
        if crosses_itself(nodes):
            raise MeshError("outline: the obstacle's boundary crosses itself")
        if signed_area(nodes) < 0.0:
            raise MeshError("outline: expected the nodes anticlockwise, got them clockwise")
        closed = np.concatenate([nodes, nodes[:1]])
        knots = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
        self.length = float(knots[-1])
        self._spline = CubicSpline(knots / self.length, closed, bc_type="periodic")
        self._slope = self._spline.derivative()
        self.places = knots[:-1] / self.length
        steps = np.diff(knots / self.length)[:, None] * np.arange(PER_FACET) / PER_FACET
        self.dense = (self.places[:, None] + steps).ravel()
        fine = self.points(self.dense)
        self.centre = centroid(fine)
        self.radius = float(np.sqrt(signed_area(fine) / np.pi))

    def points(self, s: np.ndarray) -> np.ndarray:
        """Points (k, 2) of the reference outline at parameters (k,)."""
        return self._spline(np.asarray(s) % 1.0)

    def normals(self, s: np.ndarray) -> np.ndarray:
        """Unit normals (k, 2) that point out of the obstacle."""
        x, y = self._slope(np.asarray(s) % 1.0).T
        return np.column_stack([y, -x]) / np.hypot(x, y)[:, None]


def loop_of(raw: RawMesh, tag: str) -> np.ndarray:
    """Nodes (n,) of a tag's facets in order around it, anticlockwise.

    The first one is that in the direction of x from the centre, so that agents, which are counted
    from there, stand symmetrically to the x-axis where the obstacle does.

    Raises:
        MeshError: no such tag of facets, or they form no single closed curve.
    """
    if raw.tags.get(tag, (0, 0))[0] != 1 or raw.tdim != 2:
        raise MeshError(
            f"morphing: expected a triangle mesh whose obstacle has the tag {tag!r} of dimension "
            f"1; it has {sorted(raw.tags)}"
        )
    order = ordered_loop(raw.members(tag), f"tag {tag!r}")
    order = order if signed_area(raw.points[order]) > 0.0 else order[::-1]
    arms = raw.points[order] - centroid(raw.points[order])
    return np.roll(order, -int(np.abs(np.arctan2(arms[:, 1], arms[:, 0])).argmin()))


def ordered_loop(facets: np.ndarray, source: str) -> np.ndarray:
    """Nodes (n,) of edges (n, 2) in the order of the one closed curve that they form.

    Raises:
        MeshError: they form no such curve.
    """
    edges = np.concatenate([facets, facets[:, ::-1]])
    edges = edges[np.argsort(edges[:, 0], kind="stable")]
    starts, counts = np.unique(edges[:, 0], return_counts=True)
    if not (counts == 2).all():
        where = int(starts[counts != 2][0])
        raise MeshError(
            f"{source}: its facets form no closed curve: it ends or forks at node {where}"
        )
    ends = edges[:, 1].reshape(-1, 2)
    order, before, here = [int(starts[0])], -1, int(starts[0])
    while True:
        first, second = ends[np.searchsorted(starts, here)]
        before, here = here, int(second if first == before else first)
        if here == order[0]:
            break
        order.append(here)
    if len(order) < len(starts):
        raise MeshError(f"{source}: its facets form several curves; give each obstacle its own tag")
    return np.array(order)


def closed_loops(edges: np.ndarray) -> Iterator[np.ndarray]:
    """The closed curves that edges (n, 2) form, each as nodes in order.

    Raises:
        MeshError: an edge belongs to no closed curve.
    """
    size = int(edges.max(initial=-1)) + 1
    links = coo_array((np.ones(len(edges), dtype=bool), edges.T), shape=(size, size))
    curve = connected_components(links, directed=False)[1][edges[:, 0]]
    for number in dict.fromkeys(curve.tolist()):
        yield ordered_loop(edges[curve == number], "boundary")
