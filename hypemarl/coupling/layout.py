"""Where the agents sit, which cells each of them owns, and who is near whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.p1 import P1Space

Indicator = Callable[[np.ndarray], np.ndarray]


class LayoutError(ValueError):
    """Agent subdomains overlap, leave a gap, or hold no cell. Raised on every rank."""


@dataclass(frozen=True)
class AgentLayout:
    """Agents on a regular grid, each with the cells that it owns.

    Attributes:
        positions: (n, gdim) agent positions, identical on every rank.
        owners: (n_cells,) agent of each cell of this rank.
        grid: number of agents per axis; agents count in C order (last axis fastest).
        spacing: distance between neighbouring agents (mean over the axes).
    """

    positions: np.ndarray
    owners: np.ndarray
    grid: tuple[int, ...]
    spacing: float

    @property
    def n_agents(self) -> int:
        """Number of agents."""
        return len(self.positions)

    def stencil(self, radius: int) -> np.ndarray:
        """Agents within ``radius`` grid steps along every axis, shape (n, (2 radius + 1)^axes).

        Columns are aligned by relative place, the middle one is the agent itself; -1 where the grid
        ends. Local.
        """
        return grid_stencil(self.grid, radius)


def grid_stencil(grid: Sequence[int], radius: int) -> np.ndarray:
    """Neighbours on a grid in C order, -1 beyond its ends; see :meth:`AgentLayout.stencil`."""
    if radius < 0:
        raise ValueError(f"radius: expected 0 or more grid steps, got {radius}")
    places = np.array(list(np.ndindex(*grid)))
    offsets = np.array(list(product(range(-radius, radius + 1), repeat=len(grid))))
    near = places[:, None, :] + offsets[None, :, :]
    inside = np.all((near >= 0) & (near < np.array(grid)), axis=2)
    index = np.ravel_multi_index(tuple(np.moveaxis(near, 2, 0)), tuple(grid), mode="clip")
    return np.where(inside, index, -1).astype(np.int64)


def grid_layout(
    space: P1Space, grid: Sequence[int], lower: np.ndarray, upper: np.ndarray
) -> AgentLayout:
    """Agents at the centres of a grid of equal boxes; a cell belongs to the box of its midpoint.

    ``lower`` and ``upper``, shape (gdim,), are the corners of the domain's bounding box.
    Collective.

    Raises:
        LayoutError: see :func:`own_cells`.
    """
    if len(grid) != space.gdim:
        raise LayoutError(
            f"agents: expected one number per axis of the {space.gdim}D mesh, got {tuple(grid)}"
        )
    shape = np.array(grid)
    widths = (np.asarray(upper) - lower) / shape
    places = np.array(list(np.ndindex(*grid)))
    positions = lower + (places + 0.5) * widths

    def in_box(place: np.ndarray) -> Indicator:
        first, last = place == 0, place == shape - 1

        def indicator(x: np.ndarray) -> np.ndarray:
            step = np.floor((x - lower) / widths)
            # outermost boxes reach to infinity, so that rounding at the boundary leaves no gap
            return np.all((step == place) | (first & (step < 0)) | (last & (step >= shape)), axis=1)

        return indicator

    owners = own_cells(space, [in_box(place) for place in places])
    return AgentLayout(positions, owners, tuple(int(k) for k in grid), float(widths.mean()))


def own_cells(space: P1Space, indicators: Sequence[Indicator]) -> np.ndarray:
    """The agent that owns each cell of this rank, shape (n_cells,).

    ``indicators[i](midpoints (m, gdim)) -> (m,) bool`` marks the subdomain of agent i. Collective.

    Raises:
        LayoutError: on every rank, when two subdomains overlap, a cell has no owner, or an
            agent owns no cell; the message names agents and a place.
    """
    marks = np.array([indicator(space.midpoints) for indicator in indicators], dtype=bool)
    count = marks.sum(axis=0)
    _refuse(space, count > 1, marks, "agent subdomains overlap: expected one owner per cell")
    _refuse(space, count == 0, marks, "agent subdomains leave a gap: expected one owner per cell")
    cells = sum_over_ranks(space.comm, marks.sum(axis=1).astype(float))
    if np.any(cells == 0):
        empty = np.flatnonzero(cells == 0).tolist()
        raise LayoutError(
            f"agents {empty} own no cell: expected at least one each of {len(cells)} agents; "
            "lower mesh.element_size or use fewer agents"
        )
    return np.argmax(marks, axis=0).astype(np.int32)


def _refuse(space: P1Space, bad: np.ndarray, marks: np.ndarray, message: str) -> None:
    """Raise the same LayoutError on every rank when any rank has bad cells. Collective."""
    place = int(np.argmax(bad)) if bad.any() else -1
    example = None
    if place >= 0:
        example = (
            space.midpoints[place].round(4).tolist(),
            np.flatnonzero(marks[:, place]).tolist(),
        )
    found = [e for e in space.comm.allgather((int(bad.sum()), example)) if e[1] is not None]
    if found:
        where, agents = found[0][1]
        raise LayoutError(
            f"{message}, got {sum(f[0] for f in found)} cells that break this, "
            f"one at {where} claimed by agents {agents}; make the subdomains a partition"
        )
