"""Credit assignment: critics, the rewards that they learn, and target actions of the actors.

Each credit is one small class; :data:`CREDITS` has them by the value of ``agent.credit``.

The critics share one interface. ``observe`` turns observations (E, n, T, k) and targets (E, n, q)
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
from torch.nn import functional

from hypemarl.agents.schemes import Plan, make_network
from hypemarl.config import AgentConfig
from hypemarl.coupling.spec import AgentSpec

TWINS = 2
TARGETS = 1  # columns of the targets of a central critic: the reference density of each patch
KERNEL = 3  # of its convolutions
LAYERS = 3  # convolutions before the last, pointwise one


class LocalCritic(nn.Module):
    """Q_i(y_i, a_i): the papers' decentralised critic (credit ``local`` and ``neighbourhood``)."""

    def __init__(self, spec: AgentSpec, config: AgentConfig, generator: torch.Generator) -> None:
        super().__init__()
        size = spec.observation_size + spec.action_size + config.time_left
        sizes = (size, *config.critic_hidden, 1)
        self.network = make_network(Plan(spec, config, sizes, TWINS, 1.0, generator))

    def observe(self, observations: Tensor, targets: Tensor) -> Tensor:
        """The observations themselves; targets are not used."""
        return observations

    def forward(self, features: Tensor, actions: Tensor, mu: Tensor) -> Tensor:
        """Values (C, E, n, T) of features (E, n, T, k) and actions (E, n, T, m)."""
        return self.network(torch.cat([features, actions], dim=-1), mu).squeeze(-1)


class CooperativeCritic(nn.Module):
    """Q_i of the agent's observation, the near agents' features, and all their actions.

    A near agent that does not exist contributes zeros. Its columns are aligned by relative place,
    so a critic that knows its place also knows which of them exist.
    """

    def __init__(self, spec: AgentSpec, config: AgentConfig, generator: torch.Generator) -> None:
        super().__init__()
        near = spec.stencil(config.credit_radius)
        centre = near.shape[1] // 2
        self.columns = list(spec.own_features)
        others = np.delete(near, centre, axis=1)
        # Index n is a row of zeros: the agent that is not there.
        absent = spec.n_agents
        self.near: Tensor
        self.others: Tensor
        self.register_buffer("near", torch.as_tensor(np.where(near < 0, absent, near)), False)
        self.register_buffer("others", torch.as_tensor(np.where(others < 0, absent, others)), False)
        size = spec.observation_size
        size += others.shape[1] * len(self.columns) + near.shape[1] * spec.action_size
        size += config.time_left
        sizes = (size, *config.critic_hidden, 1)
        self.network = make_network(Plan(spec, config, sizes, TWINS, 1.0, generator))

    def observe(self, observations: Tensor, targets: Tensor) -> Tensor:
        """(E, n, T, k + others * f) the observation and the near agents' features."""
        near = gather(observations[..., self.columns], self.others)
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


