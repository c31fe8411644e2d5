"""Episodes of a small morphing obstacle with a random functional of all that the plant returns."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "coupling"))

from shape_case import PARAMETERS, shape_config, shape_plant

from hypemarl.optimal.shape import ShapeAdjoint

INTERVALS = 3
CASES: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {
    "drag": (8, {"lift_weight": 0.5}, {}),
    "dissipation": (8, {"objective": "dissipation"}, {"displacement": "normal-bspline"}),
    "free-form": (9, {}, {"displacement": "free-form"}),
    "bounded": (8, {}, {"max_curvature": 1.4, "displacement": "radial-bspline"}),
}
"""Agents, settings of the flow and of the shape."""


class Functional:
    """J = sum over intervals of s . shares + o . observations, and its gradient."""

    def __init__(self, case: str, size: float = 0.4) -> None:
        agents, flow, shape = CASES[case]
        self.plant = plant = shape_plant(shape_config(agents, flow, **shape))
        self.adjoint = ShapeAdjoint(plant)
        generator = np.random.default_rng(0)
        self.shape = (INTERVALS, plant.n_agents, plant.action_size)
        self.shares_bar = generator.uniform(0.5, 1.5, (INTERVALS, plant.n_agents))
        count = (INTERVALS, plant.n_agents, plant.observation_size)
        self.observations_bar = 1e-1 * generator.normal(size=count)
        self.actions = generator.uniform(-size, size, self.shape)
        self.limits: list[str | None] = []

    def value(self, actions: np.ndarray) -> float:
        self.plant.reset(PARAMETERS)
        total, self.limits = 0.0, []
        for k, wanted in enumerate(actions):
            observations, _, info = self.plant.step(wanted)
            self.limits.append(info["limit"])
            total += float((self.observations_bar[k] * observations).sum())
            total += float(self.shares_bar[k] @ info["costs"].shares)
        return total

    def gradient(self, actions: np.ndarray) -> np.ndarray:
        adjoint = self.adjoint
        self.plant.reset(PARAMETERS)
        tapes = [adjoint.step(wanted)[3] for wanted in actions]
        state_bar, gradient = np.zeros(adjoint.state_size), np.zeros_like(actions)
        for k in reversed(range(len(actions))):
            state_bar, gradient[k] = adjoint.pull(
                tapes[k], state_bar, self.observations_bar[k], self.shares_bar[k]
            )
        return gradient
