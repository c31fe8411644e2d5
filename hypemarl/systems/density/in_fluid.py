"""Density control in a fluid: the density's plant, carried by a steady flow around a disc."""

from __future__ import annotations

import numpy as np

from hypemarl.config import EnvConfig, options_of
from hypemarl.meshing import TaggedMesh, build
from hypemarl.mpi import Comm
from hypemarl.systems.density.background_flow import BackgroundFlow
from hypemarl.systems.density.options import InFluidOptions
from hypemarl.systems.density.plant import DensityPlant, DensitySnapshot


class DensityFluidPlant(DensityPlant):
    """:class:`DensityPlant` whose density moves with u + v(mu), v that of BackgroundFlow.

    The cost is that of the density's plant: only the agents' u is paid for. Parameters of an
    episode: those of the density's plant, then the flow's speed and its angle in rad. With
    ``observe_flow`` an agent also sees the mean of v over its own patch (the last two
    observations).

    Args:
        config: the environment's settings; tagged: mesh, see :class:`BackgroundFlow`. Collective.

    Raises ValueError: (MeshError, LayoutError) on every rank, naming what does not fit.
    SolverDiverged: on every rank, when there is no steady flow.
    """

    def __init__(self, config: EnvConfig, tagged: TaggedMesh) -> None:
        self.fluid = options_of(config, InFluidOptions)
        super().__init__(config, tagged)
        self.flow = BackgroundFlow(tagged, self.space, self.fluid, self.boundary)
        self._carry(np.zeros_like(self.space.points))

    def _describe(self, config: EnvConfig, gdim: int) -> None:
        super()._describe(config, gdim)
        size, flow = self.observation_size, self.fluid
        if flow.observe_flow:
            self.observation_size = size + 2
            self.own_features = (*self.own_features, size, size + 1)
            self.observation_low = np.append(self.observation_low, (-np.inf, -np.inf))
            self.observation_high = np.append(self.observation_high, (np.inf, np.inf))
        self.parameter_names = (*self.parameter_names, "speed", "angle")
        self.parameter_low = np.append(self.parameter_low, (flow.speed_low, flow.angle_low))
        self.parameter_high = np.append(self.parameter_high, (flow.speed_high, flow.angle_high))

    def _start(self, values: np.ndarray) -> None:
        self._carry(self.flow.velocity(*values[-2:]))
        super()._start(values)

    def _carry(self, velocity: np.ndarray) -> None:
        self._background = velocity
        self._background_means = self.sensors.means(velocity)

    def restore(self, state: DensitySnapshot) -> np.ndarray:
        """Return to a snapshot of this plant; returns its observations (n, k). Collective."""
        assert state.background is not None
        self._carry(state.background)
        return super().restore(state)

    def fields(self) -> dict[str, np.ndarray] | None:
        """Those of the density's plant (``velocity`` is u + v) and ``flow``: v (N, 2).

        On rank 0, None elsewhere. Collective.
        """
        assert self._background is not None
        fields, gathered = super().fields(), self.space.gather(self._background)
        return None if fields is None or gathered is None else fields | {"flow": gathered[2]}

    def _observe(self) -> np.ndarray:
        seen = super()._observe()
        if not self.fluid.observe_flow:
            return seen
        return np.concatenate([seen, self._background_means], axis=1)


def make(config: EnvConfig, comm: Comm) -> DensityFluidPlant:
    """The plant of ``config`` on a mesh of its own. Collective."""
    return DensityFluidPlant(config, build(config.mesh, comm))
