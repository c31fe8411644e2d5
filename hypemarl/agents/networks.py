"""Networks of many agents: one interface behind all sharing schemes.

A network maps inputs (E, n, T, in) and mu (E, n_mu) to (C, E, n, T, out): E episodes, n agents, T
steps, C independent copies (twin critics are C = 2). mu comes scaled to [-1, 1]. Schemes that are
built of them stand in :mod:`hypemarl.agents.schemes`.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hypemarl.agents.encoding import agent_codes
from hypemarl.agents.hypernetwork import KINDS, Coded, Layers, fan_in_normal, run_layers
from hypemarl.agents.schemes import Plan


class AgentNetwork(Coded):
    """Base of the schemes: ``copies`` networks with layers of ``sizes`` for each of n agents."""

    def __init__(self, n_agents: int, sizes: Sequence[int], copies: int) -> None:
        super().__init__()
        self.n_agents, self.sizes, self.copies = n_agents, tuple(sizes), copies

    def forward(self, inputs: Tensor, mu: Tensor) -> Tensor:
        """Inputs (E, n, T, in) and mu (E, n_mu) -> (C, E, n, T, out)."""
        raise NotImplementedError

    def at(self, mu: Tensor) -> Callable[[Tensor], Tensor]:
        """``forward`` at this mu (E, n_mu), computing the part that depends on mu alone once."""
        return lambda inputs: self(inputs, mu)

    def generated(self, mu: Tensor, *, trained: bool = False) -> Tensor:
        """(E, n, p) the flat parameters of copy 0 that each agent acts by, layer after layer.

        ``trained`` keeps their graph, for gradients in the parameters of the network.
        """
        raise NotImplementedError

    def run_generated(self, flat: Tensor, inputs: Tensor) -> Tensor:
        """Inputs (E, n, T, in) through the parameters (E, n, p) of :meth:`generated`."""
        episodes, n, steps, size = inputs.shape
        layers: Layers = []
        start, flat = 0, flat.flatten(0, 1)
        for fan_in, fan_out in pairwise(self.sizes):
            middle, end = start + fan_in * fan_out, start + (fan_in + 1) * fan_out
            weight = flat[:, start:middle].reshape(len(flat), fan_in, fan_out)
            layers.append((weight, flat[:, None, middle:end]))
            start = end
        outputs = run_layers(inputs.reshape(episodes * n, steps, size), layers)
        return outputs.view(episodes, n, steps, -1)


class HyperScheme(AgentNetwork):
    """HypeMARL: a hypernetwork makes each agent's weights from its place and mu."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.spec.n_agents, plan.sizes, plan.copies)
        codes = agent_codes(plan.spec, plan.config, plan.copies, plan.generator)
        self.hypernetwork = KINDS[plan.config.hypernetwork](codes, plan)

    def codes(self) -> Tensor | None:
        """Codes of the hypernetwork."""
        return self.hypernetwork.codes()

    def replace_codes(self, codes: Tensor) -> None:
        """Replace those of the hypernetwork."""
        self.hypernetwork.replace_codes(codes)

    def forward(self, inputs: Tensor, mu: Tensor) -> Tensor:
        """One set of weights per (episode, agent), shared by its T steps."""
        return self._run(inputs, self.hypernetwork(mu))

    def at(self, mu: Tensor) -> Callable[[Tensor], Tensor]:
        """The weights are generated here, not in each call."""
        layers = self.hypernetwork(mu)
        return lambda inputs: self._run(inputs, layers)

    def _run(self, inputs: Tensor, layers: Layers) -> Tensor:
        episodes, n, steps, size = inputs.shape
        copies = len(layers[0][0]) // (episodes * n)
        flat = _per_copy(inputs.reshape(episodes * n, steps, size), copies)
        return run_layers(flat, layers).view(copies, episodes, n, steps, -1)

    def generated(self, mu: Tensor, *, trained: bool = False) -> Tensor:
        """Weights and biases as the hypernetwork makes them."""
        layers, contexts = self.hypernetwork(mu), len(mu) * self.n_agents
        parts = [part[:contexts].flatten(1) for layer in layers for part in layer]
        flat = torch.cat(parts, dim=1).view(len(mu), self.n_agents, -1)
        return flat if trained else flat.detach()


