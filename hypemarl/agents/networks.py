"""The sharing schemes: how one network per agent comes about, behind one interface.

Every scheme maps inputs (E, n, T, in) and mu (E, n_mu) to (C, E, n, T, out): E episodes, n agents,
T steps, C independent copies (twin critics are C = 2). mu comes scaled to [-1, 1].

========== ============================================ ===================== ==================
scheme     parameters                                    sees mu               knows its place
========== ============================================ ===================== ==================
hypemarl   generated per (episode, agent) by a           through the weights   through the weights
           hypernetwork from [encoding, mu]
marl       shared by all agents                          no                    no
fups-id    shared by all agents                          as an input           encoding as an input
nops       each agent its own                            as an input           by having its own
========== ============================================ ===================== ==================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hypemarl.agents.encoding import position_encoding
from hypemarl.agents.hypernetwork import HyperNetwork, Layers, fan_in_normal, pick, run_layers
from hypemarl.agents.spec import AgentSpec
from hypemarl.config import AgentConfig


class AgentNetwork(nn.Module):
    """Base of the schemes: ``copies`` networks of the given widths for each of n agents."""

    def __init__(self, n_agents: int, sizes: Sequence[int], copies: int) -> None:
        super().__init__()
        self.n_agents, self.sizes, self.copies = n_agents, tuple(sizes), copies

    def forward(self, inputs: Tensor, mu: Tensor, first: bool = False) -> Tensor:
        """Inputs (E, n, T, in) and mu (E, n_mu) -> (C, E, n, T, out).

        ``first`` evaluates copy 0 alone (C = 1) and gives its parameters no gradient.
        """
        raise NotImplementedError

    def at(self, mu: Tensor) -> Callable[[Tensor], Tensor]:
        """``forward`` at this mu (E, n_mu), with what mu alone decides computed once."""
        return lambda inputs: self(inputs, mu)

    def generated(self, mu: Tensor) -> Tensor:
        """(E, n, p) the flat parameters of copy 0 that each agent acts by, layer after layer."""
        raise NotImplementedError


class HyperScheme(AgentNetwork):
    """HypeMARL: a hypernetwork makes each agent's weights from its place and mu."""

    def __init__(
        self,
        encoding: np.ndarray,
        mu_size: int,
        sizes: Sequence[int],
        copies: int,
        output_gain: float,
        config: AgentConfig,
        generator: torch.Generator,
    ) -> None:
        super().__init__(len(encoding), sizes, copies)
        self.hypernetwork = HyperNetwork(
            encoding,
            mu_size,
            sizes,
            config.hyper_width,
            config.hyper_depth,
            copies,
            output_gain,
            generator,
        )

    def forward(self, inputs: Tensor, mu: Tensor, first: bool = False) -> Tensor:
        """One set of weights per (episode, agent), shared by its T steps."""
        return self._run(inputs, self.hypernetwork(mu, first), 1 if first else self.copies)

    def at(self, mu: Tensor) -> Callable[[Tensor], Tensor]:
        """The weights are generated here, not in each call."""
        layers = self.hypernetwork(mu)
        return lambda inputs: self._run(inputs, layers, self.copies)

    def _run(self, inputs: Tensor, layers: Layers, copies: int) -> Tensor:
        episodes, n, steps, size = inputs.shape
        flat = _per_copy(inputs.reshape(episodes * n, steps, size), copies)
        return run_layers(flat, layers).view(copies, episodes, n, steps, -1)

    def generated(self, mu: Tensor) -> Tensor:
        """Weights and biases as the hypernetwork makes them."""
        flat = [part.flatten(1) for layer in self.hypernetwork(mu, True) for part in layer]
        return torch.cat(flat, dim=1).view(len(mu), self.n_agents, -1)


