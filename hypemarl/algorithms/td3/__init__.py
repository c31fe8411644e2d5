"""Decentralised multi-agent TD3: explores, and learns from a replay."""

from __future__ import annotations

from dataclasses import dataclass

from hypemarl.algorithms import lazy, lazy_agent
from hypemarl.config import Config, ConfigError
from hypemarl.training.learner import Algorithm

OFF_POLICY_KEYS = frozenset(
    (
        *("agent.actor_rate", "agent.adjoint_step", "agent.average_rate", "agent.batch_episodes"),
        *("agent.batch_steps", "agent.cloning", "agent.credit", "agent.credit_radius"),
        *("agent.critic_rate", "agent.exploration_noise", "agent.gamma", "agent.huber"),
        *("agent.map_channels", "agent.policy_delay", "agent.replay_episodes"),
        *("agent.reward_clip", "agent.reward_scale", "agent.target_noise"),
        *("agent.target_noise_clip", "agent.tau", "agent.time_left", "agent.trace"),
        *("training.random_episodes", "training.random_scale", "training.updates_per_step"),
    )
)
"""Settings that only algorithms with a replay read."""


@dataclass(frozen=True)
class TD3Options:
    """No settings beside ``agent.*``."""


def check_batch_steps(config: Config) -> None:
    """Refuse batches of pieces that are longer than episodes. Raises ConfigError."""
    steps, longest = config.agent.batch_steps, config.env.control_steps
    if steps > longest:
        raise ConfigError(
            f"agent.batch_steps ({steps}) exceeds env.control_steps ({longest}), the length of "
            f"an episode; set agent.batch_steps={longest} or less too, or 0 for whole episodes"
        )


def check_off_policy(config: Config) -> None:
    """Refuse training of random episodes alone, and long batches. Raises ConfigError."""
    training = config.training
    check_batch_steps(config)
    if training.random_episodes >= training.episodes:
        raise ConfigError(
            f"training.random_episodes ({training.random_episodes}) must be smaller than "
            f"training.episodes ({training.episodes}), or nothing is learned"
        )


ALGORITHMS = (
    Algorithm(
        name="td3",
        options=TD3Options,
        make=lazy("algorithms.td3.learner:OffPolicy"),
        make_agent=lazy_agent("algorithms.td3.agent:TD3"),
        title="TD3",
        label=lambda config: config.agent.credit,
        check=check_off_policy,
    ),
)
