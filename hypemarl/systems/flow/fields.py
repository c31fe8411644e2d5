"""A flow's fields at the vertices of the whole mesh, for pictures."""

from __future__ import annotations

import numpy as np

from hypemarl.solvers.functionals import FlowFunctionals
from hypemarl.solvers.taylor_hood import TaylorHood


class FlowFields:
    """Gathers velocity, pressure and vorticity at the vertices on rank 0.

    Args:
        space: of the flow; functionals: of the same space.
    """

    def __init__(self, space: TaylorHood, functionals: FlowFunctionals) -> None:
        self.space, self.functionals = space, functionals
        #: P2 node of each vertex that lies in a local cell, ghost cells included
        self._nodes = np.zeros(space.n_pressure_local, dtype=np.int64)
        self._nodes[space.Q.dofmap.list] = space.V.dofmap.list[:, :3]

    def gather(self, velocity: np.ndarray, pressure: np.ndarray) -> dict[str, np.ndarray] | None:
        """points (N, 2), cells (M, 3), velocity (N, 2), pressure, vorticity (N,) on rank 0.

        Takes (2, n_velocity_local) and (n_pressure_local,) with ghosts up to date. Collective.
        """
        space, m = self.space, self.space.n_pressure
        first = space.pressure_map.local_range[0]
        names = np.concatenate([np.arange(m) + first, space.pressure_map.ghosts])
        own = {
            "points": space.pressure_points[:m],
            "cells": names[space.pressure_cells],
            "velocity": velocity[:, self._nodes[:m]].T,
            "pressure": pressure[:m],
            "vorticity": self.functionals.vorticity(velocity)[:m],
        }
        parts = space.comm.gather(own, root=0)
        if parts is None:
            return None
        return {name: np.concatenate([part[name] for part in parts]) for name in own}
