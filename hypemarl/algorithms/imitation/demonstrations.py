"""Demonstrations: what agents saw and did in an episode under open-loop optimal control."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hypemarl.optimal.open_loop import OpenLoop, replay
from hypemarl.training.episodes import Rollout
from hypemarl.training.progress import Result, TrainingError
from hypemarl.types import Array

if TYPE_CHECKING:
    from hypemarl.envs.array_env import ArrayEnv


class Demonstration(NamedTuple):
    """An episode under open-loop optimal actions (T, n, m): what was seen (T, n, k), what it cost.

    ``evaluations``: gradients that its search took.
    """

    mu: Array
    observations: Array
    actions: Array
    cost: float
    evaluations: int

    @property
    def result(self) -> Result:
        """What the records say of the episode; the return is minus the mean share of the cost."""
        steps, agents = self.actions.shape[:2]
        return Result(self.cost, -self.cost / agents, steps, None, False)


def demonstrate(env: ArrayEnv, parameters: Array, evaluations: int) -> Demonstration:
    """Search for the optimum with at most that many gradients, and run it. Collective.

    The search starts from zero control whatever is known of other runs, so that a run depends on
    its seed alone.
    """
    with tempfile.TemporaryDirectory() as folder:
        optimum = OpenLoop(env, Path(folder)).solve(parameters, max_evaluations=evaluations)
    rollout = Rollout(env, replay(optimum.actions), parameters)
    seen, cost = [np.array(rollout.episode.observations)], 0.0
    for *_, step in rollout:
        seen.append(np.array(step.observations))
        cost += step.info["cost"]
    if rollout.failure is not None:
        raise TrainingError(f"the optimum at {parameters.tolist()} failed: {rollout.failure}")
    return Demonstration(
        rollout.episode.mu, np.stack(seen[:-1]), optimum.actions, cost, optimum.evaluations
    )
