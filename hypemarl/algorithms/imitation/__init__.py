"""Imitation of open-loop optima, and rewards learned from them."""

from __future__ import annotations

from dataclasses import dataclass, fields

from hypemarl.algorithms import apg, lazy, lazy_agent
from hypemarl.algorithms.apg import check_window
from hypemarl.algorithms.td3 import OFF_POLICY_KEYS, check_batch_steps
from hypemarl.config import Config, ConfigError
from hypemarl.config.keys import key
from hypemarl.training.learner import Algorithm


@dataclass(frozen=True)
class DemonstrationOptions:
    """Demonstrations, with which the training begins."""

    episodes: int = key(20, "initial episodes, which demonstrate open-loop optima", low=1)
    evaluations: int = key(60, "largest number of gradients in the search for one optimum", low=1)


@dataclass(frozen=True)
class ImitateOptions(DemonstrationOptions):
    """Cloning of optima, then the adjoint policy gradient with the settings of ``agent.apg``."""

    updates: int = key(100, "updates of the actor after each demonstration", low=1)
    rate: float = key(1e-3, "Adam rate of these updates", above=0)
    apg_share: float = key(
        0.15, "initial rate of the episodes that follow, over agent.apg.rate", above=0, high=1
    )


@dataclass(frozen=True)
class IRLOptions(DemonstrationOptions):
    """TD3 on a reward that is learned from the optima."""

    rate: float = key(1e-3, "Adam rate of the learned reward", above=0)


IRL_ALIASES = {f"imitate_{item.name}": item.name for item in fields(DemonstrationOptions)}
IRL_ALIASES["irl_rate"] = "rate"


def check_imitate(config: Config) -> None:
    """Refuse more demonstrations than episodes. Raises ConfigError."""
    count, episodes = config.agent.of(ImitateOptions).episodes, config.training.episodes
    if count > episodes:
        raise ConfigError(
            f"agent.imitate.episodes ({count}) exceeds training.episodes ({episodes})"
        )
    check_window(config)


def check_irl(config: Config) -> None:
    """Refuse demonstrations and random episodes that fill the training. Raises ConfigError."""
    count, training = config.agent.of(IRLOptions).episodes, config.training
    if count + training.random_episodes >= training.episodes:
        raise ConfigError(
            f"agent.irl.episodes ({count}) and training.random_episodes "
            f"({training.random_episodes}) leave none of training.episodes ({training.episodes})"
        )
    check_batch_steps(config)


ALGORITHMS = (
    Algorithm(
        name="imitate",
        options=ImitateOptions,
        aliases={f"imitate_{item.name}": item.name for item in fields(ImitateOptions)},
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
