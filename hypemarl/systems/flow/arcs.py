"""Agents on the boundary of a disc: arcs, what each of them owns, and who is near whom.

Angles run anticlockwise from the x axis. The disc is the boundary tag ``disc``: centre and radius
are those of the circle through its vertices, so that mesh files need no settings of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hypemarl.coupling.layout import LayoutError
from hypemarl.coupling.neighbourhood import grid_stencil
from hypemarl.meshing import MeshError, require_tags
from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.taylor_hood import BoundaryFacets, TaylorHood

FULL = 2.0 * np.pi
# Points at the end of an arc belong to the arc that begins there, whatever the rounding.
ANGLE_TOLERANCE = 1e-9
SLOT_FACETS = 3  # least number of facets that make a parabolic jet
ROUNDNESS = 0.05  # largest distance of a vertex of the disc from its circle, in radii


@dataclass(frozen=True)
class Disc:
    """The circle through the vertices of the boundary tag ``disc``."""

    centre: np.ndarray  # (2,)
    radius: float

    def angles(self, points: np.ndarray) -> np.ndarray:
        """Angles (m,) in [0, 2 pi) of points (m, 2). Local."""
        x, y = (points - self.centre).T
        return np.arctan2(y, x) % FULL


@dataclass(frozen=True)
class ArcLayout:
    """Agents on arcs of a disc, each with the facets, nodes and cells that it owns.

    What lies on no arc (an open arc leaves a part of the disc free) belongs to the agent that is
    nearest, so that the shares of all agents make up the whole.

    Attributes:
        positions: (n, 2) middles of the arcs on the circle, identical on every rank.
        arcs: (n, 2) first and last angle in rad, ascending, anticlockwise.
        periodic: the last arc ends where the first one begins.
        spacing: arc length between neighbouring agents (mean).
        disc: centre and radius of the circle.
        facets: facets of the disc that belong to cells of this rank.
        facet_owners: (m,) agent of each of these facets.
        nodes: (k,) local P2 nodes on the disc, ghosts included.
        node_owners: (k,) agent of each of these nodes.
        cell_owners: (n_cells,) agent nearest to each cell of this rank.
        slots: of every agent, angles in rad of its jets; none where agents have whole arcs.
        half_width: of a jet, in rad.
    """

    positions: np.ndarray
    arcs: np.ndarray
    periodic: bool
    spacing: float
    disc: Disc
    facets: BoundaryFacets
    facet_owners: np.ndarray
    nodes: np.ndarray
    node_owners: np.ndarray
    cell_owners: np.ndarray
    slots: tuple[tuple[float, ...], ...] = ()
    half_width: float = 0.0

    @property
    def n_agents(self) -> int:
        """Number of agents."""
        return len(self.arcs)

    @property
    def normals(self) -> np.ndarray:
        """Unit vectors (n, 2) at the agents, out of the disc into the fluid."""
        return (self.positions - self.disc.centre) / self.disc.radius

    @property
    def tangents(self) -> np.ndarray:
        """Unit vectors (n, 2) along the circle at the agents, anticlockwise."""
        normals = self.normals
        return np.stack([-normals[:, 1], normals[:, 0]], axis=1)

    @property
    def grid(self) -> tuple[int, ...] | None:
        """(n,) for agents in a row; None on a ring, which has no ends (see Plant.grid)."""
        return None if self.periodic else (self.n_agents,)

    def stencil(self, radius: int) -> np.ndarray:
        """Agents within ``radius`` places to either side, shape (n, 2 radius + 1). Local.

        The middle column is the agent itself. A ring is closed; -1 stands beyond the ends of an
        open arc and, on a ring, for what another column already holds.
        Raises ValueError: the radius is negative.
        """
        if not self.periodic:
            return grid_stencil((self.n_agents,), radius)
        return grid_stencil((self.n_agents,), radius, periodic=(0,))


def arc_layout(
    space: TaylorHood,
    n_agents: int,
    arc_low: float = 0.0,
    arc_high: float = 360.0,
    arcs: Sequence[tuple[float, float]] | None = None,
    *,
    alone: bool = False,
) -> ArcLayout:
    """Agents on equal arcs between two angles, or on given arcs. Collective.

    Args:
        space: of the flow, on a mesh with the boundary tag ``disc``; n_agents: how many.
        arc_low, arc_high: ends of the actuated part in degrees, 360 apart for the whole disc.
        arcs: (first, last) angle of each agent in degrees, in place of equal arcs.
        alone: whether one agent makes sense, whose actions carry no net mass flux.

    Raises LayoutError: on every rank: no tag ``disc`` or no circle, fewer than two agents, arcs
    that are empty or overlap, or an arc that holds no facet of the disc.
    """
    if n_agents < 2 and not alone:
        raise LayoutError(
            f"env.agents: expected 2 or more on the disc, got {n_agents}: a single one could only "
            "blow or suck, which mass conservation forbids; it may have slots that oppose each "
            "other (env.flow.slots), or turn the disc (env.flow.action=tangential)"
        )
    intervals = _intervals(n_agents, arc_low, arc_high, arcs)
    facets = _disc_facets(space)
    disc = measure_disc(space, facets)
    middles = intervals.mean(axis=1)
    normals = np.stack([np.cos(middles), np.sin(middles)], axis=1)
    positions = disc.centre + disc.radius * normals
    nodes = space.nodes("disc")
    span = intervals[-1, 1] - intervals[0, 0]
    facet_angles = disc.angles(space.velocity_points[facets.nodes[:, 2]])
    _refuse_empty(space, intervals, owners_on_arcs(intervals, facet_angles))
    return ArcLayout(
        positions=positions,
        arcs=intervals,
        periodic=bool(span > FULL - ANGLE_TOLERANCE),
        spacing=float(disc.radius * (np.diff(middles).mean() if n_agents > 1 else FULL)),
        disc=disc,
        facets=facets,
        facet_owners=_owners(intervals, facet_angles),
        nodes=nodes,
        node_owners=_owners(intervals, disc.angles(space.velocity_points[nodes])),
        cell_owners=_nearest_positions(positions, space.midpoints),
    )


def slot_layout(
    space: TaylorHood, slots: Sequence[Sequence[float]], half_width: float
) -> ArcLayout:
    """Agents with jets at angles in degrees, each at the place of its first one. Collective.

    What lies on no slot belongs to the nearest agent.

    Raises LayoutError: on every rank, as :func:`arc_layout`; slots that overlap, or that hold fewer
    than :data:`SLOT_FACETS` facets.
    """
    firsts = [float(angles[0]) for angles in slots]
    every = sorted(float(angle) for angles in slots for angle in angles)
    gaps = np.diff([*every, every[0] + 360.0])
    if len(every) > 1 and gaps.min() < 2.0 * half_width:
        raise LayoutError(
            f"env.flow.slots: expected slots {2 * half_width:g} degrees apart or more (twice "
            f"env.flow.slot_half_width), got two that are {gaps.min():g} apart"
        )
    arcs = [(first - half_width, first + half_width) for first in firsts]
    opposed = len(slots[0]) > 1
    layout = arc_layout(space, len(slots), arcs=arcs, alone=opposed)
    angles = layout.disc.angles(space.velocity_points[layout.facets.nodes[:, 2]])
    wide = np.radians(half_width)
    offsets = (angles[:, None] - np.radians(every) + np.pi) % FULL - np.pi
    count = sum_over_ranks(space.comm, (np.abs(offsets) < wide).sum(axis=0).astype(float))
    if count.min() < SLOT_FACETS:
        raise LayoutError(
            f"env.flow.slots: expected {SLOT_FACETS} facets of the disc or more in a slot, got "
            f"{count.min():g} at {every[int(count.argmin())]:g} degrees; lower "
            "env.mesh.disc_element_size or widen env.flow.slot_half_width"
        )
    named = tuple(tuple(np.radians(angles).tolist()) for angles in slots)
    return replace(layout, slots=named, half_width=wide)


def measure_disc(space: TaylorHood, facets: BoundaryFacets) -> Disc:
    """Centre and radius of the disc, the same for any number of ranks. Collective.

    Raises LayoutError: on every rank, where the vertices do not lie on a circle.
    """
    ends = space.velocity_points[np.unique(facets.nodes[:, :2])].reshape(-1, 2)
    # One order on every rank and for any number of ranks: no difference in the last bit.
    return circle_of(np.unique(np.concatenate(space.comm.allgather(ends)).round(14), axis=0))


def circle_of(points: np.ndarray) -> Disc:
    """The circle x^2 + y^2 = 2 a x + 2 b y + c of least squares through points (N, 2). Local.

    It is exact for a circle (I. Kasa, A circle fitting procedure, IEEE Trans. Instrum. Meas. 25
    (1976)).
    Raises LayoutError: the points do not lie on one.
    """
    shift = points.mean(axis=0)
    x = points - shift
    matrix = np.column_stack([2.0 * x, np.ones(len(x))])
    (a, b, c), *_ = np.linalg.lstsq(matrix, (x**2).sum(axis=1), rcond=None)
    radius = float(np.sqrt(max(c + a**2 + b**2, 0.0)))
    off = np.abs(np.hypot(x[:, 0] - a, x[:, 1] - b) - radius).max()
    if len(points) < 3 or not off <= ROUNDNESS * radius:
        raise LayoutError(
            f"boundary tag 'disc': expected vertices on a circle, got {len(points)} vertices up to "
            f"{off:g} off the nearest circle (radius {radius:g}); tag a whole circle"
        )
    return Disc(shift + [a, b], radius)


def owners_on_arcs(arcs: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """The agent on whose arc each angle (m,) lies, -1 where there is none. Local."""
    owners = np.full(len(angles), -1, dtype=np.int32)
    for agent, (low, high) in enumerate(arcs):
        owners[(angles - low + ANGLE_TOLERANCE) % FULL < high - low] = agent
    return owners


def nearest_agents(middles: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """The agent whose angle is nearest to each of ``angles`` (m,). Local."""
    distance = np.abs((angles[:, None] - middles + np.pi) % FULL - np.pi)
    return _first_smallest(distance, FULL)


def _owners(arcs: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """The agent on whose arc each angle lies, else the one that is nearest."""
    on_arc = owners_on_arcs(arcs, angles)
    return np.where(on_arc >= 0, on_arc, nearest_agents(arcs.mean(axis=1), angles))


def _nearest_positions(positions: np.ndarray, points: np.ndarray) -> np.ndarray:
    distance = np.linalg.norm(points[:, None, :] - positions, axis=2)
    return _first_smallest(distance, float(np.ptp(positions)))


def _first_smallest(distance: np.ndarray, scale: float) -> np.ndarray:
    """Column of the smallest entry of each row; ties to rounding go to the first column."""
    least = distance.min(axis=1, keepdims=True)
    return np.argmax(distance <= least + ANGLE_TOLERANCE * scale, axis=1).astype(np.int32)


def _intervals(
    n_agents: int, low: float, high: float, arcs: Sequence[tuple[float, float]] | None
) -> np.ndarray:
    """The arcs (n, 2) in rad, ascending from the first one."""
    if arcs is None:
        span = high - low
        if not 0.0 < span <= 360.0 + 1e-9:
            raise LayoutError(
                f"env.flow.arc_low={low:g}, env.flow.arc_high={high:g}: expected the last angle "
                f"above the first by at most 360 degrees, or arcs overlap; got a span of {span:g}"
            )
        ends = np.radians(low) + np.radians(span) * np.arange(n_agents + 1) / n_agents
        return np.stack([ends[:-1], ends[1:]], axis=1)
    if len(arcs) != n_agents:
        raise LayoutError(f"arcs: expected one for each of {n_agents} agents, got {len(arcs)}")
    intervals = np.radians(np.asarray(arcs, dtype=np.float64))
    _refuse_overlap(intervals)
    return intervals


def _refuse_overlap(intervals: np.ndarray) -> None:
    """Arcs must not be empty, must not overlap, and must follow each other anticlockwise."""
    degrees = np.degrees(intervals).round(6).tolist()
    n = len(intervals)
    for agent, (low, high) in enumerate(intervals):
        if not 0.0 < high - low < FULL:
            raise LayoutError(
                f"arc of agent {agent}: expected its last angle above the first one, less than "
                f"360 degrees apart, got {degrees[agent]}"
            )
        following = intervals[(agent + 1) % n, 0] + (FULL if agent == n - 1 else 0.0)
        if high > following + ANGLE_TOLERANCE:
            raise LayoutError(
                f"arcs overlap: agent {agent} on {degrees[agent]} degrees, agent {(agent + 1) % n} "
                f"on {degrees[(agent + 1) % n]}; arcs must follow each other anticlockwise and "
                "end before the next one begins"
            )


def _disc_facets(space: TaylorHood) -> BoundaryFacets:
    try:
        require_tags(space.tagged, {"disc": 1})
    except MeshError as error:
        raise LayoutError(f"agents sit on the boundary tag 'disc': {error}") from error
    return space.facets("disc")


def _refuse_empty(space: TaylorHood, intervals: np.ndarray, owners: np.ndarray) -> None:
    """Every arc must hold a facet. Collective."""
    local = np.bincount(owners[owners >= 0], minlength=len(intervals)).astype(float)
    count = sum_over_ranks(space.comm, local)
    if np.any(count == 0):
        empty = np.flatnonzero(count == 0).tolist()
        where = np.degrees(intervals[empty[0]]).round(3).tolist()
        raise LayoutError(
            f"arcs of agents {empty} miss the boundary: agent {empty[0]} on {where} degrees holds "
            "no facet of the disc; lower env.mesh.disc_element_size or use fewer agents"
        )