class PlainScheme(AgentNetwork):
    """Ordinary parameters: one network for all agents, or ``separate`` ones (``owners`` 1 or n).

    The first layer may also read mu and the code. Their parts are computed once per episode and
    once per agent and added, which equals concatenating them to every input.
    """

    def __init__(
        self, plan: Plan, *, separate: bool = False, codes: bool = False, sees_mu: bool = True
    ) -> None:
        spec, sizes, g, c = plan.spec, plan.sizes, plan.generator, plan.copies
        super().__init__(spec.n_agents, sizes, c)
        owners = self.owners = spec.n_agents if separate else 1
        self.keep_codes(agent_codes(spec, plan.config, c, g) if codes else None)
        mu_size, hidden = spec.mu_size if sees_mu else 0, sizes[1]
        entries = 0 if self.encoding is None else self.encoding.shape[-1]
        # Separate fan-ins, as in the hypernetwork: the observation is heard beside the code.
        self.from_position: nn.Parameter | None = None
        self.from_mu: nn.Parameter | None = None
        if entries:
            self.from_position = fan_in_normal(g, c, entries, hidden, fan_in=entries)
        if mu_size:
            self.from_mu = fan_in_normal(g, c, owners, mu_size, hidden, fan_in=mu_size)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in pairwise(sizes):
            self.weights.append(fan_in_normal(g, c, owners, fan_in, fan_out, fan_in=fan_in))
            self.biases.append(nn.Parameter(torch.zeros(c, owners, 1, fan_out)))
        with torch.no_grad():
            self.weights[-1].mul_(plan.output_gain)

    def forward(self, inputs: Tensor, mu: Tensor) -> Tensor:
        """One batched call per layer over copies and owners."""
        episodes, n, steps, size = inputs.shape
        copies = len(self.weights[0])
        if self.owners > 1:  # each owner's samples together: (E, n, T) -> (n, E * T)
            inputs = inputs.transpose(0, 1)
        samples = episodes * n * steps // self.owners  # not -1: a policy may see nothing
        flat = _per_copy(inputs.reshape(self.owners, samples, size), copies)
        extra = self._extra(mu, steps)
        outputs = run_layers(flat, self._layers(), extra)
        if self.owners > 1:
            return outputs.view(copies, n, episodes, steps, -1).transpose(1, 2)
        return outputs.view(copies, episodes, n, steps, -1)

    def _layers(self) -> Layers:
        return [
            (weight.flatten(0, 1), bias.flatten(0, 1))
            for weight, bias in zip(self.weights, self.biases, strict=True)
        ]

    def _extra(self, mu: Tensor, steps: int) -> Tensor | None:
        """(C*owners, S, hidden) the first layer's part from mu and code, for every sample."""
        if self.from_mu is None and self.from_position is None:
            return None
        episodes = len(mu)
        if self.owners > 1:
            assert self.from_mu is not None  # such a network reads no codes
            total = torch.matmul(mu, self.from_mu)  # (C, n, E, h)
        else:
            total = torch.zeros((), device=mu.device)
            if self.from_position is not None and self.encoding is not None:
                place = torch.matmul(self.encoding, self.from_position)
                total = total + place[:, None]  # (C, 1, n, h)
            if self.from_mu is not None:
                total = total + torch.matmul(mu, self.from_mu[:, 0])[:, :, None]
            total = total.expand(-1, episodes, self.n_agents, -1)  # (C, E, n, h)
        copies, hidden = len(total), total.shape[-1]
        spread = total[:, :, :, None].expand(*total.shape[:3], steps, hidden)
        return spread.reshape(copies * self.owners, -1, hidden)

    def generated(self, mu: Tensor, *, trained: bool = False) -> Tensor:
        """The parameters an agent acts by; the inputs mu and code are folded into its bias."""
        owners, extra = self.owners, self._extra(mu, 1)
        shape = (len(mu), self.n_agents, -1)
        parts = []
        for index, layer in enumerate(self._layers()):
            weight, bias = (part[:owners].flatten(1).expand(self.n_agents, -1) for part in layer)
            weight, bias = weight.expand(*shape), bias.expand(*shape)
            if index == 0 and extra is not None:
                folded = extra[:owners].view(owners, -1, extra.shape[-1])
                if self.owners > 1:
                    folded = folded.transpose(0, 1)  # (n, E, h) -> (E, n, h)
                bias = bias + folded.reshape(*shape)
            parts += [weight, bias]
        flat = torch.cat(parts, dim=2)
        return flat if trained else flat.detach()


def first_copy(module: nn.Module) -> Callable[..., Tensor]:
    """``module`` by copy 0 of its parameters alone (C = 1), which get no gradient.

    For modules whose every parameter begins with the axis of the copies.
    """
    parameters = {name: values[:1].detach() for name, values in module.named_parameters()}
    return lambda *inputs: functional_call(module, parameters, inputs)


def _per_copy(flat: Tensor, copies: int) -> Tensor:
    """(B, S, in) -> (C*B, S, in), the same inputs for each copy."""
    return flat.expand(copies, *flat.shape).flatten(0, 1)
