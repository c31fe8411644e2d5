"""MB-HypeMARL: learning in a surrogate of the local dynamics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypemarl.algorithms import td3
from hypemarl.config import Config, ConfigError
from hypemarl.training.learner import Algorithm, Learner

if TYPE_CHECKING:
    from hypemarl.agents.policy import PolicyAgent
    from hypemarl.agents.spec import AgentSpec
    from hypemarl.training.groups import Groups

IGNORES = tuple(name for name in td3.IGNORES if not name.startswith("agent.surrogate"))


def make_gradient(config: Config, env: Any, groups: Groups) -> Learner:
    """A learner that descends the cost of imagined episodes. Collective; raises TypeError."""
    from hypemarl.algorithms.model_based.learner import ModelBasedGradient

    return ModelBasedGradient(config, env, groups)


def make_dyna(config: Config, env: Any, groups: Groups) -> Learner:
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


def _check_gradient(config: Config) -> None:
    td3.check_random_episodes(config)
    window, steps = config.agent.surrogate.window, config.env.control_steps
    if window > steps:
        raise ConfigError(
            f"agent.surrogate.window ({window}) exceeds env.control_steps ({steps}), the length of "
            "an episode; 0 takes the whole of it"
        )


def _check_dyna(config: Config) -> None:
    td3.check_random_episodes(config)
    if config.env.reward_baseline:
        raise ConfigError(
            "training.method=dyna makes rewards of imagined costs, env.reward_baseline of a first "
            "real state; set env.reward_baseline=false, or take training.method=mbpg"
        )


ALGORITHMS = (
    Algorithm(
        "mbpg",
        make_gradient,
        make_policy,
        needs=frozenset({"local_model"}),
        title="gradient through the surrogate",
        ignores=IGNORES,
        check=_check_gradient,
        diagnose=errors,
    ),
    Algorithm(
        "dyna",
        make_dyna,
        td3.make_agent,  # without the surrogate
        needs=frozenset({"local_model"}),
        title="TD3 on imagined episodes",
        ignores=IGNORES,
        check=_check_dyna,
        diagnose=errors,
    ),
)
