"""Imitation of open-loop optima, and rewards learned from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypemarl.algorithms import apg
from hypemarl.algorithms.imitation.options import (
    IMITATE_ALIASES,
    IRL_ALIASES,
    ImitateOptions,
    IRLOptions,
    check_imitate,
    check_irl,
)
from hypemarl.algorithms.td3.options import OFF_POLICY_KEYS
from hypemarl.config import Config
from hypemarl.training.learner import Algorithm, Learner

if TYPE_CHECKING:
    from hypemarl.algorithms.imitation.learned_reward import RewardLearner
    from hypemarl.coupling.spec import AgentSpec
    from hypemarl.envs.array_env import ArrayEnv
    from hypemarl.training.groups import Groups


def make_imitation(config: Config, env: ArrayEnv, groups: Groups) -> Learner:
    """A learner that clones optima, then descends the cost. Collective; raises TypeError."""
    from hypemarl.algorithms.imitation.learner import Imitation

    return Imitation(config, env, groups)


def make_inverse(config: Config, env: ArrayEnv, groups: Groups) -> Learner:
    """A learner of the reward that optima seem to follow. Collective; raises TypeError."""
    from hypemarl.algorithms.imitation.learner import InverseReward

    return InverseReward(config, env, groups)


def make_reward_learner(spec: AgentSpec, config: Config) -> RewardLearner:
    """TD3 with its learned reward, on the CPU. Local."""
    from hypemarl.algorithms.imitation.learned_reward import RewardLearner

    return RewardLearner(spec, config.agent, config.seed)


ALGORITHMS = (
    Algorithm(
        name="imitate",
        options=ImitateOptions,
        aliases=IMITATE_ALIASES,
        make=make_imitation,
        make_agent=apg.make_agent,
        needs=frozenset({"adjoint"}),
        title="imitation of optima",
        builds_on=tuple(algorithm.name for algorithm in apg.ALGORITHMS),
        ignores=OFF_POLICY_KEYS,
        check=check_imitate,
        probe=apg.probe,
    ),
    Algorithm(
        name="irl",
        options=IRLOptions,
        aliases=IRL_ALIASES,
        make=make_inverse,
        make_agent=make_reward_learner,
        needs=frozenset({"adjoint"}),
        title="inverse reinforcement learning",
        check=check_irl,
    ),
)
