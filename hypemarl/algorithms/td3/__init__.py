"""Decentralised multi-agent TD3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypemarl.config import Config, ConfigError
from hypemarl.training.learner import Algorithm, Learner

if TYPE_CHECKING:
    from hypemarl.agents.spec import AgentSpec
    from hypemarl.algorithms.td3.agent import TD3
    from hypemarl.training.groups import Groups

IGNORES = ("agent.surrogate.*", "agent.apg_*", "agent.imitate_*", "agent.irl_*")


def make(config: Config, env: Any, groups: Groups) -> Learner:
    """A learner that explores and learns from a replay. Collective."""
    from hypemarl.algorithms.td3.learner import OffPolicy

    return OffPolicy(config, env, groups)


def make_agent(spec: AgentSpec, config: Config) -> TD3:
    """TD3's actors and critics on the CPU. Local."""
    from hypemarl.algorithms.td3.agent import TD3

    return TD3(spec, config.agent, config.seed)


def check_random_episodes(config: Config) -> None:
    """Refuse runs whose every episode is random. Raises ConfigError."""
    training = config.training
    if training.random_episodes >= training.episodes:
        raise ConfigError(
            f"training.random_episodes ({training.random_episodes}) must be smaller than "
            f"training.episodes ({training.episodes}), or nothing is learned"
        )


ALGORITHMS = (
    Algorithm(
        "td3",
        make,
        make_agent,
        title="TD3",
        label=lambda config: config.agent.credit,
        ignores=IGNORES,
        check=check_random_episodes,
    ),
)