class PlainScheme(AgentNetwork):
    """Ordinary parameters: one network for all agents (``owners`` 1), or one for each (n).

    The first layer may also read mu and the encoding. Their parts are computed once per episode and
    once per agent and added, which equals concatenating them to every input.
    """

    encoding: Tensor | None

    def __init__(
        self,
        n_agents: int,
        owners: int,
        encoding: np.ndarray | None,
        mu_size: int,
        sizes: Sequence[int],
        copies: int,
        output_gain: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__(n_agents, sizes, copies)
        c, g = copies, generator
        self.owners = owners
        entries = 0 if encoding is None else encoding.shape[1]
        known = None if encoding is None else torch.as_tensor(encoding, dtype=torch.float32)
        self.register_buffer("encoding", known, False)
        hidden = sizes[1]
        # Separate fan-ins, as in the hypernetwork: the observation is heard beside the encoding.
        self.from_position = (
            None if encoding is None else fan_in_normal(g, c, entries, hidden, fan_in=entries)
        )
        self.from_mu = (
            fan_in_normal(g, c, owners, mu_size, hidden, fan_in=mu_size) if mu_size else None
        )
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in zip(sizes[:-1], sizes[1:], strict=True):
            self.weights.append(fan_in_normal(g, c, owners, fan_in, fan_out, fan_in=fan_in))
            self.biases.append(nn.Parameter(torch.zeros(c, owners, 1, fan_out)))
        with torch.no_grad():
            self.weights[-1].mul_(output_gain)

    def forward(self, inputs: Tensor, mu: Tensor, first: bool = False) -> Tensor:
        """One batched call per layer over copies and owners."""
        episodes, n, steps, size = inputs.shape
        copies = 1 if first else self.copies
        if self.owners > 1:  # each owner's samples together: (E, n, T) -> (n, E * T)
            inputs = inputs.transpose(0, 1)
        flat = _per_copy(inputs.reshape(self.owners, -1, size), copies)
        extra = self._extra(mu, steps, first)
        outputs = run_layers(flat, self._layers(first), extra)
        if self.owners > 1:
            return outputs.view(copies, n, episodes, steps, -1).transpose(1, 2)
        return outputs.view(copies, episodes, n, steps, -1)

    def _layers(self, first: bool) -> Layers:
        return [
            (pick(weight, first).flatten(0, 1), pick(bias, first).flatten(0, 1))
            for weight, bias in zip(self.weights, self.biases, strict=True)
        ]

    def _extra(self, mu: Tensor, steps: int, first: bool) -> Tensor | None:
        """(C*owners, S, hidden) the first layer's part from mu and encoding, for every sample."""
        if self.from_mu is None and self.from_position is None:
            return None
        episodes = len(mu)
        if self.owners > 1:
            total = torch.matmul(mu, pick(_given(self.from_mu), first))  # (C, n, E, h)
        else:
            total = torch.zeros((), device=mu.device)
            if self.from_position is not None:
                place = torch.matmul(_given(self.encoding), pick(self.from_position, first))
                total = total + place[:, None]  # (C, 1, n, h)
            if self.from_mu is not None:
                total = total + torch.matmul(mu, pick(self.from_mu, first)[:, 0])[:, :, None]
            total = total.expand(-1, episodes, self.n_agents, -1)  # (C, E, n, h)
        copies, hidden = len(total), total.shape[-1]
        spread = total[:, :, :, None].expand(*total.shape[:3], steps, hidden)
        return spread.reshape(copies * self.owners, -1, hidden)

    def generated(self, mu: Tensor) -> Tensor:
        """The parameters an agent acts by; the inputs mu and encoding are folded into its bias."""
        extra = self._extra(mu, 1, True)
        layers = self._layers(True)
        shape = (len(mu), self.n_agents, -1)
        parts = []
        for index, layer in enumerate(layers):
            weight, bias = (part.flatten(1).expand(self.n_agents, -1) for part in layer)
            weight, bias = weight.expand(*shape), bias.expand(*shape)
            if index == 0 and extra is not None:
                folded = extra.view(self.owners, -1, extra.shape[-1])
                if self.owners > 1:
                    folded = folded.transpose(0, 1)  # (n, E, h) -> (E, n, h)
                bias = bias + folded.reshape(*shape)
            parts += [weight, bias]
        return torch.cat(parts, dim=2)


def make_network(
    spec: AgentSpec,
    config: AgentConfig,
    sizes: Sequence[int],
    copies: int,
    output_gain: float,
    generator: torch.Generator,
) -> AgentNetwork:
    """The network of ``config.scheme`` with layer widths ``sizes`` (input, hidden..., output)."""
    n, mu_size = spec.n_agents, spec.mu_size
    encoding = encode(spec, config)
    if config.scheme == "hypemarl":
        return HyperScheme(encoding, mu_size, sizes, copies, output_gain, config, generator)
    plain = {
        "marl": (1, None, 0),
        "fups-id": (1, encoding, mu_size),
        "nops": (n, None, mu_size),
    }
    if config.scheme not in plain:
        raise ValueError(f"unknown scheme {config.scheme!r}: take hypemarl or one of {list(plain)}")
    owners, known, parameters = plain[config.scheme]
    return PlainScheme(n, owners, known, parameters, sizes, copies, output_gain, generator)


def encode(spec: AgentSpec, config: AgentConfig) -> np.ndarray:
    """(n, d) the encodings of this spec's agents."""
    return position_encoding(
        spec.positions, config.encoding_size, spec.spacing, config.encoding_frequency
    )


def _per_copy(flat: Tensor, copies: int) -> Tensor:
    """(B, S, in) -> (C*B, S, in), the same inputs for each copy."""
    if copies == 1:
        return flat
    return flat.expand(copies, *flat.shape).reshape(-1, *flat.shape[1:])


def _given(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor
