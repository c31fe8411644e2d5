"""Two triangulations of one domain: which cell holds a point, and exact integrals over their cuts.

Source of the idea, a common refinement on which both meshes' functions are polynomials: P. E.
Farrell, M. D. Piggott, C. C. Pain, G. J. Gorman, C. R. Wilson, Conservative interpolation between
unstructured meshes via supermesh construction, Comput. Methods Appl. Mech. Engrg. 198 (2009).
"""

import numba
import numpy as np
from scipy import sparse

from hypemarl.meshing.polygons import turn

CORNERS = 12
"""Room for the corners of a cut of two triangles, which has 6 at most."""


class CellGrid:
    """Cells by the boxes of an even grid that they touch, to find them by place.

    Args:
        corners: (M, 3, 2) corners of anticlockwise triangles.
    """

    def __init__(self, corners: np.ndarray) -> None:
        self._corners = np.ascontiguousarray(corners)
        self._low = corners.min(axis=(0, 1))
        extent = corners.max(axis=(0, 1)) - self._low
        counts = np.sqrt(len(corners) * extent / extent[::-1]).astype(np.int64)
        self._counts = np.clip(counts, 1, 4 * len(corners))
        self._steps = extent / self._counts
        self._starts, self._cells = _fill_boxes(self._spans(corners), self._counts)

    def locate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cell (k,) of each point and its barycentric coordinates there (k, 3).

        A point outside all cells, by rounding, gets the cell of its box that it misses least, and
        coordinates there that may be a little negative.

        Raises:
            ValueError: a point is in no box with cells: it lies outside the domain.
        """
        boxes = self._boxes(points) @ np.array([self._counts[1], 1])
        cells, places = _locate(
            np.ascontiguousarray(points), boxes, self._corners, self._starts, self._cells
        )
        if (cells < 0).any():
            where = points[np.argmax(cells < 0)].tolist()
            raise ValueError(f"locate: the point {where} lies outside the mesh")
        return cells, places

    def mixed_mass(
        self, points: np.ndarray, cells: np.ndarray, nodes: np.ndarray
    ) -> sparse.csr_matrix:
        """Integrals of products of P1 functions of another mesh and of this one.

        Args:
            points, cells: (N, 2), (M, 3) anticlockwise: the other mesh, rows of the matrix.
            nodes: (M_here, 3) numbers of this mesh's nodes: columns.

        Returns:
            (N, nodes.max() + 1) with the integrals over the cuts of all cells, exact to rounding.
        """
        corners = np.ascontiguousarray(points[cells])
        boxes, grid = (_bounds(corners), _bounds(self._corners)), (self._starts, self._cells)
        pairs = _pairs(self._spans(corners), *boxes, self._counts, *grid)
        products = _integrate_cuts(corners, self._corners, pairs)
        rows = np.repeat(cells[pairs[:, 0]], 3, axis=1).ravel()
        columns = np.tile(nodes[pairs[:, 1]], (1, 3)).ravel()
        used = products.ravel() != 0.0
        entries = (products.ravel()[used], (rows[used], columns[used]))
        return sparse.csr_matrix(entries, shape=(len(points), int(nodes.max()) + 1))

    def _boxes(self, points: np.ndarray) -> np.ndarray:
        """Box (..., 2) of each point, the nearest one for points outside."""
        boxes = np.floor((points - self._low) / self._steps).astype(np.int64)
        return np.clip(boxes, 0, self._counts - 1)

    def _spans(self, corners: np.ndarray) -> np.ndarray:
        """First and last box along x, then y: (M, 4)."""
        first, last = self._boxes(corners.min(axis=1)), self._boxes(corners.max(axis=1))
        return np.stack([first[:, 0], last[:, 0], first[:, 1], last[:, 1]], axis=1)


def _bounds(corners: np.ndarray) -> np.ndarray:
    """Lowest x and y, highest x and y of each cell: (M, 4)."""
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


@numba.njit(cache=True)
def _fill_boxes(spans: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compressed lists of the cells whose bounding box touches each grid box."""
    starts = np.zeros(counts[0] * counts[1] + 1, dtype=np.int64)
    for k in range(len(spans)):
        for i in range(spans[k, 0], spans[k, 1] + 1):
            for j in range(spans[k, 2], spans[k, 3] + 1):
                starts[i * counts[1] + j + 1] += 1
    starts = np.cumsum(starts)
    cells, fill = np.empty(starts[-1], dtype=np.int64), starts[:-1].copy()
    for k in range(len(spans)):
        for i in range(spans[k, 0], spans[k, 1] + 1):
            for j in range(spans[k, 2], spans[k, 3] + 1):
                cells[fill[i * counts[1] + j]] = k
                fill[i * counts[1] + j] += 1
    return starts, cells


