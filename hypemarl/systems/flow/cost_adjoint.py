"""Transposes of what a flow plant makes of its flow: costs of an interval, and observations."""

from __future__ import annotations

import numpy as np

from hypemarl.solvers.navier_stokes_adjoint import FlowCotangent
from hypemarl.systems.flow.arc_actuation import MASS, STIFFNESS
from hypemarl.systems.flow.plant import FlowPlant


class FlowCostAdjoint:
    """Derivative of a weighted sum of the agents' shares of an interval's cost.

    Args:
        plant: of the flow.
    """

    def __init__(self, plant: FlowPlant) -> None:
        self.plant, self.cost, self.layout = plant, plant.cost, plant.layout
        self._forces_bar = np.zeros((plant.space.n_velocity_local, 2))
        self._place = np.searchsorted(plant.layout.nodes, plant.layout.facets.nodes)

    def force_bars(
        self, forces: np.ndarray, weights: np.ndarray, shares_bar: np.ndarray
    ) -> np.ndarray:
        """Cotangents (levels, 2, n) of the agents' shares ``forces`` of drag and lift. Local.

        ``weights`` (levels,) of the time levels in the cost.

        A share of C_L^2 is C_L times the share of C_L: everybody's share of the lift enters
        everybody's cost.
        """
        flow = self.plant.options
        if flow.objective != "drag":
            return np.zeros_like(forces)
        lift = forces[:, 1]
        bars = np.empty_like(forces)
        bars[:, 0] = flow.drag_weight * weights[:, None] * shares_bar
        mixed = (lift @ shares_bar)[:, None] + lift.sum(axis=1)[:, None] * shares_bar
        bars[:, 1] = flow.lift_weight * weights[:, None] * mixed
        return bars

    def pull_level(
        self,
        velocity: np.ndarray,
        viscosity: float,
        weight: float,
        bars: tuple[np.ndarray, np.ndarray],
        state_bar: FlowCotangent,
    ) -> None:
        """Add to ``state_bar`` what one time level contributes to the cost. Local.

        ``velocity`` (n_velocity_local, 2) of the level, ``weight`` of it in time, ``bars``:
        cotangents of its force shares (2, n) and of the agents' costs (n,).
        """
        of_forces, of_shares = bars
        layout = self.layout
        if self.plant.options.objective == "dissipation":
            factors = 0.5 * weight * of_shares[layout.cell_owners]
            self.plant.functionals.pull_gradient_squares(factors, velocity, state_bar.velocity)
            return
        nodal = self.cost.coefficient * (self.cost.axes.T @ of_forces)[:, layout.node_owners]
        self._forces_bar[layout.nodes] = nodal.T
        targets = (state_bar.rate, state_bar.velocity, state_bar.pressure)
        self.plant.solver.walls.pull(self._forces_bar, velocity, viscosity, targets)

    def pull_control(self, control: np.ndarray, shares_bar: np.ndarray) -> np.ndarray:
        """Cotangent (2, k) of a control (2, k) on the disc per unit of time, by this rank's facets.

        Of beta/2 ||u||^2 + beta_g/2 ||d_tau u||^2. Local.
        """
        lengths = self.layout.facets.lengths
        values = control[:, self._place]
        given = shares_bar[self.layout.facet_owners]
        parts = self.plant.options.beta * (given * lengths)[None, :, None] * (values @ MASS)
        parts += self.plant.options.beta_g * (given / lengths)[None, :, None] * (values @ STIFFNESS)
        result = np.zeros_like(control)
        for axis in range(2):
            np.add.at(result[axis], self._place, parts[axis])
        return result


def pull_observations(
    plant: FlowPlant, observations_bar: np.ndarray, state_bar: FlowCotangent
) -> np.ndarray:
    """Add the cotangent of the flow that was observed to ``state_bar``, by this rank's probes.

    ``observations_bar`` (n, k). Returns that of the amplitudes (n, m). Local.
    """
    flow, layout, n = plant.options, plant.layout, plant.n_agents
    seen = plant.stencil(plant.config.observation_radius)
    bars = observations_bar.reshape(*seen.shape, -1)
    own = np.zeros((n, bars.shape[2]))
    np.add.at(own, seen[seen >= 0], bars[seen >= 0])
    probes = len(flow.probe_distances)
    pressure, across, along = (own[:, i * probes : (i + 1) * probes] for i in range(3))
    velocity = across[..., None] * layout.normals[:, None]
    velocity = (velocity + along[..., None] * layout.tangents[:, None]).reshape(-1, 2) / flow.speed
    matrix = plant.probes.velocity_matrix
    state_bar.velocity[: matrix.shape[1]] += matrix.T @ velocity
    state_bar.pressure += plant.probes.pressure_matrix.T @ pressure.ravel() / flow.speed**2
    return own[:, 3 * probes :] / plant.options.u_max
