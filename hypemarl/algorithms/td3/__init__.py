"""Decentralised multi-agent TD3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypemarl.algorithms.td3.options import TD3Options, check_off_policy
from hypemarl.config import Config
from hypemarl.training.learner import Algorithm, Learner

if TYPE_CHECKING:
    from hypemarl.algorithms.td3.agent import TD3
    from hypemarl.coupling.spec import AgentSpec
    from hypemarl.envs.array_env import ArrayEnv
    from hypemarl.training.groups import Groups


def make(config: Config, env: ArrayEnv, groups: Groups) -> Learner:
    """A learner that explores and learns from a replay. Collective."""
    from hypemarl.algorithms.td3.learner import OffPolicy

    return OffPolicy(config, env, groups)


def make_agent(spec: AgentSpec, config: Config) -> TD3:
    """TD3's actors and critics on the CPU. Local."""
    from hypemarl.algorithms.td3.agent import TD3

    return TD3(spec, config.agent, config.seed)


ALGORITHMS = (
    Algorithm(
        name="td3",
        options=TD3Options,
        make=make,
        make_agent=make_agent,
        title="TD3",
        label=lambda config: config.agent.credit,
        check=check_off_policy,
    ),
)
