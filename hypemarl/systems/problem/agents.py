"""Places of a problem's agents, and the cells that belong to each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hypemarl.coupling.layout import LayoutError, boxes_of, centres_of
from hypemarl.coupling.neighbourhood import grid_stencil, nearest_stencil
from hypemarl.mpi import sum_over_ranks
from hypemarl.systems.problem.domain import Domain


@dataclass(frozen=True, eq=False)
class Places:
    """Agents in a domain.

    Attributes:
        positions: (n, gdim), the same on every rank.
        owners: (n_cells,) agent of each cell of this rank, ghosts left out.
        grid: agents per axis in C order where they form a grid.
        periodic: axes along which the grid goes on at the other side.
    """

    positions: np.ndarray
    owners: np.ndarray
    grid: tuple[int, ...] | None = None
    periodic: tuple[int, ...] = ()

    def stencil(self, radius: int) -> np.ndarray:
        """Near agents (n, K), see :class:`~hypemarl.coupling.neighbourhood.Neighbourhood`.

        An axis with one agent adds no columns: nobody is there.
        """
        if self.grid is None:
            return nearest_stencil(self.positions, radius)
        axes = [axis for axis, count in enumerate(self.grid) if count > 1] or [0]
        counts = [self.grid[axis] for axis in axes]
        periodic = [place for place, axis in enumerate(axes) if axis in self.periodic]
        return grid_stencil(counts, radius, periodic)


class Agents(ABC):
    """Agents as a problem states them."""

    @property
    @abstractmethod
    def counts(self) -> tuple[int, ...]:
        """Agents per axis of a grid, or their number."""

    @abstractmethod
    def placed(self, domain: Domain) -> Places:
        """The agents in a domain. Collective.

        Raises:
            LayoutError: on every rank, where an agent has no cell.
        """


class Grid(Agents):
    """Agents in the middle of equal boxes: ``Grid(8)`` on a line, ``Grid(4, 4)`` in the plane.

    Args:
        counts: boxes along every axis; with a one there is a single box along this axis, so that
            ``Grid(12, 1)`` are columns side by side.
    """

    def __init__(self, *counts: int) -> None:
        if not counts or any(count < 1 or int(count) != count for count in counts):
            raise LayoutError(f"Grid: expected one number of agents per axis, got {counts}")
        self._counts = tuple(int(count) for count in counts)

    @property
    def counts(self) -> tuple[int, ...]:
        """Boxes per axis."""
        return self._counts

    def placed(self, domain: Domain) -> Places:
        """See :meth:`Agents.placed`."""
        if len(self.counts) != domain.gdim:
            raise LayoutError(
                f"agents: expected one number per axis of the {domain.gdim}D mesh, as in "
                f"Grid({', '.join('4' * domain.gdim)}), got Grid{self.counts}"
            )
        centres, _ = centres_of(self.counts, domain.lower, domain.upper)
        owners = boxes_of(domain.midpoints, self.counts, domain.lower, domain.upper)
        _require_cells(domain, owners, len(centres))
        return Places(centres, owners, self.counts, domain.periodic)


class Points(Agents):
    """Agents at listed places; a cell belongs to the agent nearest to its midpoint.

    Args:
        points: (n, gdim), or (n,) on a line.
    """

    def __init__(self, points: Sequence[Sequence[float]] | Sequence[float]) -> None:
        array = np.asarray(points, dtype=np.float64)
        self.points = array[:, None] if array.ndim == 1 else array
        if len(np.unique(self.points, axis=0)) < len(self.points):
            raise LayoutError("Points: expected different places, two agents are at the same one")

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of agents."""
        return (len(self.points),)

    def placed(self, domain: Domain) -> Places:
        """See :meth:`Agents.placed`."""
        if self.points.shape[1:] != (domain.gdim,):
            raise LayoutError(
                f"agents: expected points of shape (n, {domain.gdim}), got {self.points.shape}"
            )
        owners = _nearest(domain, self.points)
        _require_cells(domain, owners, len(self.points))
        return Places(self.points, owners)


class Parts(Agents):
    """One agent for each named part of the mesh, at its middle.

    The cells of a part of cells are its agent's; other cells belong to the agent nearest to them.

    Args:
        names: of tagged parts, or of those that ``Problem.parts`` marks.
    """

    def __init__(self, *names: str) -> None:
        self.names = names

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of agents."""
        return (len(self.names),)

    def placed(self, domain: Domain) -> Places:
        """See :meth:`Agents.placed`."""
        positions = np.stack([domain.middle(name) for name in self.names])
        owners = _nearest(domain, positions)
        for agent, name in enumerate(self.names):
            owners[domain.cells_of(name)] = agent
        _require_cells(domain, owners, len(positions))
        return Places(positions, owners)


def _nearest(domain: Domain, positions: np.ndarray) -> np.ndarray:
    gaps = [np.square(domain.offsets(domain.midpoints, place)).sum(axis=1) for place in positions]
    return np.argmin(gaps, axis=0)


def _require_cells(domain: Domain, owners: np.ndarray, agents: int) -> None:
    """Refuse agents without a cell, on every rank. Collective."""
    count = sum_over_ranks(domain.comm, np.bincount(owners, minlength=agents).astype(float))
    if (count == 0).any():
        empty = np.flatnonzero(count == 0)
        named = ", ".join(map(str, empty[:5])) + (", ..." if len(empty) > 5 else "")
        raise LayoutError(
            f"agents {named} of {agents} have no cell: their patches are smaller than the mesh's "
            "cells, or outside of it; take fewer agents, other places or a finer mesh"
        )