@numba.njit(cache=True)
def _pairs(
    spans: np.ndarray,
    bounds: np.ndarray,
    others: np.ndarray,
    counts: np.ndarray,
    starts: np.ndarray,
    cells: np.ndarray,
) -> np.ndarray:
    """Pairs (m, 2) of a cell and one of the grid's whose bounding boxes meet, each once."""
    seen = np.full(len(others), -1, dtype=np.int64)
    meeting = [(0, 0) for _ in range(0)]
    for k in range(len(spans)):
        for i in range(spans[k, 0], spans[k, 1] + 1):
            for j in range(spans[k, 2], spans[k, 3] + 1):
                box = i * counts[1] + j
                for e in range(starts[box], starts[box + 1]):
                    o = cells[e]
                    if seen[o] == k:
                        continue
                    seen[o] = k
                    if (
                        bounds[k, 0] < others[o, 2]
                        and others[o, 0] < bounds[k, 2]
                        and bounds[k, 1] < others[o, 3]
                        and others[o, 1] < bounds[k, 3]
                    ):
                        meeting.append((k, o))
    pairs = np.empty((len(meeting), 2), dtype=np.int64)
    for n in range(len(meeting)):
        pairs[n, 0], pairs[n, 1] = meeting[n]
    return pairs


@numba.njit(cache=True)
def _barycentric(corners: np.ndarray, x: float, y: float) -> tuple[float, float, float]:
    a, b, c = corners[0], corners[1], corners[2]
    twice = turn(a, b, c)
    second = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / twice
    third = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / twice
    return 1.0 - second - third, second, third


@numba.njit(cache=True)
def _locate(
    points: np.ndarray,
    boxes: np.ndarray,
    corners: np.ndarray,
    starts: np.ndarray,
    cells: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    holders, places = np.full(len(points), -1, dtype=np.int64), np.zeros((len(points), 3))
    for n in range(len(points)):
        best = -np.inf
        for e in range(starts[boxes[n]], starts[boxes[n] + 1]):
            first, second, third = _barycentric(corners[cells[e]], points[n, 0], points[n, 1])
            if min(first, second, third) > best:
                best, holders[n] = min(first, second, third), cells[e]
                places[n, 0], places[n, 1], places[n, 2] = first, second, third
    return holders, places


@numba.njit(cache=True)
def _cut(one: np.ndarray, other: np.ndarray, polygon: np.ndarray, spare: np.ndarray) -> int:
    """Corners of the cut of two anticlockwise triangles into ``polygon``; returns their number.

    Source: I. E. Sutherland, G. W. Hodgman, Reentrant polygon clipping, Comm. ACM 17 (1974).
    """
    count = 3
    polygon[:3] = one
    for side in range(3):
        a, b = other[side], other[(side + 1) % 3]
        kept = 0
        for i in range(count):
            p, q = polygon[i], polygon[(i + 1) % count]
            at_p, at_q = turn(a, b, p), turn(a, b, q)
            if at_p >= 0.0:
                spare[kept] = p
                kept += 1
            if (at_p > 0.0 and at_q < 0.0) or (at_p < 0.0 and at_q > 0.0):
                share = at_p / (at_p - at_q)
                spare[kept, 0] = p[0] + share * (q[0] - p[0])
                spare[kept, 1] = p[1] + share * (q[1] - p[1])
                kept += 1
        count = kept
        polygon[:count] = spare[:count]
        if count < 3:
            return 0
    return count


@numba.njit(cache=True)
def _add_cut(
    polygon: np.ndarray, count: int, one: np.ndarray, other: np.ndarray, products: np.ndarray
) -> None:
    """Adds integrals of lambda_i mu_j over a convex polygon: a fan, midpoints of sides, exact."""
    for k in range(1, count - 1):
        a, b, c = polygon[0], polygon[k], polygon[k + 1]
        area = 0.5 * turn(a, b, c)
        for side in range(3):
            p = a if side == 0 else (b if side == 1 else c)
            q = b if side == 0 else (c if side == 1 else a)
            x, y = 0.5 * (p[0] + q[0]), 0.5 * (p[1] + q[1])
            here, there = _barycentric(one, x, y), _barycentric(other, x, y)
            for i in range(3):
                for j in range(3):
                    products[i, j] += area / 3.0 * here[i] * there[j]


@numba.njit(cache=True)
def _integrate_cuts(ones: np.ndarray, others: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Integrals (m, 3, 3) of lambda_i mu_j over the cut of each pair of cells."""
    products = np.zeros((len(pairs), 3, 3))
    polygon, spare = np.empty((CORNERS, 2)), np.empty((CORNERS, 2))
    for n in range(len(pairs)):
        one, other = ones[pairs[n, 0]], others[pairs[n, 1]]
        count = _cut(one, other, polygon, spare)
        if count > 0:
            _add_cut(polygon, count, one, other, products[n])
    return products
