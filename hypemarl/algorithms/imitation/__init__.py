"""Imitation of open-loop optima, and rewards learned from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypemarl.algorithms import apg
from hypemarl.config import Config, ConfigError
from hypemarl.training.learner import Algorithm, Learner

if TYPE_CHECKING:
    from hypemarl.agents.spec import AgentSpec
    from hypemarl.algorithms.imitation.learned_reward import RewardLearner
    from hypemarl.training.groups import Groups


def make_imitation(config: Config, env: Any, groups: Groups) -> Learner:
    """A learner that clones optima, then descends the cost. Collective; raises TypeError."""
    from hypemarl.algorithms.imitation.learner import Imitation

    return Imitation(config, env, groups)


def make_inverse(config: Config, env: Any, groups: Groups) -> Learner:
    """A learner of the reward that optima seem to follow. Collective; raises TypeError."""
    from hypemarl.algorithms.imitation.learner import InverseReward

    return InverseReward(config, env, groups)


def make_reward_learner(spec: AgentSpec, config: Config) -> RewardLearner:
    """TD3 with its learned reward, on the CPU. Local."""
    from hypemarl.algorithms.imitation.learned_reward import RewardLearner

    return RewardLearner(spec, config.agent, config.seed)


def _check_imitation(config: Config) -> None:
    apg.check_window(config)
    shown, episodes = config.agent.imitate_episodes, config.training.episodes
    if shown > episodes:
        raise ConfigError(
            f"agent.imitate_episodes ({shown}) exceeds training.episodes ({episodes})"
        )


def _check_inverse(config: Config) -> None:
    shown, training = config.agent.imitate_episodes, config.training
    if shown + training.random_episodes >= training.episodes:
        raise ConfigError(
            f"agent.imitate_episodes ({shown}) and training.random_episodes "
            f"({training.random_episodes}) leave none of training.episodes ({training.episodes})"
        )


ALGORITHMS = (
    Algorithm(
        "imitate",
        make_imitation,
        apg.make_agent,
        needs=frozenset({"adjoint"}),
        title="imitation of optima",
        ignores=apg.IGNORES,
        check=_check_imitation,
        probe=apg.probe,
    ),
    Algorithm(
        "irl",
        make_inverse,
        make_reward_learner,
        needs=frozenset({"adjoint"}),
        title="inverse reinforcement learning",
        ignores=("agent.surrogate.*",),
        check=_check_inverse,
    ),
)
