"""Credit: which critic an actor follows, which rewards it learns, and towards which actions.

Each credit is one small class; :data:`CREDITS` has them by the value of ``agent.credit``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hypemarl.algorithms.td3.critics import CooperativeCritic, LocalCritic
from hypemarl.algorithms.td3.map_critic import MapCritic
from hypemarl.config import AgentConfig
from hypemarl.coupling.spec import AgentSpec

Critic = LocalCritic | CooperativeCritic | MapCritic


class Credit:
    """Base, and credit ``local``: the papers' decentralised critic of an agent's own reward."""

    critic: type[Critic] = LocalCritic

    def __init__(self, spec: AgentSpec, config: AgentConfig, device: torch.device) -> None:
        self.spec, self.config, self.device = spec, config, device

    def make_critic(self, generator: torch.Generator) -> Critic:
        """The twin critics. Raises ValueError where they do not fit the agents."""
        return self.critic(self.spec, self.config, generator).to(self.device)

    def rewards(self, rewards: Tensor) -> Tensor:
        """Rewards (E, n, T) that the critics learn, of the scaled and clipped ones."""
        return rewards

    def target_actions(self, batch: dict[str, Tensor], half_range: Tensor) -> Tensor:
        """Unit actions (E, n, T, m) that cloning draws the actors to: those of the replay."""
        return batch["actions"]

    def distance(self, batch: dict[str, Tensor], actions: Tensor) -> Tensor:
        """Differences (E, n, T, m) to the target actions that cloning makes small."""
        return batch["target_actions"] - actions


class NeighbourhoodCredit(Credit):
    """Credit ``neighbourhood``: a local critic of the near agents' mean reward."""

    def __init__(self, spec: AgentSpec, config: AgentConfig, device: torch.device) -> None:
        super().__init__(spec, config, device)
        self.near = torch.as_tensor(spec.stencil(config.credit_radius), device=device)

    def rewards(self, rewards: Tensor) -> Tensor:
        """Mean over the near agents (n, K) that exist (index >= 0)."""
        present = (self.near >= 0).to(rewards.dtype)
        picked = rewards[:, self.near.clamp(min=0)] * present[None, :, :, None]
        return picked.sum(dim=2) / present.sum(dim=1)[None, :, None]


class CooperativeCredit(Credit):
    """Credit ``cooperative``: critics see the near agents and their actions."""

    critic = CooperativeCritic


class CentralCredit(Credit):
    """Credit ``central``: critics see the whole grid of agents."""

    critic = MapCritic


class AdjointCredit(CooperativeCredit):
    """Credit ``adjoint``: cooperative, and cloning draws actors to actions that gains improved.

    The gains in the replay say how the return of an episode grows with every action.
    """

    def target_actions(self, batch: dict[str, Tensor], half_range: Tensor) -> Tensor:
        """The replay's unit actions (E, n, T, m) after a step along their gains.

        Steps are in proportion to the gains over their mean size in the batch, up to three times
        that: gains are heavy-tailed. Raises RuntimeError where the replay has no gains.
        """
        if not batch["gains"].shape[-1]:
            raise RuntimeError("credit adjoint needs gains in the replay: see Experience")
        gains = batch["gains"] * half_range
        size = masked_mean(gains.abs().mean(dim=-1), batch["mask"]).clamp(min=1e-12)
        steps = self.config.adjoint_step * (gains / size).clamp(-3.0, 3.0)
        return (batch["actions"] + steps).clamp(-1.0, 1.0)

    def distance(self, batch: dict[str, Tensor], actions: Tensor) -> Tensor:
        """Zero where a policy has gone further than the target: old actions do not hold it back."""
        difference = batch["target_actions"] - actions
        return difference * (difference * (batch["target_actions"] - batch["actions"]) > 0)


CREDITS: dict[str, type[Credit]] = {
    "local": Credit,
    "neighbourhood": NeighbourhoodCredit,
    "cooperative": CooperativeCredit,
    "central": CentralCredit,
    "adjoint": AdjointCredit,
}


def make_credit(spec: AgentSpec, config: AgentConfig, device: torch.device) -> Credit:
    """The credit that ``config`` names. Raises ValueError where it is unknown."""
    if config.credit not in CREDITS:
        raise ValueError(f"unknown credit {config.credit!r}: take one of {', '.join(CREDITS)}")
    return CREDITS[config.credit](spec, config, device)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of values (..., E, n, T) over the steps whose mask (E, T) is 1."""
    mask = mask[:, None].expand_as(values)
    return (values * mask).sum() / mask.sum()
