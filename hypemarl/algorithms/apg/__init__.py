"""Adjoint policy gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypemarl.config import Config, ConfigError
from hypemarl.training.learner import Algorithm, Learner

if TYPE_CHECKING:
    from hypemarl.agents.probe import Probe
    from hypemarl.agents.spec import AgentSpec
    from hypemarl.algorithms.apg.agent import APG
    from hypemarl.training.evaluation import Array, Policy
    from hypemarl.training.groups import Groups

REPLAY_SETTINGS = (
    "actor_rate",
    "adjoint_step",
    "average_rate",
    "batch_episodes",
    "batch_steps",
    "cloning",
    "credit",
    "credit_radius",
    "critic_rate",
    "exploration_noise",
    "gamma",
    "huber",
    "map_channels",
    "policy_delay",
    "replay_episodes",
    "reward_clip",
    "reward_scale",
    "target_noise",
    "target_noise_clip",
    "tau",
    "time_left",
    "trace",
)
IGNORES = (
    "agent.surrogate.*",
    "training.random_*",
    "training.updates_per_step",
    *(f"agent.{name}" for name in REPLAY_SETTINGS),
)
"""Settings of the surrogate, and those that only algorithms with a replay read."""


def make(config: Config, env: Any, groups: Groups) -> Learner:
    """A learner that descends the cost by exact gradients. Collective; raises TypeError."""
    from hypemarl.algorithms.apg.learner import AdjointGradient

    return AdjointGradient(config, env, groups)


def make_agent(spec: AgentSpec, config: Config) -> APG:
    """The actor and the value behind its windows, on the CPU. Local."""
    from hypemarl.algorithms.apg.agent import APG

    return APG(spec, config.agent, config.seed)


def check_window(config: Config) -> None:
    """Refuse a window longer than an episode. Raises ConfigError."""
    window, steps = config.agent.apg_window, config.env.control_steps
    if window > steps:
        raise ConfigError(
            f"agent.apg_window ({window}) exceeds env.control_steps ({steps}), the length of an "
            "episode; 0 takes the whole of it"
        )


def probe(
    env: Any, config: Config, policy: Policy, agent: APG | None, parameters: Array
) -> tuple[Probe | None, float]:
    """Episodes inside a graph, and minus the cost's exact gradients. Collective."""
    from hypemarl.training.diagnosis import by_adjoint

    return by_adjoint(env, config, agent, parameters, config.agent.apg_state_clip)


ALGORITHMS = (
    Algorithm(
        "apg",
        make,
        make_agent,
        needs=frozenset({"adjoint"}),
        title="adjoint policy gradient",
        ignores=IGNORES,
        check=check_window,
        probe=probe,
    ),
)
