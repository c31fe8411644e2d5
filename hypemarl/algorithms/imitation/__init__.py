"""Imitation of open-loop optima, and rewards learned from them."""

from hypemarl.algorithms import apg, lazy, lazy_agent
from hypemarl.algorithms.imitation.options import (
    IMITATE_ALIASES,
    IRL_ALIASES,
    ImitateOptions,
    IRLOptions,
    check_imitate,
    check_irl,
)
from hypemarl.algorithms.td3.options import OFF_POLICY_KEYS
from hypemarl.training.learner import Algorithm

ALGORITHMS = (
    Algorithm(
        name="imitate",
        options=ImitateOptions,
        aliases=IMITATE_ALIASES,
        make=lazy("algorithms.imitation.learner:Imitation"),
        make_agent=apg.ALGORITHMS[0].make_agent,
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
        make=lazy("algorithms.imitation.learner:InverseReward"),
        make_agent=lazy_agent("algorithms.imitation.learned_reward:RewardLearner"),
        needs=frozenset({"adjoint"}),
        title="inverse reinforcement learning",
        check=check_irl,
    ),
)
