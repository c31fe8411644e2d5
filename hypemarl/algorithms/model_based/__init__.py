"""MB-HypeMARL: learning in a surrogate of the local dynamics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypemarl.algorithms import td3
from hypemarl.algorithms.model_based.options import (
    DynaOptions,
    MBPGOptions,
    aliases,
    check_dyna,
    check_mbpg,
)
from hypemarl.config import Config
from hypemarl.training.learner import Algorithm, Learner

if TYPE_CHECKING:
    from hypemarl.agents.policy import PolicyAgent
    from hypemarl.coupling.spec import AgentSpec
    from hypemarl.envs.array_env import ArrayEnv
    from hypemarl.training.groups import Groups


def make_gradient(config: Config, env: ArrayEnv, groups: Groups) -> Learner:
    """A learner that descends the cost of imagined episodes. Collective; raises TypeError."""
    from hypemarl.algorithms.model_based.learner import ModelBasedGradient

    return ModelBasedGradient(config, env, groups)


def make_dyna(config: Config, env: ArrayEnv, groups: Groups) -> Learner:
    """A learner by TD3 on real and imagined episodes. Collective; raises TypeError."""
    from hypemarl.algorithms.model_based.learner import ModelBasedTD3

    return ModelBasedTD3(config, env, groups)


def make_policy(spec: AgentSpec, config: Config) -> PolicyAgent:
    """The actor without its surrogate, on the CPU. Local."""
    from hypemarl.agents.policy import PolicyAgent

    return PolicyAgent(spec, config.agent, config.seed)


def errors(run_dir: str | Path, **options: Any) -> dict[str, float]:
    """Errors of the surrogate by policy, ``<policy>_<error>``. Collective.

    See :mod:`hypemarl.algorithms.model_based.errors`.
    """
    from hypemarl.algorithms.model_based.errors import surrogate_errors

    return {
        f"{policy}_{name}": value
        for policy, numbers in surrogate_errors(run_dir, **options).items()
        for name, value in numbers.items()
        if name != "by_step"
    }


ALGORITHMS = (
    Algorithm(
        name="mbpg",
        options=MBPGOptions,
        aliases=aliases(MBPGOptions),
        make=make_gradient,
        make_agent=make_policy,
        needs=frozenset({"local_model"}),
        title="gradient through the surrogate",
        check=check_mbpg,
        diagnose=errors,
    ),
    Algorithm(
        name="dyna",
        options=DynaOptions,
        aliases=aliases(DynaOptions),
        make=make_dyna,
        make_agent=td3.make_agent,  # without the surrogate
        needs=frozenset({"local_model"}),
        title="TD3 on imagined episodes",
        check=check_dyna,
        diagnose=errors,
    ),
)
