"""Hypernetwork: a context [code of the agent, mu] in, the weights of a small network out.

Weights are generated once per distinct context (episode, agent), never per sample, and the part of
the first layer that reads the code is computed once per agent: no array of size (episodes *
agents, d) exists anywhere. After Ha, Dai, Le 2017 (static hypernetworks), with contexts as in
HypeMARL. Kinds: :data:`KINDS`.
"""

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
    """Base of networks that read the agents' codes; constant codes are no part of the state."""

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
        """Make the heads that turn the last hidden layer into weights."""
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
        return self._activate(self._last_input(mu), len(self.offset) - 1)

    def _last_input(self, mu: Tensor) -> Tensor:
        """(C, E*n, width) input of the last activation."""
        position = torch.matmul(self.encoding, self.from_position)
        context = torch.matmul(mu, self.from_mu) + self.offset[0]  # (C, E, h)
        hidden = (context[:, :, None] + position[:, None]).flatten(1, 2)
        for index, weight in enumerate(self.hidden):
            hidden = torch.baddbmm(self.offset[index + 1], self._activate(hidden, index), weight)
        return hidden

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


class LinearHyperNetwork(HyperNetwork):
    """Kind ``linear``: weights are a linear function of the context, without hidden layers.

    The code's part is computed once per agent, mu's once per episode, and they are added. Half of
    the starting variance is the code's, half that of mu (whose entries have mean square 1/3 when
    drawn from their range). With one-hot codes and no mu every agent has separate weights.
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
    Pieces run over all layers' weights and biases in turn. The factor of a bias starts at zero.
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
        hidden = self._last_input(mu)
        piece = torch.matmul(self.pieces, self.from_piece)  # (C, K, h)
        contexts = hidden.shape[1]
        hidden = (hidden[:, :, None] + piece[:, None]).flatten(1, 2)
        hidden = self._activate(hidden, len(self.offset) - 1)
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
