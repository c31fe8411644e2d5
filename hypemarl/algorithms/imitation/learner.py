"""Learning from open-loop optima: by cloning them, or by the reward that they seem to follow.

What is shown is the action that was best in hindsight of the whole episode; an agent that sees its
surroundings only can not follow it everywhere. Cloning is therefore a start, from which the
remaining episodes descend the cost by adjoint policy gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hypemarl import mpi
from hypemarl.algorithms.apg.learner import AdjointGradient
from hypemarl.algorithms.imitation.demonstrations import Demonstration, demonstrate
from hypemarl.algorithms.imitation.options import DemonstrationOptions, ImitateOptions, IRLOptions
from hypemarl.algorithms.td3.learner import OffPolicy
from hypemarl.config import Config
from hypemarl.training.evaluation import Array
from hypemarl.training.groups import Groups
from hypemarl.training.progress import Losses, Progress, Result, averages

if TYPE_CHECKING:
    from hypemarl.algorithms.imitation.learned_reward import RewardLearner
    from hypemarl.envs.array_env import ArrayEnv


def _shown(
    options: DemonstrationOptions, env: ArrayEnv, groups: Groups, parameters: Sequence[Array]
) -> list[Demonstration]:
    """A demonstration of each group, on rank 0; an empty list elsewhere. Collective."""
    limit, active = options.evaluations, groups.index < len(parameters)
    own = demonstrate(env, parameters[groups.index], limit) if active else None
    return [shown for shown in groups.gather(own) if shown is not None]


class Imitation(AdjointGradient):
    """The algorithm ``imitate`` (see :class:`~hypemarl.training.learner.Learner`)."""

    def __init__(self, config: Config, env: ArrayEnv, groups: Groups) -> None:
        super().__init__(config, env, groups)
        self.shown = config.agent.of(ImitateOptions)

    def _rate_share(self) -> float:
        return self.shown.apg_share  # a full rate loses what was cloned

    def collect(
        self, parameters: Sequence[Array], progress: Progress
    ) -> tuple[list[Result], Losses]:
        """Demonstrations and their cloning, or, after these, a round of ``apg``."""
        if progress.episode >= self.shown.episodes:
            return super().collect(parameters, progress)
        demonstrations = _shown(self.shown, self.env, self.groups, parameters)
        losses: list[Losses] = []
        with mpi.raise_together(self.groups.comm):
            for shown in demonstrations:
                losses += self._imitate(shown, progress)
        self._share_networks()
        return [shown.result for shown in demonstrations], averages(losses)

    def _imitate(self, shown: Demonstration, progress: Progress) -> list[Losses]:
        """Clone all demonstrations so far. Local, on rank 0."""
        self.agent.show(shown.observations, shown.mu, shown.actions)
        count = self.shown.updates
        progress.updates += count
        evaluations = {"optimum_evaluations": float(shown.evaluations)}
        return [evaluations, *(self.agent.imitate() for _ in range(count))]


class InverseReward(OffPolicy):
    """The algorithm ``irl``: ``td3`` on a local reward learned from demonstrations."""

    agent: RewardLearner

    def __init__(self, config: Config, env: ArrayEnv, groups: Groups) -> None:
        super().__init__(config, env, groups)
        self.shown = config.agent.of(IRLOptions)
        self.first = self.shown.episodes
        self.policy_from += self.first

    def _agent_class(self) -> Callable[..., RewardLearner]:
        from hypemarl.algorithms.imitation.learned_reward import RewardLearner

        return RewardLearner

    def collect(
        self, parameters: Sequence[Array], progress: Progress
    ) -> tuple[list[Result], Losses]:
        """Demonstrations, or, after these, a round of ``td3``."""
        if progress.episode >= self.first:
            return super().collect(parameters, progress)
        demonstrations = _shown(self.shown, self.env, self.groups, parameters)
        with mpi.raise_together(self.groups.comm):
            for shown in demonstrations:
                self.agent.show(shown.observations, shown.mu, shown.actions)
        losses = [{"optimum_evaluations": float(shown.evaluations)} for shown in demonstrations]
        return [shown.result for shown in demonstrations], averages(losses)
