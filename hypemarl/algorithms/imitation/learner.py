"""Learning from open-loop optima: by cloning them, or by a reward inferred from them.

Demonstrations are the best actions in hindsight of the whole episode; an agent that sees its
surroundings only cannot follow them everywhere. Cloning is therefore a start, from which the
remaining episodes descend the cost by adjoint policy gradients.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hypemarl import mpi
from hypemarl.algorithms import lazy
from hypemarl.algorithms.apg.learner import AdjointGradient
from hypemarl.algorithms.imitation import DemonstrationOptions, ImitateOptions, IRLOptions
from hypemarl.algorithms.td3.learner import OffPolicy
from hypemarl.config import Config
from hypemarl.optimal.open_loop import OpenLoop, replay
from hypemarl.training.episodes import Rollout
from hypemarl.training.evaluation import Array
from hypemarl.training.groups import Groups
from hypemarl.training.progress import Losses, Progress, Result, Round, TrainingError, averages

if TYPE_CHECKING:
    from hypemarl.algorithms.imitation.learned_reward import RewardLearner
    from hypemarl.envs.array_env import ArrayEnv


class Demonstration(NamedTuple):
    """An episode under open-loop optimal actions (T, n, m): observations (T, n, k), and its cost.

    ``evaluations``: gradients that its search took.
    """

    mu: Array
    observations: Array
    actions: Array
    cost: float
    evaluations: int

    @property
    def result(self) -> Result:
        """Entry of the records; the return is minus the mean share of the cost."""
        steps, agents = self.actions.shape[:2]
        return Result(self.cost, -self.cost / agents, steps, None, False)


def demonstrate(env: ArrayEnv, parameters: Array, evaluations: int) -> Demonstration:
    """Search for the optimum with at most that many gradients, and run it. Collective.

    The search starts from zero control without regard to other runs, so that a run depends on
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


def _demonstrations(
    options: DemonstrationOptions, env: ArrayEnv, groups: Groups, parameters: Sequence[Array]
) -> list[Demonstration]:
    """A demonstration of each group, on rank 0; an empty list elsewhere. Collective."""
    limit, active = options.evaluations, groups.index < len(parameters)
    result = demonstrate(env, parameters[groups.index], limit) if active else None
    return [entry for entry in groups.gather(result) if entry is not None]


class Imitation(AdjointGradient):
    """The algorithm ``imitate`` (see :class:`~hypemarl.training.learner.Learner`)."""

    def __init__(self, config: Config, env: ArrayEnv, groups: Groups) -> None:
        super().__init__(config, env, groups)
        self.options = config.agent.of(ImitateOptions)

    def _rate_share(self) -> float:
        return self.options.apg_share  # a full rate forgets the demonstrations

    def collect(self, parameters: Sequence[Array], progress: Progress) -> Round:
        """Demonstrations and their cloning, or, after these, a round of ``apg``."""
        if progress.episode >= self.options.episodes:
            return super().collect(parameters, progress)
        demonstrations = _demonstrations(self.options, self.env, self.groups, parameters)
        losses: list[Losses] = []
        with mpi.raise_together(self.groups.comm):
            for demonstration in demonstrations:
                losses += self._imitate(demonstration, progress)
        self._share_networks()
        return [entry.result for entry in demonstrations], averages(losses)

    def _imitate(self, demonstration: Demonstration, progress: Progress) -> list[Losses]:
        """Clone all demonstrations so far. Local, on rank 0."""
        self.agent.show(demonstration.observations, demonstration.mu, demonstration.actions)
        count = self.options.updates
        progress.updates += count
        evaluations = {"optimum_evaluations": float(demonstration.evaluations)}
        return [evaluations, *(self.agent.imitate() for _ in range(count))]


class InverseReward(OffPolicy):
    """The algorithm ``irl``: ``td3`` on a local reward learned from demonstrations."""

    agent: RewardLearner

    def __init__(self, config: Config, env: ArrayEnv, groups: Groups) -> None:
        super().__init__(config, env, groups)
        self.options = config.agent.of(IRLOptions)
        self.policy_from += self.options.episodes

    def _agent_class(self) -> Callable[..., RewardLearner]:
        return lazy("algorithms.imitation.learned_reward:RewardLearner")

    def collect(self, parameters: Sequence[Array], progress: Progress) -> Round:
        """Demonstrations, or, after these, a round of ``td3``."""
        if progress.episode >= self.options.episodes:
            return super().collect(parameters, progress)
        demonstrations = _demonstrations(self.options, self.env, self.groups, parameters)
        with mpi.raise_together(self.groups.comm):
            for demonstration in demonstrations:
                self.agent.show(demonstration.observations, demonstration.mu, demonstration.actions)
        losses = [
            {"optimum_evaluations": float(demonstration.evaluations)}
            for demonstration in demonstrations
        ]
        return [entry.result for entry in demonstrations], averages(losses)
