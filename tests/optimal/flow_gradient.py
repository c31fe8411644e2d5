"""Episodes of a small flow with a random functional of all that the plant returns."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "coupling"))

from flow_case import PARAMETERS, flow_config, flow_plant

from hypemarl.optimal.flow import FlowAdjoint

EXACT = 1e-12
INTERVALS = 3
BOTH: dict[str, Any] = {"action": "normal-tangential"}
OBLIQUE: dict[str, Any] = {
    "inflow": "oblique",
    "walls": "slip",
    "angle_high": 0.5,
    "objective": "dissipation",
    "arc_low": 90.0,
    "arc_high": 270.0,
}
CASES: dict[str, dict[str, Any]] = {
    "drag": {},
    "drag-tangential": BOTH,
    "dissipation": OBLIQUE,
    "dissipation-tangential": OBLIQUE | BOTH,
}


class Functional:
    """J = sum over intervals of s . shares + o . observations, and its gradient."""

    def __init__(self, case: str, cache: Path, rtol: float = EXACT) -> None:
        agents = 6 if case.startswith("drag") else 4
        self.plant = plant = flow_plant(cache, flow_config(agents=agents, **CASES[case]))
        plant.solver.krylov.rtol = rtol
        self.adjoint = FlowAdjoint(plant, rtol)
        generator = np.random.default_rng(0)
        self.shape = (INTERVALS, plant.n_agents, plant.action_size)
        self.shares_bar = generator.uniform(0.5, 1.5, (INTERVALS, plant.n_agents))
        size = (INTERVALS, plant.n_agents, plant.observation_size)
        self.observations_bar = 1e-2 * generator.normal(size=size)
        self.actions = generator.uniform(-0.3, 0.3, self.shape)

    def value(self, actions: np.ndarray) -> float:
        self.plant.reset(PARAMETERS)
        total = 0.0
        for k, wanted in enumerate(actions):
            observations, _, info = self.plant.step(wanted)
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
