"""MB-HypeMARL: learning in a surrogate of the local dynamics."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from hypemarl.algorithms import lazy, lazy_agent, td3
from hypemarl.algorithms.td3 import check_off_policy
from hypemarl.config import Config, ConfigError
from hypemarl.config.keys import key
from hypemarl.training.learner import Algorithm

SurrogateForm = Literal["auto", "flux", "local"]
SurrogateCost = Literal["auto", "formula", "corrected", "learned"]


@dataclass(frozen=True)
class SurrogateOptions:
    """The learned local model of the dynamics, and when it is fitted."""

    form: SurrogateForm = key(
        "auto",
        "flux (between neighbours; conserves mass), local (the next state of each agent); auto: "
        "flux if the state is a density, else local",
    )
    cost: SurrogateCost = key(
        "auto",
        "formula (the plant's, of predicted states and actions), corrected (formula plus a "
        "learned correction), learned; auto: formula if the plant has one, else learned",
    )
    hidden: tuple[int, ...] = key((64, 64), "hidden layers of the surrogate's networks", low=1)
    radius: int = key(1, "local: agents on each side whose states and actions are inputs", low=0)
    memory: int = key(2, "earlier states among the inputs", low=0)
    ensemble: int = key(1, "number of networks; each imagines a share of the episodes", low=1)
    cutoff: float = key(
        0.0,
        "end imagined episodes if the ensemble's spread exceeds this many errors; 0: never",
        low=0,
    )
    rate: float = key(2e-3, "Adam rate of the surrogate's fit", above=0)
    batch: int = key(16, "pieces of real episodes per fit step", low=1)
    rollout: int = key(3, "consecutive control steps predicted in a fit step", low=1)
    first_fits: int = key(800, "fit steps after the random episodes", low=1)
    fits: int = key(160, "fit steps after every further batch of episodes", low=1)
    every: int = key(4, "real episodes between fits", low=1)


@dataclass(frozen=True)
class MBPGOptions(SurrogateOptions):
    """Policy gradients through imagined episodes."""

    imagine: int = key(4, "imagined episodes per update of the actor", low=1)
    first_updates: int = key(150, "updates of the actor after the first fits", low=1)
    updates: int = key(30, "updates of the actor after later fits", low=1)
    window: int = key(0, "control steps per imagined episode, from any step; 0: all", low=0)
    policy_rate: float = key(4e-3, "Adam rate of the actor", above=0)
    policy_average_rate: float = key(
        0.02, "rate of the averaged actor, per update", above=0, high=1
    )


@dataclass(frozen=True)
class DynaOptions(SurrogateOptions):
    """TD3 on real and imagined episodes."""

    imagined_per_real: int = key(
        10, "imagined episodes per real one, with updates in proportion", low=1
    )


def _check_ensemble(options: SurrogateOptions, where: str) -> None:
    if options.cutoff > 0 and options.ensemble < 2:
        raise ConfigError(
            f"{where}.cutoff ({options.cutoff:g}) compares the members of an ensemble; set "
            f"{where}.ensemble to 2 or more, or the cutoff to 0"
        )


def check_mbpg(config: Config) -> None:
    """Refuse windows longer than episodes, and cutoffs without an ensemble. Raises ConfigError."""
    options, steps = config.agent.of(MBPGOptions), config.env.control_steps
    check_off_policy(config)
    _check_ensemble(options, "agent.mbpg")
    if options.window > steps:
        raise ConfigError(
            f"agent.mbpg.window ({options.window}) exceeds env.control_steps ({steps}), the "
            "length of an episode; 0 takes the whole of it"
        )


def check_dyna(config: Config) -> None:
    """Refuse rewards that do not follow from imagined costs. Raises ConfigError."""
    check_off_policy(config)
    _check_ensemble(config.agent.of(DynaOptions), "agent.dyna")
    if config.env.reward_baseline:
        raise ConfigError(
            "training.algorithm=dyna makes rewards of imagined costs, env.reward_baseline of a "
            "first real state; set env.reward_baseline=false, or take training.algorithm=mbpg"
        )


def aliases(options: type[SurrogateOptions]) -> dict[str, str]:
    """Keys of version 0.1, in which both algorithms shared ``agent.surrogate``."""
    return {f"surrogate.{item.name}": item.name for item in fields(options)}


ALGORITHMS = (
    Algorithm(
        name="mbpg",
        options=MBPGOptions,
        aliases=aliases(MBPGOptions),
        make=lazy("algorithms.model_based.learner:ModelBasedGradient"),
        make_agent=lazy_agent("agents.policy:PolicyAgent"),  # the actor without its surrogate
        needs=frozenset({"local_model"}),
        title="gradient through the surrogate",
        check=check_mbpg,
        diagnose=lazy("algorithms.model_based.errors:flat_errors"),
    ),
    Algorithm(
        name="dyna",
        options=DynaOptions,
        aliases=aliases(DynaOptions),
        make=lazy("algorithms.model_based.learner:ModelBasedTD3"),
        make_agent=td3.ALGORITHMS[0].make_agent,  # without the surrogate
        needs=frozenset({"local_model"}),
        title="TD3 on imagined episodes",
        check=check_dyna,
        diagnose=lazy("algorithms.model_based.errors:flat_errors"),
    ),
)
