"""Places of the agents, their cells, neighbours, and observed means over patches of cells."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from hypemarl.coupling.neighbourhood import Neighbourhood, grid_stencil
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
        lattice: number of boxes per axis; they count in C order (last axis fastest).
        spacing: distance between neighbouring agents (mean over the axes).
        places: (n,) box of each agent, ascending; all of them unless some were left out.
        centres: (number of boxes, gdim) of all boxes.
    """

    positions: np.ndarray
    owners: np.ndarray
    lattice: tuple[int, ...]
    spacing: float
    places: np.ndarray
    centres: np.ndarray

    @property
    def grid(self) -> tuple[int, ...] | None:
        """Agents per axis, in C order; None where boxes were left out (see Plant.grid)."""
        return self.lattice if len(self.places) == len(self.centres) else None

    @property
    def n_agents(self) -> int:
        """Number of agents."""
        return len(self.positions)

    def stencil(self, radius: int) -> np.ndarray:
        """Agents within ``radius`` grid steps along every axis, shape (n, (2 radius + 1)^axes).

        Columns are aligned by relative place, the middle one is the agent itself; -1 where the grid
        ends or a box was left out. Local.
        """
        near = grid_stencil(self.lattice, radius)[self.places]
        agents = np.full(len(self.centres), -1, dtype=np.int64)
        agents[self.places] = np.arange(self.n_agents)
        return np.where(near >= 0, agents[near], -1)


def axes_fault(grid: Sequence[int], gdim: int) -> str:
    """Reason why a grid of agents does not fit a mesh of ``gdim`` dimensions, empty if it does."""
    if len(grid) == gdim:
        return ""
    return f"agents: expected one number per axis of the {gdim}D mesh, got {tuple(grid)}"


def boxes_of(
    points: np.ndarray, grid: Sequence[int], lower: np.ndarray, upper: np.ndarray
) -> np.ndarray:
    """The box of a grid between two corners that each point (m, gdim) lies in, in C order: (m,).

    The outermost boxes reach to infinity, so that rounding at the boundary leaves no gap. Local.
    """
    widths = (np.asarray(upper) - lower) / np.array(grid)
    steps = np.floor((points - lower) / widths).astype(np.int64)
    return np.ravel_multi_index(tuple(steps.T), tuple(grid), mode="clip")


def centres_of(
    grid: Sequence[int], lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Centres (number of boxes, gdim) in C order and widths (gdim,) of the boxes. Local."""
    widths = (np.asarray(upper) - lower) / np.array(grid)
    return lower + (np.array(list(np.ndindex(*grid))) + 0.5) * widths, widths


def grid_layout(
    space: P1Space,
    grid: Sequence[int],
    lower: np.ndarray,
    upper: np.ndarray,
    kept: Sequence[int] | None = None,
) -> AgentLayout:
    """Agents at the centres of a grid of equal boxes; a cell belongs to the box of its midpoint.

    ``lower`` and ``upper``, shape (gdim,), are the corners of the domain's bounding box; ``kept``
    the boxes that have an agent, by default all. Collective.

    Raises:
        LayoutError: see :func:`own_cells`.
    """
    if wrong := axes_fault(grid, space.gdim):
        raise LayoutError(wrong)
    centres, widths = centres_of(grid, lower, upper)
    places = np.arange(len(centres)) if kept is None else np.sort(np.array(kept, dtype=np.int64))

    def in_box(place: int) -> Indicator:
        return lambda x: boxes_of(x, grid, lower, upper) == place

    owners = own_cells(space, [in_box(place) for place in places.tolist()])
    return AgentLayout(
        centres[places], owners, tuple(int(k) for k in grid), float(widths.mean()), places, centres
    )


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
            "lower env.mesh.element_size or use fewer agents"
        )
    return np.argmax(marks, axis=0).astype(np.int32)


def _refuse(space: P1Space, bad: np.ndarray, marks: np.ndarray, message: str) -> None:
    """Raise the same LayoutError on every rank when any rank has bad cells. Collective."""
    example = None
    if bad.any():
        place = int(np.argmax(bad))
        claims = np.flatnonzero(marks[:, place]).tolist()
        example = int(bad.sum()), space.midpoints[place].round(4).tolist(), claims
    examples = [e for e in space.comm.allgather(example) if e is not None]
    if examples:
        _, where, agents = examples[0]
        raise LayoutError(
            f"{message}, got {sum(count for count, *_ in examples)} cells that break this, "
            f"one at {where} claimed by agents {agents}; make the subdomains a partition"
        )


class PatchMeans:
    """Means of a P1 field over the agents' subdomains, and each agent's stencil ``seen`` of them.

    Args:
        space: nodal space; layout: who owns which cells; radius: patches seen to each
            side. Collective.
    """

    def __init__(self, space: P1Space, layout: AgentLayout, radius: int) -> None:
        self.comm = space.comm
        self.seen = Neighbourhood(layout.stencil(radius))
        self.measures = sum_over_ranks(
            space.comm, np.bincount(layout.owners, space.volumes, minlength=layout.n_agents)
        )
        corners = space.cells.shape[1]
        weights = np.repeat(space.volumes / corners, corners)
        rows = np.repeat(layout.owners, corners)
        shape = (layout.n_agents, space.n_local)
        total = sparse.coo_array((weights, (rows, space.cells.ravel())), shape=shape).tocsr()
        self.matrix = sparse.csr_array(sparse.diags_array(1.0 / self.measures) @ total)

    def means(self, field: np.ndarray) -> np.ndarray:
        """Patch means (n,) of nodal values (n_local,). Collective."""
        return sum_over_ranks(self.comm, self.matrix @ field)
