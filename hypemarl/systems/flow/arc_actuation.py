"""Velocities on the boundary of a disc: a constant operator, without net mass flux, and their cost.

Arcs: agent i's amplitude spreads by a C1 profile psi_i(angle): one at its own angle, zero at its
neighbours' (at the end of its arc where there is no neighbour), in between the smoothstep
t^2 (3 - 2 t), so that the profiles of a closed ring sum to one. One agent alone has the whole disc.

Slots: a jet has the parabolic profile 1 - (offset / half width)^2; the first slot of an agent blows
with its amplitude, its others share the opposite.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from hypemarl.coupling.actuators import smoothstep
from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.taylor_hood import BoundaryFacets, TaylorHood
from hypemarl.systems.flow.arcs import ANGLE_TOLERANCE, FULL, ArcLayout

# Integrals over a straight facet of length L, exact for P2; nodes: end, end, middle.
SIMPSON = np.array([1.0, 1.0, 4.0]) / 6.0  # times L
MASS = np.array([[4.0, -1.0, 2.0], [-1.0, 4.0, 2.0], [2.0, 2.0, 16.0]]) / 30.0  # times L
COMPONENTS = ("normal", "tangential")
BALANCED = 1e-10  # net flux, per unit amplitude and length of the circle, that is rounding
STIFFNESS = np.array([[7.0, 1.0, -8.0], [1.0, 7.0, -8.0], [-8.0, -8.0, 16.0]]) / 3.0  # over L


def profiles(layout: ArcLayout, angles: np.ndarray) -> np.ndarray:
    """psi_i at angles (k,): shape (k, n). Local."""
    arcs, n = layout.arcs, layout.n_agents
    if layout.slots:
        return _slot_profiles(layout, angles)
    if n == 1:
        return np.ones((len(angles), 1))
    middles = arcs.mean(axis=1)
    ahead = np.roll(arcs[:, 0], -1) + np.where(np.arange(n) == n - 1, FULL, 0.0)
    meets = ahead - arcs[:, 1] < ANGLE_TOLERANCE
    step = (np.roll(middles, -1) - middles) % FULL
    reach_up = np.where(meets, step, arcs[:, 1] - middles)
    reach_down = np.where(np.roll(meets, 1), np.roll(step, 1), middles - arcs[:, 0])
    offset = (angles[:, None] - middles + np.pi) % FULL - np.pi
    return smoothstep(1.0 - np.abs(offset) / np.where(offset >= 0.0, reach_up, reach_down))


def _slot_profiles(layout: ArcLayout, angles: np.ndarray) -> np.ndarray:
    result = np.zeros((len(angles), layout.n_agents))
    for agent, slots in enumerate(layout.slots):
        shares = np.full(len(slots), 1.0 if len(slots) == 1 else -1.0 / (len(slots) - 1))
        shares[0] = 1.0
        for centre, share in zip(slots, shares, strict=True):
            offset = (angles - centre + np.pi) % FULL - np.pi
            result[:, agent] += share * np.maximum(1.0 - (offset / layout.half_width) ** 2, 0.0)
    return result


def _normals(angles: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angles), np.sin(angles)])


class ArcActuators:
    """Amplitudes (n, m) -> velocities at the disc's P2 nodes, a constant sparse operator.

    Components are among normal (positive blows into the fluid) and tangential (anticlockwise).
    Amplitudes first lose what would carry a net mass flux: an orthogonal projection onto
    q . a = 0, q the discrete flux (of the P2 field through the straight facets) of each amplitude.
    Where one then exceeds ``limit``, all are scaled down by the same factor.

    Args:
        space: of the flow; layout: arcs and disc nodes; components: their names, or how many of
            the two; limit: bound of the amplitudes that act.

    Attributes:
        nodes: (k,) local P2 nodes that :meth:`field` has values for, ghosts included.
        matrix: (2 k, n m) operator behind the projection; rows: x of all nodes, then y.
        fluxes: (n m,) net flux of each amplitude, identical on every rank.

    Collective.
    """

    def __init__(
        self,
        space: TaylorHood,
        layout: ArcLayout,
        components: int | Sequence[str] = 1,
        limit: float = np.inf,
    ) -> None:
        names = COMPONENTS[:components] if isinstance(components, int) else components
        self.comm, self.layout, self.limit = space.comm, layout, limit
        self.nodes, self.components = layout.nodes, tuple(names)
        self.shape = (layout.n_agents, len(names))
        points = space.velocity_points[self.nodes]
        angles = layout.disc.angles(points)
        directions = self._directions(angles)
        psi = profiles(layout, angles)
        dense = np.einsum("ckx,xn->kxnc", directions, psi)
        columns = layout.n_agents * len(names)
        self.matrix = sparse.csr_array(dense.reshape(2 * len(angles), columns))
        self._owned = np.tile(self.nodes < space.n_velocity, 2)
        self._flux = self._flux_row(space, layout.facets)
        self.fluxes = sum_over_ranks(space.comm, self._flux @ self.matrix)
        largest = float(np.linalg.norm(self.fluxes))
        scale = FULL * layout.disc.radius
        self._direction = self.fluxes / (largest if largest > BALANCED * scale else np.inf)

    def project(self, amplitudes: np.ndarray) -> np.ndarray:
        """The nearest amplitudes (n, m) without net mass flux. Local."""
        flat = amplitudes.ravel()
        for _ in range(2):  # the second pass removes the rounding of the first
            flat = flat - self._direction * (self._direction @ flat)
        return flat.reshape(self.shape)

    def acting(self, amplitudes: np.ndarray) -> np.ndarray:
        """The amplitudes (n, m) that act: without net mass flux, within the limit. Local."""
        free = self.project(amplitudes)
        return free * self._scale(free)

    def pull_acting(self, amplitudes: np.ndarray, bar: np.ndarray) -> np.ndarray:
        """Cotangent (n, m) of ``amplitudes`` from that of :meth:`acting`. Local."""
        free = self.project(amplitudes)
        scale = self._scale(free)
        back = bar * scale
        if scale < 1.0:
            largest = np.unravel_index(np.abs(free).argmax(), free.shape)
            back[largest] -= scale / free[largest] * float((bar * free).sum())
        return self.project(back)

    def _scale(self, free: np.ndarray) -> float:
        largest = float(np.abs(free).max())
        return self.limit / largest if largest > self.limit else 1.0

    def field(self, amplitudes: np.ndarray) -> np.ndarray:
        """Velocities (2, k) at the disc's nodes of amplitudes (n, m). Local."""
        return self.spread(self.acting(amplitudes))

    def spread(self, acting: np.ndarray) -> np.ndarray:
        """Velocities (2, k) at the disc's nodes of amplitudes (n, m) that act: linear. Local."""
        return (self.matrix @ acting.ravel()).reshape(2, -1)

    def pull_spread(self, bar: np.ndarray) -> np.ndarray:
        """This rank's part of the transpose of :meth:`spread`, (2, k) -> (n, m). Local.

        Ghosts' values count.
        """
        return (self.matrix.T @ bar.ravel()).reshape(self.shape)

    def transposed(self, values: np.ndarray) -> np.ndarray:
        """Transpose of :meth:`field` below the limit: nodal values (2, k) -> (n, m). Collective.

        Every node counts once: ghosts' values are not read.
        """
        owned = np.where(self._owned, values.ravel(), 0.0)
        return self.project(sum_over_ranks(self.comm, self.matrix.T @ owned))

    def jets(self, acting: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places (j, 2) and velocities (j, 2) of the jets under amplitudes that act. Local."""
        layout = self.layout
        slots = [angle for angles in layout.slots for angle in angles]
        angles = np.array(slots or layout.arcs.mean(axis=1))
        amplitudes = profiles(layout, angles) @ acting  # (j, m)
        directions = self._directions(angles)
        places = layout.disc.centre + layout.disc.radius * _normals(angles).T
        return places, np.einsum("jc,cxj->jx", amplitudes, directions)

    def _directions(self, angles: np.ndarray) -> np.ndarray:
        """Unit vectors (m, 2, k) of the components at angles (k,)."""
        normal = _normals(angles)
        known = {"normal": normal, "tangential": np.stack([-normal[1], normal[0]])}
        return np.stack([known[name] for name in self.components])

    def net_flux(self, amplitudes: np.ndarray) -> float:
        """Flux of the actuated field through the disc, out of the fluid (zero). Collective."""
        part = np.atleast_1d(self._flux @ self.field(amplitudes).ravel())
        return float(sum_over_ranks(self.comm, part)[0])

    def _flux_row(self, space: TaylorHood, facets: BoundaryFacets) -> np.ndarray:
        """Weights (2 k,) of the rank's part of the flux through the disc's facets."""
        place = np.searchsorted(self.nodes, facets.nodes)
        row = np.zeros((2, len(self.nodes)))
        for axis in range(2):
            weights = (facets.lengths * facets.normals[:, axis])[:, None] * SIMPSON
            np.add.at(row[axis], place, weights)
        return row.ravel()


class ArcCost:
    """1/2 ||u||^2 and 1/2 ||d_tau u||^2 on the disc (d_tau: along the boundary), agents' shares.

    Exact for P2 fields on straight facets; an agent's share is that of the facets it owns.

    Args:
        layout: facets, their owners and the disc's nodes.
    """

    def __init__(self, layout: ArcLayout) -> None:
        self.n_agents = layout.n_agents
        self._owners, self._lengths = layout.facet_owners, layout.facets.lengths
        self._place = np.searchsorted(layout.nodes, layout.facets.nodes)

    def shares(self, field: np.ndarray) -> np.ndarray:
        """This rank's part of the two terms (2, n) for a field (2, k) on the disc. Local."""
        values = field[:, self._place]  # (2, m, 3)
        squares = ((values @ MASS) * values).sum(axis=(0, 2)) * self._lengths
        slopes = ((values @ STIFFNESS) * values).sum(axis=(0, 2)) / self._lengths
        return 0.5 * np.stack(
            [np.bincount(self._owners, part, self.n_agents) for part in (squares, slopes)]
        )
