"""Adjoint policy gradients: descend the cost by exact gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypemarl.algorithms import lazy, lazy_agent
from hypemarl.algorithms.apg.options import ALIASES, APGOptions, check_window
from hypemarl.algorithms.td3.options import OFF_POLICY_KEYS
from hypemarl.config import Config
from hypemarl.training.learner import Algorithm

if TYPE_CHECKING:
    from hypemarl.agents.policy import Probe
    from hypemarl.algorithms.apg.agent import APG
    from hypemarl.envs.array_env import ArrayEnv
    from hypemarl.training.evaluation import Array, Policy


def probe(
    env: ArrayEnv, config: Config, policy: Policy, agent: APG | None, parameters: Array
) -> tuple[Probe | None, float]:
    """Episodes inside a graph, and minus the cost's exact gradients. Collective."""
    from hypemarl.training.diagnosis import by_adjoint

    return by_adjoint(env, config, agent, parameters, config.agent.of(APGOptions).state_clip)


ALGORITHMS = (
    Algorithm(
        name="apg",
        options=APGOptions,
        aliases=ALIASES,
        make=lazy("algorithms.apg.learner:AdjointGradient"),
        make_agent=lazy_agent("algorithms.apg.agent:APG"),
        needs=frozenset({"adjoint"}),
        title="adjoint policy gradient",
        ignores=OFF_POLICY_KEYS,
        check=check_window,
        probe=probe,
    ),
)