class MapCritic(nn.Module):
    """Twin convolutional critics on the agents' grid (1D or 2D), one value per patch, for training.

    Channels: features of the patch, targets, actions, mu and coordinates. The map's means join the
    channels before the second convolution, so every value sees the whole domain whatever the grid's
    size.

    Raises:
        ValueError: the agents form no grid of one or two axes.
    """

    coordinates: Tensor

    def __init__(self, spec: AgentSpec, config: AgentConfig, generator: torch.Generator) -> None:
        super().__init__()
        if spec.grid is None or len(spec.grid) not in (1, 2):
            raise ValueError(
                f"central credit needs agents on a grid of one or two axes, got grid {spec.grid}: "
                "set agent.credit to cooperative"
            )
        self.grid, self.columns = tuple(spec.grid), list(spec.own_features)
        axes = [torch.linspace(-1.0, 1.0, size) for size in self.grid]
        coordinates = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        self.register_buffer("coordinates", coordinates, False)
        size = len(self.columns) + TARGETS + spec.action_size + spec.mu_size + len(self.grid)
        size += config.time_left
        width = config.map_channels
        inputs = [size, 2 * width, *[width] * (LAYERS - 2), width]
        outputs = [*[width] * LAYERS, 1]
        kernels = [KERNEL] * LAYERS + [1]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out, kernel in zip(inputs, outputs, kernels, strict=True):
            window = (kernel,) * len(self.grid)
            weight = torch.randn((2, fan_out, fan_in, *window), generator=generator)
            weight *= (2.0 / (fan_in * kernel ** len(self.grid))) ** 0.5  # He: for ReLU
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(2, fan_out)))

    def observe(self, observations: Tensor, targets: Tensor) -> Tensor:
        """(E, n, T, f + 1): features and targets of every patch.

        Raises:
            ValueError: the targets do not have one column.
        """
        if targets.shape[-1] != TARGETS:
            raise ValueError(
                f"central credit needs targets of shape (n, {TARGETS}), got "
                f"{tuple(targets.shape[1:])}"
            )
        steps = observations.shape[2]
        spread = targets[:, :, None].expand(-1, -1, steps, -1)
        return torch.cat([observations[..., self.columns], spread], dim=-1)

    def forward(self, features: Tensor, actions: Tensor, mu: Tensor) -> Tensor:
        """Values (C, E, n, T), differentiable in every agent's actions (E, n, T, m)."""
        episodes, n, steps, _ = features.shape
        maps = torch.cat([features, actions], dim=-1).permute(0, 2, 3, 1)  # (E, T, channels, n)
        maps = maps.reshape(episodes * steps, -1, *self.grid)
        ones = (1,) * len(self.grid)
        context = mu[:, None].expand(-1, steps, -1).reshape(episodes * steps, -1, *ones)
        context = context.expand(-1, -1, *self.grid)
        place = self.coordinates.expand(episodes * steps, *self.coordinates.shape)
        inputs = torch.cat([maps, context, place], dim=1)
        values = [self._value(inputs, twin) for twin in range(len(self.weights[0]))]
        return torch.stack(values).view(-1, episodes, steps, n).transpose(2, 3)

    def _value(self, maps: Tensor, twin: int) -> Tensor:
        """(E * T, 1, *grid) the values of one twin."""
        convolve = functional.conv1d if len(self.grid) == 1 else functional.conv2d
        axes = tuple(range(2, 2 + len(self.grid)))
        for index, (weights, biases) in enumerate(zip(self.weights, self.biases, strict=True)):
            if index == 1:
                means = maps.mean(dim=axes, keepdim=True).expand_as(maps)
                maps = torch.cat([maps, means], dim=1)
            maps = convolve(maps, weights[twin], biases[twin], padding="same")
            if index < LAYERS:
                maps = functional.relu(maps)
        return maps


Critic = LocalCritic | CooperativeCritic | MapCritic


class Credit:
    """Base, and credit ``local``: the papers' decentralised critic of an agent's reward."""

    critic: type[Critic] = LocalCritic

    def __init__(self, spec: AgentSpec, config: AgentConfig, device: torch.device) -> None:
        self.spec, self.config, self.device = spec, config, device

    def make_critic(self, generator: torch.Generator) -> Critic:
        """The twin critics. Raises ValueError where they do not fit the agents."""
        return self.critic(self.spec, self.config, generator).to(self.device)

    def rewards(self, rewards: Tensor) -> Tensor:
        """Rewards (E, n, T) for the critics, from the scaled and clipped ones."""
        return rewards

    def target_actions(self, batch: dict[str, Tensor], half_range: Tensor) -> Tensor:
        """Target actions (E, n, T, m) of cloning in units of half ranges: those of the replay."""
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
    """Credit ``adjoint``: cooperative, and cloning targets actions that gradients improved.

    The action gradients in the replay say how the return of an episode grows with every action.
    """

    def target_actions(self, batch: dict[str, Tensor], half_range: Tensor) -> Tensor:
        """The replay's unit actions (E, n, T, m) after a step along their action gradients.

        Steps are in proportion to the gradients over their mean size in the batch, up to three
        times that: gradients are heavy-tailed. Raises RuntimeError where the replay has none.
        """
        if not batch["gradients"].shape[-1]:
            raise RuntimeError(
                "credit adjoint needs action gradients in the replay: see Experience"
            )
        gradients = batch["gradients"] * half_range
        size = masked_mean(gradients.abs().mean(dim=-1), batch["mask"]).clamp(min=1e-12)
        steps = self.config.adjoint_step * (gradients / size).clamp(-3.0, 3.0)
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
