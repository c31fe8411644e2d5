"""Velocity profiles at the inflow of a channel, and the balance of mass."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from mpi4py import MPI

from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.taylor_hood import TaylorHood
from hypemarl.systems.flow.arc_actuation import SIMPSON
from hypemarl.systems.flow.options import Inflow

BALANCE = 1e-10  # largest net flux into an enclosed flow, in units of speed times height


class MassBalanceError(ValueError):
    """Fluid enters and cannot leave. Raised on every rank."""


class InflowProfile:
    """Velocities at the P2 nodes of the boundary tag ``inflow``; s runs from 0 to H along it.

    ``parabolic``: (6 U s (H - s) / H^2, 0), mean velocity U; ``oblique``: (U cos a,
    4 U s (H - s) / H^2 sin a), angle a in rad. First components are along the stream, second ones
    to its left, the direction in which s grows.

    Args:
        space: of the flow; kind: which profile; speed: U; stream: unit vector along which fluid
            enters, the inward normal of the inflow.

    Attributes:
        nodes: (k,) local P2 nodes, ghosts included; height: H.

    Collective.
    """

    def __init__(
        self,
        space: TaylorHood,
        kind: Inflow,
        speed: float,
        stream: tuple[float, float] = (1.0, 0.0),
    ) -> None:
        self.kind, self.speed = kind, speed
        self.nodes = space.nodes("inflow")
        #: rows: along the stream and to its left
        self.axes = np.array([stream, (-stream[1], stream[0])])
        y = space.velocity_points[self.nodes] @ self.axes[1]
        low = space.comm.allreduce(float(y.min(initial=np.inf)), op=MPI.MIN)
        high = space.comm.allreduce(float(y.max(initial=-np.inf)), op=MPI.MAX)
        self.height = high - low
        s = (y - low) / self.height
        self._bump = s * (1.0 - s)

    def values(self, angle: float = 0.0) -> np.ndarray:
        """Velocities (2, k) for an angle in rad, which only ``oblique`` uses. Local."""
        if self.kind == "parabolic":
            parts = np.stack([6.0 * self._bump, np.zeros_like(self._bump)])
        else:
            across = 4.0 * self._bump * np.sin(angle)
            parts = np.stack([np.full_like(across, np.cos(angle)), across])
        return self.axes.T @ (self.speed * parts)


def require_mass_balance(
    space: TaylorHood, tags: Iterable[str], boundary: np.ndarray, scale: float
) -> None:
    """Refuse boundary values that push fluid into a flow without an exit. Collective.

    Args:
        space: of the flow; tags: those with a prescribed normal velocity; boundary:
            (2, n_velocity_local) these velocities; scale: speed times height.

    Raises MassBalanceError: on every rank, when ``tags`` are the whole boundary and the net flux
    through it is not zero.
    """
    parts = [space.facets(name) for name in tags]
    exterior = space.exterior(np.zeros(space.n_velocity_local, dtype=bool), closed=False)
    open_facets = len(exterior.lengths) - sum(len(part.lengths) for part in parts)
    flux = 0.0
    for part in parts:
        through = np.einsum("xma,mx,a->m", boundary[:, part.nodes], part.normals, SIMPSON)
        flux += float(through @ part.lengths)
    open_count, net = sum_over_ranks(space.comm, np.array([float(open_facets), flux])).tolist()
    if open_count == 0 and abs(net) > BALANCE * scale:
        raise MassBalanceError(
            f"inflow breaks mass balance: velocities are given on the whole boundary and their net "
            f"flux out of the fluid is {net:g}, expected 0; leave an exit open (a boundary part "
            f"tagged 'outflow') or balance the inflow"
        )
