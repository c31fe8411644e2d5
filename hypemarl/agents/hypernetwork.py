"""Hypernetwork: a context [code of the agent, mu] in, the weights of a small network out.

Weights are generated once per distinct context (episode, agent), never per sample, and the part of
the first layer that reads the code is computed once per agent: no array of size (episodes *
agents, d) exists anywhere. After Ha, Dai, Le 2017 (static hypernetworks), with contexts as in
HypeMARL. Kinds with fewer parameters stand in :mod:`hypemarl.agents.compact_hypernetworks`.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from hypemarl.agents.schemes import Plan

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
    return nn.Parameter(torch.randn(shape, generator=generator) / max(fan_in, 1) ** 0.5)


class Coded(nn.Module):
    """Base of what reads the agents' codes: constant ones are no part of the state."""

    encoding: Tensor | None

    def keep_codes(self, codes: Tensor | None) -> None:
        """Keep ``codes`` (n, d) as a constant, or (C, n, d) as parameters."""
        if isinstance(codes, nn.Parameter):
            self.encoding = codes
        else:
            self.register_buffer("encoding", codes, False)

    def replace_codes(self, codes: Tensor) -> None:
        """Take other constant codes (n, d) of the same size."""
        self.encoding = codes

    def codes(self) -> Tensor | None:
        """(n, d), or (C, n, d) where they are trained; None where there are none."""
        return self.encoding


class HyperNetwork(Coded):
    """``copies`` independent hypernetworks, evaluated together (2 for twin critics, 1 for a
    policy).

    At the start a raw output has unit variance; a learned factor per layer, first 1/sqrt(fan_in),
    turns it into weights of fan-in variance, the last layer's further times ``output_gain``.
    Generated biases start at zero. All kinds hold to these rules.

    Args:
        codes: (n, d) constant codes of the agents, or (C, n, d) trained ones.
        plan: sizes of what they generate; mu must come scaled to order one.
    """

    encoding: Tensor

    def __init__(self, codes: Tensor, plan: Plan) -> None:
        super().__init__()
        self.sizes, self.copies = tuple(plan.sizes), plan.copies
        self.shapes = tuple(pairwise(plan.sizes))
        self.keep_codes(codes)
        self._build(codes.shape[-1], plan)
        self.scale = nn.ParameterList()
        for index, (fan_in, _) in enumerate(self.shapes):
            gain = plan.output_gain if index == len(self.shapes) - 1 else 1.0
            factor = torch.full((plan.copies, 1, 1), gain / max(fan_in, 1) ** 0.5)
            self.scale.append(nn.Parameter(factor))

    def _build(self, entries: int, plan: Plan) -> None:
        """Make the parameters behind codes of ``entries`` numbers."""
        raise NotImplementedError

    def forward(self, mu: Tensor) -> Layers:
        """Weights for mu (E, n_mu): per layer (C*E*n, in, out) and (C*E*n, 1, out)."""
        raise NotImplementedError


class FeatureHyperNetwork(HyperNetwork):
    """Base of the kinds with ``hyper_depth`` hidden layers (linear, LayerNorm, ReLU)."""

    def _build(self, entries: int, plan: Plan) -> None:
        c, g, mu_size = plan.copies, plan.generator, plan.spec.mu_size
        width, depth = plan.config.hyper_width, plan.config.hyper_depth
        # Separate fan-ins, so that mu is heard beside an encoding of thousands of entries.
        self.from_position = fan_in_normal(g, c, entries, width, fan_in=entries)
        self.from_mu = fan_in_normal(g, c, mu_size, width, fan_in=max(mu_size, 1))
        self.hidden = nn.ParameterList(
            fan_in_normal(g, c, width, width, fan_in=width) for _ in range(depth - 1)
        )
        ones, zeros = torch.ones(c, 1, width), torch.zeros(c, 1, width)
        self.offset = nn.ParameterList(nn.Parameter(zeros.clone()) for _ in range(depth))
        self.norm_gain = nn.ParameterList(nn.Parameter(ones.clone()) for _ in range(depth))
        self.norm_bias = nn.ParameterList(nn.Parameter(zeros.clone()) for _ in range(depth))
        self._build_heads(plan)

    def _build_heads(self, plan: Plan) -> None:
        """Make what turns the last hidden layer into weights."""
        raise NotImplementedError

    def _head(self, generator: torch.Generator, outputs: int, zeros: int) -> nn.Parameter:
        """(C, width, outputs + zeros): ``outputs`` of unit variance, and ``zeros`` that are zero.

        ReLU after LayerNorm has mean square 1/2, so that variance 2/width gives unit variance.
        """
        c, _, width = self.offset[0].shape
        head = torch.randn((c, width, outputs), generator=generator) * (2.0 / width) ** 0.5
        return nn.Parameter(torch.cat([head, torch.zeros(c, width, zeros)], dim=2))

    def _features(self, mu: Tensor) -> Tensor:
        """(C, E*n, width) outputs of the last hidden layer."""
        hidden = self._context(mu)
        for index in range(len(self.offset)):
            if index:
                hidden = self._linear(hidden, index)
            hidden = self._activate(hidden, index)
        return hidden

    def _context(self, mu: Tensor) -> Tensor:
        """(C, E*n, width) what the first hidden layer is the activation of."""
        position = torch.matmul(self.encoding, self.from_position)
        context = torch.matmul(mu, self.from_mu) + self.offset[0]  # (C, E, h)
        return (context[:, :, None] + position[:, None]).flatten(1, 2)

    def _linear(self, hidden: Tensor, index: int) -> Tensor:
        return torch.baddbmm(self.offset[index], hidden, self.hidden[index - 1])

    def _activate(self, hidden: Tensor, index: int) -> Tensor:
        hidden = functional.layer_norm(hidden, hidden.shape[-1:])
        return torch.addcmul(self.norm_bias[index], hidden, self.norm_gain[index]).relu_()


class MLPHyperNetwork(FeatureHyperNetwork):
    """Kind ``mlp``: one linear head per generated layer on the hidden layers' features."""

    def _build_heads(self, plan: Plan) -> None:
        self.heads, self.head_bias = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in self.shapes:
            self.heads.append(self._head(plan.generator, fan_in * fan_out, fan_out))
            zeros = torch.zeros(self.copies, 1, (fan_in + 1) * fan_out)
            self.head_bias.append(nn.Parameter(zeros))

    def forward(self, mu: Tensor) -> Layers:
        """One product per generated layer."""
        features = self._features(mu)
        layers: Layers = []
        for index, (fan_in, fan_out) in enumerate(self.shapes):
            head, bias, scale = self.heads[index], self.head_bias[index], self.scale[index]
            # The head is scaled and split, not what it gives, which is larger by contexts / width.
            size = fan_in * fan_out
            weight = torch.baddbmm(bias[..., :size] * scale, features, head[..., :size] * scale)
            offset = torch.baddbmm(bias[..., size:], features, head[..., size:])
            layers.append((weight.view(-1, fan_in, fan_out), offset.view(-1, 1, fan_out)))
        return layers
