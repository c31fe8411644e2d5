"""Adjoint policy gradients: descend the cost by exact gradients."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from hypemarl.algorithms import lazy, lazy_agent
from hypemarl.algorithms.td3 import OFF_POLICY_KEYS
from hypemarl.config import Config, ConfigError
from hypemarl.config.keys import key
from hypemarl.training.learner import Algorithm

if TYPE_CHECKING:
    from hypemarl.agents.policy import Probe
    from hypemarl.algorithms.apg.agent import APG
    from hypemarl.envs.array_env import ArrayEnv
    from hypemarl.training.evaluation import Array, Policy


@dataclass(frozen=True)
class APGOptions:
    """Exact gradients of whole episodes, or of windows with a learned value at their ends."""

    rate: float = key(1e-3, "initial Adam rate of the actor", above=0)
    rate_end: float = key(0.05, "final rate over the initial one (cosine decay)", above=0, high=1)
    batch: int = key(1, "windows whose gradients an update averages", low=1)
    window: int = key(
        0, "control steps that are differentiated at a time; 0: the whole episode", low=0
    )
    value_rate: float = key(
        1e-3, "Adam rate of the value network, used by windows that end within an episode", above=0
    )
    average_rate: float = key(0.02, "rate of the averaged (EMA) actor", above=0, high=1)
    noise: float = key(
        0.0, "standard deviation of noise on the actions, in units of their bound", low=0
    )
    state_clip: float = key(
        0.0, "largest norm of the state's sensitivity between intervals; 0: no clipping", low=0
    )


def check_window(config: Config) -> None:
    """Refuse a window that is longer than an episode. Raises ConfigError."""
    window, steps = config.agent.of(APGOptions).window, config.env.control_steps
    if window > steps:
        raise ConfigError(
            f"agent.apg.window ({window}) exceeds env.control_steps ({steps}), the length of an "
            "episode; 0 takes the whole of it"
        )


def probe(
    env: ArrayEnv, config: Config, policy: Policy, agent: APG | None, parameters: Array
) -> tuple[Probe | None, float]:
    """Run differentiable episodes; returns minus the exact gradients of the cost. Collective."""
    from hypemarl.training.diagnosis import by_adjoint

    return by_adjoint(env, config, agent, parameters, config.agent.of(APGOptions).state_clip)


ALGORITHMS = (
    Algorithm(
        name="apg",
        options=APGOptions,
        aliases={f"apg_{item.name}": item.name for item in fields(APGOptions)},
        make=lazy("algorithms.apg.learner:AdjointGradient"),
        make_agent=lazy_agent("algorithms.apg.agent:APG"),
        needs=frozenset({"adjoint"}),
        title="adjoint policy gradient",
        ignores=OFF_POLICY_KEYS,
        check=check_window,
        probe=probe,
    ),
)
