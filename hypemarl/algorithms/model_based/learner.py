"""MB-HypeMARL: real episodes, and learning in a surrogate between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from hypemarl import mpi
from hypemarl.algorithms import lazy
from hypemarl.algorithms.td3.learner import OffPolicy
from hypemarl.config import Config
from hypemarl.coupling.local_model import require_local_model
from hypemarl.envs.array_env import plant_of
from hypemarl.training.evaluation import Array
from hypemarl.training.groups import Groups, Slot
from hypemarl.training.progress import Losses, Progress, Round, TrainingError, averages

if TYPE_CHECKING:
    from hypemarl.agents.policy import ExploringAgent
    from hypemarl.envs.array_env import ArrayEnv


class ModelBased(OffPolicy):
    """Base of the algorithms with a surrogate (see :class:`~hypemarl.training.learner.Learner`).

    Real episodes are collected as for ``td3``; learning takes place at the ends of rounds:
    after the random episodes, and whenever ``agent.<algorithm>.every`` more are there.

    Raises:
        TypeError: the plant has no local model.
    """

    keep_costs = True
    exact_gradients = False  # but the surrogate's

    def __init__(self, config: Config, env: ArrayEnv, groups: Groups) -> None:
        super().__init__(config, env, groups)
        self.local = require_local_model(plant_of(env))

    def _update(self, running: list[Slot], progress: Progress) -> list[Losses]:
        """Nothing within an episode."""
        return []

    def collect(self, parameters: Sequence[Array], progress: Progress) -> Round:
        """A round of real episodes and, where due, learning in the surrogate."""
        before = progress.episode
        results, losses = super().collect(parameters, progress)
        with mpi.raise_together(self.groups.comm):
            if self.groups.root:
                parts = [losses, *self._learn(before, before + len(parameters), progress)]
                losses = averages(parts)
        return results, losses

    def _learn(self, before: int, after: int, progress: Progress) -> list[Losses]:
        """Learning that is due between ``before`` and ``after`` episodes. Local, on rank 0."""
        first, every = self.policy_from, self.agent.options.every
        losses: list[Losses] = []
        if after > first and len(self.replay) > after - before:
            # before they are learned from
            latest = self.replay.latest_slots(after - before)
            losses.append(self.agent.model.errors(self.replay, latest))
        due = before < first <= after or (after - first) // every > (before - first) // every
        if after < first or not due or not len(self.replay):
            return losses
        try:
            means, updates = self.agent.improve(self.replay, first=before < first, episodes=every)
        except FloatingPointError as error:
            raise TrainingError(f"episode {after}: {error}") from error
        progress.updates += updates
        if "q_mean" in means:
            losses.append(self._value_bound([means]))
        return [*losses, means]


class ModelBasedGradient(ModelBased):
    """The algorithm ``mbpg``."""

    def _agent_class(self) -> Callable[..., ExploringAgent]:
        make = lazy("algorithms.model_based.agent:ModelPolicyGradient")
        return partial(make, self.local, self.config.env.control_steps)


class ModelBasedTD3(ModelBased):
    """The algorithm ``dyna``."""

    def _agent_class(self) -> Callable[..., ExploringAgent]:
        make = lazy("algorithms.model_based.agent:Dyna")
        return partial(make, self.local, self.config.env.control_steps, self.env.shape_rewards)
