"""Adjoint policy gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypemarl.algorithms.apg.options import ALIASES, APGOptions, check_window
from hypemarl.algorithms.td3.options import OFF_POLICY_KEYS
from hypemarl.config import Config
from hypemarl.training.learner import Algorithm, Learner

if TYPE_CHECKING:
    from hypemarl.agents.probe import Probe
    from hypemarl.algorithms.apg.agent import APG
    from hypemarl.coupling.spec import AgentSpec
    from hypemarl.envs.array_env import ArrayEnv
    from hypemarl.training.evaluation import Array, Policy
    from hypemarl.training.groups import Groups


def make(config: Config, env: ArrayEnv, groups: Groups) -> Learner:
    """A learner that descends the cost by exact gradients. Collective; raises TypeError."""
    from hypemarl.algorithms.apg.learner import AdjointGradient

    return AdjointGradient(config, env, groups)


def make_agent(spec: AgentSpec, config: Config) -> APG:
    """The actor and the value behind its windows, on the CPU. Local."""
    from hypemarl.algorithms.apg.agent import APG

    return APG(spec, config.agent, config.seed)


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
        make=make,
        make_agent=make_agent,
        needs=frozenset({"adjoint"}),
        title="adjoint policy gradient",
        ignores=OFF_POLICY_KEYS,
        check=check_window,
        probe=probe,
    ),
)
