"""Critics on near agents: what they see, and hence whose value an actor's gradient follows.

All critics share one interface. ``observe`` turns observations (E, n, T, k) and targets (E, n, q)
into features once per batch, to which ``agent.time_left`` appends a column with the share of the
horizon that remains; calling the critic with features, unit actions (E, n, T, m) and mu gives one
value per agent, (2, E, n, T) for the twins. The actor maximises the mean of these values over
agents, so wherever a critic sees near agents' actions, those agents' actors receive its gradient
too. Acting never calls a critic: execution is decentralised for every credit.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hypemarl.agents.schemes import make_network
from hypemarl.config import AgentConfig
from hypemarl.coupling.spec import AgentSpec

TWINS = 2


class LocalCritic(nn.Module):
    """Q_i(y_i, a_i): the papers' decentralised critic (credit ``local`` and ``neighbourhood``)."""

    def __init__(self, spec: AgentSpec, config: AgentConfig, generator: torch.Generator) -> None:
        super().__init__()
        size = spec.observation_size + spec.action_size + config.time_left
        sizes = (size, *config.critic_hidden, 1)
        self.network = make_network(spec, config, sizes, TWINS, 1.0, generator)

    def observe(self, observations: Tensor, targets: Tensor) -> Tensor:
        """The observations themselves; targets are not used."""
        return observations

    def forward(self, features: Tensor, actions: Tensor, mu: Tensor) -> Tensor:
        """Values (C, E, n, T) of features (E, n, T, k) and actions (E, n, T, m)."""
        return self.network(torch.cat([features, actions], dim=-1), mu).squeeze(-1)


class CooperativeCritic(nn.Module):
    """Q_i of the own observation, the near agents' own features, and all their actions.

    A near agent that does not exist contributes zeros. Its columns are aligned by relative place,
    so a critic that knows its own place also knows which of them exist.
    """

    def __init__(self, spec: AgentSpec, config: AgentConfig, generator: torch.Generator) -> None:
        super().__init__()
        near = spec.stencil(config.credit_radius)
        centre = near.shape[1] // 2
        self.own = list(spec.own_features)
        others = np.delete(near, centre, axis=1)
        # Index n is a row of zeros: the agent that is not there.
        absent = spec.n_agents
        self.near: Tensor
        self.others: Tensor
        self.register_buffer("near", torch.as_tensor(np.where(near < 0, absent, near)), False)
        self.register_buffer("others", torch.as_tensor(np.where(others < 0, absent, others)), False)
        size = spec.observation_size
        size += others.shape[1] * len(self.own) + near.shape[1] * spec.action_size
        size += config.time_left
        sizes = (size, *config.critic_hidden, 1)
        self.network = make_network(spec, config, sizes, TWINS, 1.0, generator)

    def observe(self, observations: Tensor, targets: Tensor) -> Tensor:
        """(E, n, T, k + others * f) the own observation and the near agents' own features."""
        near = gather(observations[..., self.own], self.others)
        return torch.cat([observations, near], dim=-1)

    def forward(self, features: Tensor, actions: Tensor, mu: Tensor) -> Tensor:
        """Values (C, E, n, T), differentiable in every agent's actions (E, n, T, m)."""
        inputs = torch.cat([features, gather(actions, self.near)], dim=-1)
        return self.network(inputs, mu).squeeze(-1)


def gather(values: Tensor, near: Tensor) -> Tensor:
    """Values (E, n, T, f) of near agents (n, K), index n giving zeros -> (E, n, T, K * f)."""
    episodes, n, steps, size = values.shape
    padded = torch.cat([values, values.new_zeros(episodes, 1, steps, size)], dim=1)
    picked = padded.index_select(1, near.reshape(-1)).view(episodes, *near.shape, steps, size)
    return picked.transpose(2, 3).reshape(episodes, n, steps, -1)
