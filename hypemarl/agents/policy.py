"""The policies of all agents: how they act, are averaged and described, however they are trained.

Inside, actions are in units of half their range about the middle of their bounds, so that bounds
and noise are per component.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hypemarl.agents.diagnostics import Probe
from hypemarl.agents.encoding import encode
from hypemarl.agents.networks import make_network
from hypemarl.agents.spec import AgentSpec
from hypemarl.config import AgentConfig
from hypemarl.seeding import torch_generator


class Actor(nn.Module):
    """Policies of all agents: observations (E, n, T, k), scaled mu -> unit actions (E, n, T, m).

    Scheme ``fups-id-no-state`` is HyperMARL's ablation FuPS+ID (No State) (arXiv:2412.04233): one
    shared policy that reads which agent it is, here also mu, and no observation at all, which
    tells what identity alone is worth, without gradients of observation and identity coupled in
    one network. It acts open loop. Its critics see what those of ``fups-id`` do.
    """

    def __init__(self, spec: AgentSpec, config: AgentConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.seen = 0 if config.scheme == "fups-id-no-state" else spec.observation_size
        sizes = (self.seen, *config.actor_hidden, spec.action_size)
        self.network = make_network(spec, config, sizes, 1, config.output_gain, generator)

    def forward(self, observations: Tensor, mu: Tensor) -> Tensor:
        """Unit actions in (-1, 1)."""
        return torch.tanh(self.network(observations[..., : self.seen], mu)[0])

    def at(self, mu: Tensor) -> Callable[[Tensor], Tensor]:
        """The policies at this mu (E, n_mu), made once for all the steps that they are called for.

        Equal to ``forward`` at that mu; gradients of all calls meet in the weights made here.
        """
        network = self.network.at(mu)
        return lambda observations: torch.tanh(network(observations[..., : self.seen])[0])


class PolicyAgent:
    """An actor, its running average, and the units between them and the environment.

    ``seed`` feeds named generators; global random states are neither used nor changed.
    """

    def __init__(
        self, spec: AgentSpec, config: AgentConfig, seed: int, device: str = "cpu"
    ) -> None:
        self.spec, self.config, self.seed = spec, config, seed
        self.device = torch.device(device)
        self.actor = Actor(spec, config, torch_generator(seed, "actor")).to(device)
        self.actor_average = frozen_copy(self.actor)
        self._middle = self._tensor(spec.action_middle)
        self._half_range = self._tensor(spec.action_half_range)

    # Acting: arrays (n, k) and (n_mu,) in, actions (n, m) in the environment's units out. With a
    # leading axis where several environments act at once.

    def act(self, observations: np.ndarray, mu: np.ndarray, *, averaged: bool = True) -> np.ndarray:
        """Deterministic actions of the averaged actor, or of the online one."""
        return self._act(observations[None], mu[None], averaged=averaged)[0]

    def _act(self, observations: np.ndarray, mu: np.ndarray, *, averaged: bool) -> np.ndarray:
        actor = self.actor_average if averaged else self.actor
        with torch.no_grad():
            context = self._tensor(self.spec.scale_mu(mu))
            unit = actor(self._tensor(observations)[:, :, None], context)[:, :, 0].cpu().numpy()
        return self._to_bounds(unit.astype(np.float64))

    def probe_of(
        self,
        observations: Sequence[np.ndarray],
        mu: Sequence[np.ndarray],
        gradients: Sequence[np.ndarray] | None = None,
    ) -> Probe:
        """What E episodes show: observations (T, n, k), mu (n_mu,) of each, T may differ.

        ``gradients`` (T, n, m): those of the objective in the unit actions, where they are known.
        """
        longest = max(len(rows) for rows in observations)

        def stack(episodes: Sequence[np.ndarray]) -> Tensor:  # -> (E, n, T, ...)
            pad = [(0, longest), (0, 0), (0, 0)]
            whole = np.stack([np.pad(rows, pad)[:longest] for rows in episodes])
            return self._tensor(np.swapaxes(whole, 1, 2))

        mask = [np.arange(longest) < len(rows) for rows in observations]
        contexts = self._tensor(self.spec.scale_mu(np.stack(mu)))
        known = None if gradients is None else stack(gradients)
        return Probe(stack(observations), contexts, self._tensor(np.stack(mask)), known)

    # What the policy map draws.

    def encodings(self) -> np.ndarray:
        """(n, d) the agents' codes; of a scheme without, the encodings of their positions."""
        codes = self.actor_average.network.codes(first=True)
        if codes is None:
            return encode(self.spec, self.config)
        return codes.reshape(self.spec.n_agents, -1).cpu().numpy().astype(np.float64)

    def policy_weights(self, mu: np.ndarray) -> np.ndarray:
        """(n, p) the flat parameters of each agent's averaged policy at this mu (n_mu,)."""
        with torch.no_grad():
            weights = self.actor_average.network.generated(self._context(mu))
        return weights[0].cpu().numpy().astype(np.float64)

    # Units.

    def _context(self, mu: np.ndarray) -> Tensor:
        return self._tensor(self.spec.scale_mu(mu))[None]

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=self.device)

    def _to_bounds(self, unit: np.ndarray) -> np.ndarray:
        return self._clip(self.spec.action_middle + self.spec.action_half_range * unit)

    def _clip(self, actions: np.ndarray) -> np.ndarray:
        return np.clip(actions, self.spec.action_low, self.spec.action_high)


@torch.no_grad()
def track(slow: nn.Module, fast: nn.Module, rate: float) -> None:
    """Move every parameter of ``slow`` towards ``fast``: slow += rate * (fast - slow)."""
    torch._foreach_lerp_(list(slow.parameters()), list(fast.parameters()), rate)


def frozen_copy[M: nn.Module](module: M) -> M:
    """A copy whose parameters take no gradient."""
    return copy.deepcopy(module).requires_grad_(False)
