"""Hypernetworks other than the full one with hidden layers: linear, chunked, low-rank.

They start by the same rules and give weights by the same interface as
:class:`~hypemarl.agents.hypernetwork.HyperNetwork`, which also explains the arguments.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hypemarl.agents.hypernetwork import (
    FeatureHyperNetwork,
    HyperNetwork,
    Layers,
    MLPHyperNetwork,
    fan_in_normal,
)
from hypemarl.agents.schemes import Plan


class LinearHyperNetwork(HyperNetwork):
    """Kind ``linear``: weights are a linear function of the context, without hidden layers.

    The code's part is computed once per agent, mu's once per episode, and they are added. Half of
    the starting variance is the code's, half that of mu (whose entries have mean square 1/3 when
    drawn from their range). With one-hot codes and no mu every agent has weights of its own.
    """

    def _build(self, entries: int, plan: Plan) -> None:
        c, g, mu_size = plan.copies, plan.generator, plan.spec.mu_size
        self.from_position, self.from_mu = nn.ParameterList(), nn.ParameterList()
        self.offset = nn.ParameterList()
        for fan_in, fan_out in self.shapes:
            size = fan_in * fan_out
            place = fan_in_normal(g, c, entries, size, fan_in=entries * (2 if mu_size else 1))
            context = fan_in_normal(g, c, mu_size, size, fan_in=mu_size)
            for parts, weight, gain in (
                (self.from_position, place, 1.0),
                (self.from_mu, context, 1.5**0.5),
            ):
                zeros = torch.zeros(c, weight.shape[1], fan_out)
                parts.append(nn.Parameter(torch.cat([gain * weight.detach(), zeros], dim=2)))
            self.offset.append(nn.Parameter(torch.zeros(c, 1, size + fan_out)))

    def forward(self, mu: Tensor) -> Layers:
        """Two products per generated layer, neither of them over episodes times agents."""
        layers: Layers = []
        for index, (fan_in, fan_out) in enumerate(self.shapes):
            place, context, offset, scale = (
                group[index]
                for group in (self.from_position, self.from_mu, self.offset, self.scale)
            )
            size = fan_in * fan_out
            ones = torch.ones_like(offset[..., size:])
            factors = torch.cat([scale.expand(-1, -1, size), ones], 2)
            of_place = torch.matmul(self.encoding, place * factors)  # (C, n, p)
            of_episode = torch.matmul(mu, context * factors) + offset * factors  # (C, E, p)
            flat = (of_episode[:, :, None] + of_place[:, None]).flatten(0, 2)
            layers.append(
                (flat[:, :size].view(-1, fan_in, fan_out), flat[:, size:].view(-1, 1, fan_out))
            )
        return layers


class ChunkedHyperNetwork(FeatureHyperNetwork):
    """Kind ``chunked``: one small head makes the weights in pieces of ``hyper_chunk`` numbers.

    The last hidden layer also reads a learned embedding of the piece that is due, and one head that
    all pieces share turns it into that piece (von Oswald, Henning, Grewe, Sacramento, ICLR 2020).
    Pieces run over all layers' weights and biases in turn. A bias's own factor starts at zero.
    """

    def _build_heads(self, plan: Plan) -> None:
        config, generator = plan.config, plan.generator
        c, _, width = self.offset[0].shape
        total = sum((fan_in + 1) * fan_out for fan_in, fan_out in self.shapes)
        pieces, entries = -(-total // config.hyper_chunk), config.hyper_chunk_embedding
        self.pieces = fan_in_normal(generator, c, pieces, entries, fan_in=1)
        self.from_piece = fan_in_normal(generator, c, entries, width, fan_in=entries)
        self.head = self._head(generator, config.hyper_chunk, 0)
        self.head_bias = nn.Parameter(torch.zeros(c, 1, config.hyper_chunk))
        self.bias_scale = nn.ParameterList(
            nn.Parameter(torch.zeros(c, 1, fan_out)) for _, fan_out in self.shapes
        )

    def forward(self, mu: Tensor) -> Layers:
        """One product for all pieces of all contexts."""
        raw, start = self._raw(mu), 0
        layers: Layers = []
        for index, (fan_in, fan_out) in enumerate(self.shapes):
            size = fan_in * fan_out
            weight = raw[..., start : start + size] * self.scale[index]
            start += size
            bias = raw[..., start : start + fan_out] * self.bias_scale[index]
            start += fan_out
            layers.append((weight.view(-1, fan_in, fan_out), bias.view(-1, 1, fan_out)))
        return layers

    def _raw(self, mu: Tensor) -> Tensor:
        """(C, E*n, >= p) the pieces of every context, one after the other."""
        hidden, last = self._context(mu), len(self.offset) - 1
        for index in range(last):
            hidden = self._linear(self._activate(hidden, index), index + 1)
        piece = torch.matmul(self.pieces, self.from_piece)  # (C, K, h)
        contexts = hidden.shape[1]
        hidden = (hidden[:, :, None] + piece[:, None]).flatten(1, 2)
        hidden = self._activate(hidden, last)
        raw = torch.baddbmm(self.head_bias, hidden, self.head)
        return raw.view(len(raw), contexts, -1)


class LowRankHyperNetwork(FeatureHyperNetwork):
    """Kind ``low-rank``: a base that all contexts share, plus a generated part of low rank.

    Of a layer with weight and bias W~ (in + 1, out) the context makes the shorter factor only:

        W~(z) = scale * (W~_0 + U(z) V^T)  where in < out,   scale * (W~_0 + U V(z)^T)  elsewhere,

    U (in + 1, r) and V (out, r), r = ``hyper_rank``. Making both would save less than threefold on
    the small layers of a policy. Half of the starting variance is the base's; both biases are zero.
    """

    def _build_heads(self, plan: Plan) -> None:
        c, g = plan.copies, plan.generator
        self.base, self.shared = nn.ParameterList(), nn.ParameterList()
        self.heads, self.head_bias = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in self.shapes:
            rank = min(plan.config.hyper_rank, fan_in + 1, fan_out)
            base = torch.randn((c, fan_in, fan_out), generator=g) * 0.5**0.5
            self.base.append(nn.Parameter(torch.cat([base, torch.zeros(c, 1, fan_out)], dim=1)))
            if fan_in < fan_out:  # the context makes U, whose last row is that of the bias
                self.shared.append(fan_in_normal(g, c, rank, fan_out, fan_in=2 * rank))
                self.heads.append(self._head(g, fan_in * rank, rank))
            else:
                rows = fan_in_normal(g, c, fan_in, rank, fan_in=2 * rank).detach()
                self.shared.append(nn.Parameter(torch.cat([rows, torch.zeros(c, 1, rank)], dim=1)))
                self.heads.append(self._head(g, rank * fan_out, 0))
            self.head_bias.append(nn.Parameter(torch.zeros(c, 1, self.heads[-1].shape[2])))

    def forward(self, mu: Tensor) -> Layers:
        """One product for the factors of a layer, one for their products with the shared ones."""
        features = self._features(mu)
        layers: Layers = []
        for index, (fan_in, fan_out) in enumerate(self.shapes):
            base, shared, head, bias = (
                group[index] for group in (self.base, self.shared, self.heads, self.head_bias)
            )
            factor = torch.baddbmm(bias, features, head)  # (C, E*n, ...)
            copies, contexts = factor.shape[:2]
            if fan_in < fan_out:
                rows = factor.view(copies, contexts * (fan_in + 1), -1)
                both = torch.bmm(rows, shared).view(copies, contexts, fan_in + 1, fan_out)
            else:
                columns = factor.view(copies, contexts, -1, fan_out)
                both = torch.matmul(shared[:, None], columns)
            both = (both + base[:, None]).flatten(0, 1)
            scale = self.scale[index].repeat_interleave(contexts, dim=0)
            layers.append((both[:, :-1] * scale, both[:, -1:]))
        return layers


KINDS: dict[str, type[HyperNetwork]] = {
    "mlp": MLPHyperNetwork,
    "linear": LinearHyperNetwork,
    "chunked": ChunkedHyperNetwork,
    "low-rank": LowRankHyperNetwork,
}
