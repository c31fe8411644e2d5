"""The central map critic: sees every patch, values every patch, exists in training only."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hypemarl.config import AgentConfig
from hypemarl.coupling.spec import AgentSpec

TARGETS = 1  # columns of the targets: the reference density of each patch
KERNEL = 3
LAYERS = 3  # convolutions before the last, pointwise one


class MapCritic(nn.Module):
    """Twin convolutional critics on the agents' grid (1D or 2D), one value per patch.

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
        """(E, n, T, f + 1): features of the patch and targets of every patch.

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
