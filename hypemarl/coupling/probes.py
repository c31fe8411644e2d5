"""Values of a Taylor-Hood field at points in the fluid: constant sparse operators."""

import numpy as np
from dolfinx import geometry
from mpi4py import MPI
from scipy import sparse

from hypemarl.coupling.layout import LayoutError
from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.taylor_hood import TaylorHood, quadratics

# How far outside a cell, in barycentric coordinates, a point on its boundary may seem to lie.
OUTSIDE = 1e-9


class PointProbes:
    """Velocity (P2) and pressure (P1) at points; one rank evaluates each point. Collective.

    Args:
        space: of the flow; points: (m, 2), identical on every rank; names: of the points in
            messages (default: their numbers).

    Raises:
        LayoutError: on every rank, when a point lies outside the fluid; names the point.
    """

    def __init__(
        self, space: TaylorHood, points: np.ndarray, names: list[str] | None = None
    ) -> None:
        self.comm = space.comm
        self.points = np.asarray(points, dtype=np.float64)
        rows, cells, coordinates = _own_points(space, self.points, names)
        count, values = len(self.points), quadratics(coordinates)
        v_shape, p_shape = (count, space.n_velocity_local), (count, space.n_pressure_local)
        self.velocity_matrix = _rows(rows, space.velocity_cells[cells], values, v_shape)
        self.pressure_matrix = _rows(rows, space.pressure_cells[cells], coordinates, p_shape)

    def evaluate(self, velocity: np.ndarray, pressure: np.ndarray) -> np.ndarray:
        """(m, 3): both velocity components and the pressure at every point. Collective.

        Args:
            velocity: (2, n_velocity_local); pressure: (n_pressure_local,), ghosts up to date.
        """
        parts = [self.velocity_matrix @ component for component in velocity]
        parts.append(self.pressure_matrix @ pressure)
        return sum_over_ranks(self.comm, np.stack(parts, axis=1))


def _own_points(
    space: TaylorHood, points: np.ndarray, names: list[str] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of this rank (r,), their cells (r,) and barycentric coordinates (r, 3). Collective."""
    cells, coordinates = _locate(space, points)
    mine = np.where(cells >= 0, space.comm.rank, space.comm.size)
    first = np.empty_like(mine)
    space.comm.Allreduce(mine, first, op=MPI.MIN)
    lost = np.flatnonzero(first == space.comm.size)
    if lost.size:
        which = names[lost[0]] if names else f"probe {lost[0]}"
        raise LayoutError(
            f"{which} at {points[lost[0]].round(6).tolist()} lies outside the fluid "
            f"({lost.size} of {len(points)} probes do); move it into the mesh"
        )
    rows = np.flatnonzero(first == space.comm.rank)
    return rows, cells[rows], coordinates[rows]


def _locate(space: TaylorHood, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The owned cell (m,) that holds each point, -1 for none, and coordinates (m, 3) in it."""
    count = len(space.pressure_cells)
    size = float(np.sqrt(space.volumes.max(initial=0.0)))
    owned = np.arange(count, dtype=np.int32)
    tree = geometry.bb_tree(space.mesh, 2, padding=1e-6 * size, entities=owned)
    flat = np.column_stack([points, np.zeros(len(points))])
    candidates = geometry.compute_collisions_points(tree, flat)
    cells = np.full(len(points), -1, dtype=np.int64)
    coordinates = np.zeros((len(points), 3))
    for index, point in enumerate(points):
        near = candidates.links(index)
        if not len(near):
            continue
        inside = _barycentric(space, near, point)
        best = int(inside.min(axis=1).argmax())
        if inside[best].min() >= -OUTSIDE:
            cells[index], coordinates[index] = near[best], inside[best]
    return cells, coordinates


def _barycentric(space: TaylorHood, cells: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Barycentric coordinates (c, 3) of a point in cells (c,)."""
    corners = space.pressure_points[space.pressure_cells[cells]]
    offsets = point - corners.mean(axis=1)
    return 1.0 / 3.0 + np.einsum("cvx,cx->cv", space.gradients[cells], offsets)


def _rows(
    rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]
) -> sparse.csr_array:
    index = np.repeat(rows, columns.shape[1])
    return sparse.csr_array((values.ravel(), (index, columns.ravel())), shape=shape)
