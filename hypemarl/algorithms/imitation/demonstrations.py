"""Demonstrations: what agents saw and did in an episode under open-loop optimal control."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hypemarl.optimal.open_loop import OpenLoop
from hypemarl.training.evaluation import Array
from hypemarl.training.progress import Result


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


def demonstrate(env: Any, parameters: Array, evaluations: int) -> Demonstration:
    """Search for the optimum with at most that many gradients, and run it. Collective.

    The search starts from zero control whatever is known of other runs, so that a run depends on
    its seed alone.
    """
    with tempfile.TemporaryDirectory() as folder:
        optimum = OpenLoop(env, Path(folder)).solve(parameters, max_evaluations=evaluations)
    episode = env.reset_arrays(parameters)
    seen, cost = [np.array(episode.observations)], 0.0
    for actions in optimum.actions:
        step = env.step_arrays(actions)
        seen.append(np.array(step.observations))
        cost += step.info["cost"]
    return Demonstration(
        episode.mu, np.stack(seen[:-1]), optimum.actions, cost, optimum.evaluations
    )
