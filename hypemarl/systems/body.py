"""Plants of a body in a flow: what those with blowing arcs and those that move it share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hypemarl.config import EnvConfig
from hypemarl.coupling.local_model import LocalModel, seen_alike
from hypemarl.coupling.neighbourhood import Neighbourhood
from hypemarl.coupling.plant import Plant
from hypemarl.solvers.taylor_hood import TaylorHood
from hypemarl.systems.flow.arcs import ArcLayout
from hypemarl.systems.flow.options import BodyOptions
from hypemarl.systems.shape.layout import ShapeLayout

ONSET_OF_SHEDDING = 45.0
"""Reynolds number: Jackson, J. Fluid Mech. 182 (1987) 23, has 46 for a free cylinder."""


class BodyPlant[Options: BodyOptions, Layout: ArcLayout | ShapeLayout](Plant):
    """Plant whose agents sit on a body; parameters are the Reynolds number and an angle."""

    config: EnvConfig
    options: Options
    layout: Layout
    parameter_names: tuple[str, ...] = ("reynolds", "angle")
    shown_uncontrolled = True

    def _describe(
        self, bound: np.ndarray, features: int, unit: range, own: Sequence[int], shared: int = 0
    ) -> None:
        """Set the sizes and bounds that environments and agents read. Local.

        Args:
            bound: (m,) of the actions; features: numbers that one agent shows to its neighbours;
            unit: those of them within [-1, 1], the amplitudes; own: those that belong to its patch;
            shared: numbers that every agent sees behind those of its neighbours.
        """
        options = self.options
        self.positions, self.spacing = self.layout.positions, self.layout.spacing
        self.grid = self.layout.grid
        self.action_low, self.action_high = -bound, bound
        self.seen = Neighbourhood(self.layout.stencil(self.config.observation_radius))
        columns = features * self.seen.size
        self.observation_size = columns + shared
        bounded = np.zeros(self.observation_size, dtype=bool)
        bounded[:columns] = np.isin(np.arange(columns) % features, unit)
        self.observation_high = np.where(bounded, 1.0, np.inf)
        self.observation_low = -self.observation_high
        first = features * (self.seen.size // 2)
        self.own_features = tuple(first + feature for feature in own)
        self.parameter_low = np.array([options.reynolds_low, options.angle_low])
        self.parameter_high = np.array([options.reynolds_high, options.angle_high])

    def stencil(self, radius: int) -> np.ndarray:
        """Near agents on the body, see :meth:`ArcLayout.stencil`, :meth:`ShapeLayout.stencil`."""
        return self.layout.stencil(radius)

    def local_model(self) -> LocalModel | None:
        """Every agent's measurements and amplitudes, as near agents see them. Local."""
        return seen_alike(self.seen.near, self.observation_size)


def vertex_fields(
    space: TaylorHood,
    points: np.ndarray,
    velocity: np.ndarray,
    pressure: np.ndarray,
    vorticity: np.ndarray,
) -> dict[str, np.ndarray] | None:
    """Fields at the vertices of the whole mesh, on rank 0; None elsewhere. Collective.

    Args:
        points: (n_pressure_local, 2) of the vertices; velocity: (2, n_velocity_local); pressure and
            vorticity: (n_pressure_local,); all with ghosts up to date.

    Returns: points (N, 2), cells (M, 3), velocity (N, 2), pressure and vorticity (N,), in an order
        that depends on the mesh's numbering alone.
    """
    nodes = np.zeros(space.n_pressure_local, dtype=np.int64)  # P2 node of each vertex
    nodes[space.Q.dofmap.list] = space.V.dofmap.list[:, :3]
    first, count = space.pressure_map.local_range[0], space.n_pressure
    names = np.concatenate([np.arange(count) + first, space.pressure_map.ghosts])
    part = {
        "points": points[:count],
        "cells": names[space.pressure_cells],
        "velocity": velocity[:, nodes[:count]].T,
        "pressure": pressure[:count],
        "vorticity": vorticity[:count],
    }
    parts = space.comm.gather(part, root=0)
    if parts is None:
        return None
    return {name: np.concatenate([piece[name] for piece in parts]) for name in part}
