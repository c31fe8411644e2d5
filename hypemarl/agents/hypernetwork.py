"""Hypernetwork: a context [encoding of the position, mu] in, the weights of a small network out.

Weights are generated once per distinct context (episode, agent), never per sample, and the part of
the first layer that reads the encoding is computed once per agent: no array of size (episodes *
agents, d) exists anywhere. After Ha, Dai, Le 2017 (static hypernetworks), with contexts as in
HypeMARL.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

Layers = list[tuple[Tensor, Tensor]]  # (weight (B, in, out), bias (B, 1, out)) of each layer


def run_layers(inputs: Tensor, layers: Layers, extra: Tensor | None = None) -> Tensor:
    """Feed (B, S, in) through B networks in one call per layer, ReLU between; returns (B, S, out).

    ``extra`` (B, S, hidden) is added before the first activation.
    """
    for index, (weight, bias) in enumerate(layers):
        # In place where nothing saved is overwritten: fresh memory costs more than the arithmetic.
        inputs = torch.bmm(inputs, weight).add_(bias)
        if index == 0 and extra is not None:
            inputs.add_(extra)
        if index < len(layers) - 1:
            inputs.relu_()
    return inputs


def fan_in_normal(generator: torch.Generator, *shape: int, fan_in: int) -> nn.Parameter:
    """A parameter with independent normal entries of variance 1 / fan_in."""
    return nn.Parameter(torch.randn(shape, generator=generator) / fan_in**0.5)


class HyperNetwork(nn.Module):
    """``copies`` independent hypernetworks, evaluated together (2 for twin critics, 1 for a
    policy).

    Each has ``depth`` hidden layers (linear, LayerNorm, ReLU) and one linear head per generated
    layer. At the start a head's raw output has unit variance; a learned factor per layer, first
    1/sqrt(fan_in), turns it into weights of fan-in variance, the last layer's further times
    ``output_gain``. Generated biases start at zero.

    Args:
        encoding: (n, d) encoded positions, kept as a constant buffer.
        mu_size: number of context parameters, which must come scaled to order one.
        sizes: widths of the generated network from input to output.
        width, depth: hidden layers of the hypernetwork.
        copies: number of independent hypernetworks.
        output_gain: factor on the last generated layer at the start.
        generator: source of the initial values.
    """

    encoding: Tensor

    def __init__(
        self,
        encoding: np.ndarray,
        mu_size: int,
        sizes: Sequence[int],
        width: int,
        depth: int,
        copies: int,
        output_gain: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        c, d, g = copies, encoding.shape[1], generator
        self.sizes = tuple(sizes)
        self.register_buffer("encoding", torch.as_tensor(encoding, dtype=torch.float32), False)
        # Separate fan-ins, so that mu is heard beside an encoding of thousands of entries.
        self.from_position = fan_in_normal(g, c, d, width, fan_in=d)
        self.from_mu = fan_in_normal(g, c, mu_size, width, fan_in=max(mu_size, 1))
        self.hidden = nn.ParameterList(
            fan_in_normal(g, c, width, width, fan_in=width) for _ in range(depth - 1)
        )
        self.offset = nn.ParameterList(nn.Parameter(torch.zeros(c, 1, width)) for _ in range(depth))
        self.norm_gain = nn.ParameterList(
            nn.Parameter(torch.ones(c, 1, width)) for _ in range(depth)
        )
        self.norm_bias = nn.ParameterList(
            nn.Parameter(torch.zeros(c, 1, width)) for _ in range(depth)
        )
        self.heads, self.head_bias = nn.ParameterList(), nn.ParameterList()
        self.scale = nn.ParameterList()
        for index, (fan_in, fan_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            # ReLU after LayerNorm has mean square 1/2, so variance 2/width gives unit variance.
            head = torch.randn((c, width, fan_in * fan_out), generator=g) * (2.0 / width) ** 0.5
            head = torch.cat([head, torch.zeros(c, width, fan_out)], dim=2)
            self.heads.append(nn.Parameter(head))
            self.head_bias.append(nn.Parameter(torch.zeros(c, 1, (fan_in + 1) * fan_out)))
            gain = output_gain if index == len(sizes) - 2 else 1.0
            self.scale.append(nn.Parameter(torch.full((c, 1, 1), gain / fan_in**0.5)))

    def forward(self, mu: Tensor, first: bool = False) -> Layers:
        """Weights for mu (E, n_mu): per layer (C*E*n, in, out) and (C*E*n, 1, out).

        ``first`` takes copy 0 only and gives its parameters no gradient.
        """
        features = self._features(mu, first)
        layers: Layers = []
        for index, (fan_in, fan_out) in enumerate(
            zip(self.sizes[:-1], self.sizes[1:], strict=True)
        ):
            head, bias, scale = (
                pick(group[index], first) for group in (self.heads, self.head_bias, self.scale)
            )
            # The head is scaled and split, not what it gives, which is larger by contexts / width.
            size = fan_in * fan_out
            weight = torch.baddbmm(bias[..., :size] * scale, features, head[..., :size] * scale)
            offset = torch.baddbmm(bias[..., size:], features, head[..., size:])
            layers.append((weight.view(-1, fan_in, fan_out), offset.view(-1, 1, fan_out)))
        return layers

    def _features(self, mu: Tensor, first: bool) -> Tensor:
        """(C, E*n, width) outputs of the last hidden layer."""
        position = torch.matmul(self.encoding, pick(self.from_position, first))  # (C, n, h)
        context = torch.matmul(mu, pick(self.from_mu, first))  # (C, E, h)
        context = context + pick(self.offset[0], first)
        hidden = (context[:, :, None] + position[:, None]).flatten(1, 2)
        for index in range(len(self.offset)):
            if index:
                hidden = torch.baddbmm(
                    pick(self.offset[index], first), hidden, pick(self.hidden[index - 1], first)
                )
            hidden = functional.layer_norm(hidden, hidden.shape[-1:])
            gain, bias = pick(self.norm_gain[index], first), pick(self.norm_bias[index], first)
            hidden = torch.addcmul(bias, hidden, gain).relu_()
        return hidden


def pick(parameter: Tensor, first: bool) -> Tensor:
    """The parameter of all copies, or copy 0 alone and without gradient."""
    return parameter[:1].detach() if first else parameter
