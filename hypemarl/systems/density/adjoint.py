"""Adjoint of the density plants, in a vacuum and in a fluid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hypemarl.coupling.adjoint import recording
from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.fokker_planck_adjoint import FokkerPlanckAdjoint
from hypemarl.systems.density.plant import DensityPlant
from hypemarl.types import Row


@dataclass(frozen=True)
class DensityTape:
    """Forward run of an interval: density and stage (n_local,) of every time step, density at the
    end, target, control and total velocity (n_local, gdim), and which actions (n, gdim) count.
    """

    levels: list[tuple[np.ndarray, np.ndarray]]
    end: np.ndarray
    target: np.ndarray
    control: np.ndarray
    velocity: np.ndarray
    inside: np.ndarray

    @property
    def nbytes(self) -> int:
        """Memory that this rank holds."""
        return (2 * len(self.levels) + 1) * self.end.nbytes + 2 * self.control.nbytes


class DensityAdjoint:
    """Transpose of a density plant's interval (see :class:`~.adjoint.PlantAdjoint`).

    The state is the nodal density; its cotangent is zero on ghosts.

    Args:
        plant: which is stepped. Collective.
    """

    def __init__(self, plant: DensityPlant) -> None:
        self.plant = plant
        self.state_size = plant.space.n_local
        self._solver = FokkerPlanckAdjoint(plant.solver)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, Row, DensityTape]:
        """``plant.step`` with its tape. Collective."""
        plant, levels = self.plant, []
        with recording(plant, lambda y, stage: levels.append((y.copy(), stage.copy()))):
            observations, rewards, info = plant.step(actions)
        tape = DensityTape(
            levels,
            plant.solver.density.copy(),
            plant.target,
            plant.actuators.field(plant.actions),
            plant.solver.velocity.copy(),
            plant.inside(actions),
        )
        return observations, rewards, info, tape

    def pull(
        self,
        tape: DensityTape,
        state_bar: np.ndarray,
        observations_bar: np.ndarray | None,
        shares_bar: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cotangents before the interval: state (state_size,), actions (n, gdim). Collective."""
        plant, count = self.plant, len(tape.levels)
        interval = plant.config.control_interval
        dt = interval / count

        def observe_bar(n: int, y_bar: np.ndarray) -> None:
            weight = dt if 0 < n < count else 0.5 * dt
            y = tape.end if n == count else tape.levels[n][0]
            plant.cost.pull(y, tape.target, weight, shares_bar, y_bar)

        density_bar = state_bar.copy()
        if observations_bar is not None:
            density_bar += self._pull_observations(observations_bar)
        before, u_bar = self._solver.pull(density_bar, tape.levels, dt, tape.velocity, observe_bar)
        plant.cost.pull_control(tape.control, interval, shares_bar, u_bar)
        actions_bar = sum_over_ranks(plant.comm, plant.actuators.transposed(u_bar))
        return before, actions_bar * tape.inside

    def _pull_observations(self, observations_bar: np.ndarray) -> np.ndarray:
        """Only the first columns, means of the seen patches, depend on the state."""
        sensors = self.plant.sensors
        means_bar = sensors.seen.scatter_add(observations_bar[:, : sensors.seen.size])
        return np.asarray(sensors.matrix.T @ means_bar)
