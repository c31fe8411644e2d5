"""A random functional of all that a plant returns in an episode, and its gradient by an adjoint."""

from __future__ import annotations

from typing import Any

import numpy as np

INTERVALS = 3
STEPS = (4e-2, 2e-2, 1e-2, 5e-3)


class EpisodeFunctional:
    """J = sum over intervals of s . shares + o . observations.

    Args:
        plant, adjoint: of that plant. parameters: of the episode.
        size: largest of the random ``actions``. seen: standard deviation of o.
    """

    def __init__(
        self, plant: Any, adjoint: Any, parameters: np.ndarray, *, size: float, seen: float
    ) -> None:
        self.plant, self.adjoint, self.parameters = plant, adjoint, parameters
        generator = np.random.default_rng(0)
        self.shape = (INTERVALS, plant.n_agents, plant.action_size)
        self.shares_bar = generator.uniform(0.5, 1.5, (INTERVALS, plant.n_agents))
        count = (INTERVALS, plant.n_agents, plant.observation_size)
        self.observations_bar = seen * generator.normal(size=count)
        self.actions = generator.uniform(-size, size, self.shape)
        self.infos: list[dict[str, Any]] = []

    def value(self, actions: np.ndarray) -> float:
        self.plant.reset(self.parameters)
        total, self.infos = 0.0, []
        for k, wanted in enumerate(actions):
            observations, _, info = self.plant.step(wanted)
            self.infos.append(info)
            total += float((self.observations_bar[k] * observations).sum())
            total += float(self.shares_bar[k] @ info["costs"].shares)
        return total

    def gradient(self, actions: np.ndarray) -> np.ndarray:
        adjoint = self.adjoint
        self.plant.reset(self.parameters)
        tapes = [adjoint.step(wanted)[3] for wanted in actions]
        state_bar, gradient = np.zeros(adjoint.state_size), np.zeros_like(actions)
        for k in reversed(range(len(actions))):
            state_bar, gradient[k] = adjoint.pull(
                tapes[k], state_bar, self.observations_bar[k], self.shares_bar[k]
            )
        return gradient

    def taylor(self) -> tuple[float, float, np.ndarray]:
        """In a random direction: slope by the gradient, by a central difference, and the orders
        in which the remainder of first order falls.
        """
        direction = np.random.default_rng(1).uniform(-1.0, 1.0, self.shape)
        slope = float((self.gradient(self.actions) * direction).sum())
        here = self.value(self.actions)
        values = [self.value(self.actions + step * direction) for step in STEPS]
        back = self.value(self.actions - STEPS[-1] * direction)
        remainders = [abs(v - here - s * slope) for v, s in zip(values, STEPS, strict=True)]
        orders = np.log2(np.divide(remainders[:-1], remainders[1:]))
        return slope, (values[-1] - back) / (2.0 * STEPS[-1]), orders

    def slopes_by(self, what: str) -> tuple[float, float]:
        """The first two of :meth:`taylor` where ``what`` alone, of the two cotangents, counts."""
        other = {"observations_bar": "shares_bar", "shares_bar": "observations_bar"}[what]
        getattr(self, other)[:] = 0.0
        direction = np.random.default_rng(2).uniform(-1.0, 1.0, self.shape)
        slope = float((self.gradient(self.actions) * direction).sum())
        ends = [self.value(self.actions + s * direction) for s in (1e-3, -1e-3)]
        return slope, (ends[0] - ends[1]) / 2e-3
