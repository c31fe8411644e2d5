"""Policies in an environment whose settings differ from those of their training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hypemarl.agents.policy import PolicyAgent
from hypemarl.agents.schemes import scheme_of, variant
from hypemarl.config import ConfigError
from hypemarl.config.errors import quoted
from hypemarl.coupling.spec import AgentSpec

if TYPE_CHECKING:
    from hypemarl.config import Config
    from hypemarl.training.learner import Agent

SIZES = {
    "observation_size": "observed quantities per agent",
    "action_size": "actions per agent",
    "mu_size": "parameters mu",
}


def require_environment(changes: Sequence[str]) -> None:
    """Refuse changes of other settings than the environment's. Raises ConfigError."""
    for change in changes:
        if not change.startswith("env."):
            raise ConfigError(
                f"evaluate --set: expected a key of the environment (env.KEY=VALUE), got "
                f"{quoted(change)}: policies are evaluated as they were trained"
            )


def settle(agent: Agent, config: Config, here: AgentSpec) -> None:
    """Let a trained agent act in an environment of other places or of more agents. Local.

    Codes follow the places; networks that all agents share need nothing.

    Args:
        agent: with its trained weights; config: of its run; here: what the environment offers.

    Raises:
        ConfigError: the sizes differ, or its scheme has weights or codes for its own agents only.
    """
    if not isinstance(agent, PolicyAgent):
        raise ConfigError(
            f"training.algorithm={config.training.algorithm} makes {type(agent).__name__}, which "
            "is no hypemarl.agents.policy.PolicyAgent: it cannot be moved to other settings"
        )
    home = agent.spec
    for name, meaning in SIZES.items():
        before, now = getattr(home, name), getattr(here, name)
        if before != now:
            raise ConfigError(
                f"evaluate --set: the policies were trained with {before} {meaning}, these "
                f"settings have {now}; change what leaves that as it is"
            )
    scheme = scheme_of(config.agent)
    same = home.positions.shape == here.positions.shape
    if same and np.allclose(home.positions, here.positions) or not scheme.distinct:
        return
    if scheme.has_codes:
        try:
            agent.move_to(here.positions)
        except ValueError as error:
            raise ConfigError(f"evaluate --set: {error}") from error
    elif not same:
        raise ConfigError(
            f"evaluate --set: scheme {variant(config.agent)} has weights for its "
            f"{home.n_agents} agents only, these settings have {here.n_agents}"
        )
