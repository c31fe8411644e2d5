"""Near agents: stencils on grids and by distance, and sums over them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Agents that see others, as a constant linear map and its transpose. Local.

    Attributes:
        near: (n, K) the agents that each one sees, -1 where there is none; column K // 2 is the
            agent itself.
    """

    near: np.ndarray

    @property
    def size(self) -> int:
        """K, the agents that one sees, absent ones included."""
        return self.near.shape[1]

    @cached_property
    def present(self) -> np.ndarray:
        """(n, K) whether there is an agent."""
        return self.near >= 0

    def gather(self, values: np.ndarray, absent: float = 0.0) -> np.ndarray:
        """Values (n, ...) of the agents that each one sees: (n, K, ...), ``absent`` for none."""
        present = self.present.reshape(self.near.shape + (1,) * (values.ndim - 1))
        return np.where(present, values[self.near], absent)

    def scatter_add(self, bars: np.ndarray) -> np.ndarray:
        """Transpose of :meth:`gather`: cotangents (n, K, ...) summed by agent, (n, ...)."""
        total = np.zeros((len(self.near), *bars.shape[2:]))
        np.add.at(total, self.near[self.present], bars[self.present])
        return total


def grid_stencil(grid: Sequence[int], radius: int, periodic: Sequence[int] = ()) -> np.ndarray:
    """Agents within ``radius`` steps along every axis of a grid in C order: (n, (2 radius + 1)^d).

    Columns are aligned by relative place, the middle one is the agent itself; -1 where the grid
    ends, and along ``periodic`` axes for what another column already holds. Local.

    Raises:
        ValueError: the radius is negative.
    """
    if radius < 0:
        raise ValueError(f"radius: expected 0 or more grid steps, got {radius}")
    places, counts = np.array(list(np.ndindex(*grid))), np.array(grid)
    offsets = np.array(list(product(range(-radius, radius + 1), repeat=len(grid))))
    near = places[:, None, :] + offsets[None, :, :]
    wraps = np.isin(np.arange(len(grid)), list(periodic))
    # offset -n/2 is the agent at +n/2
    new = (2 * offsets > -counts) & (2 * offsets <= counts)
    inside = np.all(np.where(wraps, new, (near >= 0) & (near < counts)), axis=2)
    near = np.where(wraps, near % counts, near)
    index = np.ravel_multi_index(tuple(np.moveaxis(near, 2, 0)), tuple(grid), mode="clip")
    return np.where(inside, index, -1).astype(np.int64)


def nearest_stencil(positions: np.ndarray, radius: int) -> np.ndarray:
    """The 2 ``radius`` agents nearest to each of (n, gdim) positions, shape (n, 2 radius + 1).

    ``radius`` is cut to n // 2; the middle column is the agent itself, -1 where agents run out.
    Local.
    """
    reach = min(radius, len(positions) // 2)
    distances = np.linalg.norm(positions[:, None] - positions, axis=2)
    np.fill_diagonal(distances, -1.0)
    order = np.argsort(distances, axis=1, kind="stable")[:, : 2 * reach + 1]
    lacking = 2 * reach + 1 - order.shape[1]
    order = np.pad(order, ((0, 0), (0, lacking)), constant_values=-1)
    return np.concatenate([order[:, 1 : reach + 1], order[:, :1], order[:, reach + 1 :]], 1)


def median_spacing(positions: np.ndarray) -> float:
    """Median distance of (n, gdim) positions to the nearest other one; 1 for a single agent. Local.

    Raises:
        ValueError: two agents have the same place.
    """
    distances = np.linalg.norm(positions[:, None] - positions, axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(axis=1)
    if not (nearest > 0.0).all():
        raise ValueError("two agents have the same place")
    return float(np.median(nearest)) if len(positions) > 1 else 1.0
