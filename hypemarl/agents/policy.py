"""The policies of all agents: acting, averaging and diagnostics, for every algorithm.

Inside, actions are in units of half their range about the middle of their bounds, so that bounds
and noise are per component.
"""

import copy
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hypemarl.agents.encoding import encode
from hypemarl.agents.learning import Episodes, Stateful
from hypemarl.agents.noise import Noise
from hypemarl.agents.replay import Batch
from hypemarl.agents.schemes import Plan, make_network, scheme_of
from hypemarl.config import AgentConfig
from hypemarl.coupling.spec import AgentSpec
from hypemarl.seeding import torch_generator
from hypemarl.types import Row


class Probe(NamedTuple):
    """E episodes of T steps for diagnostics of the policies of n agents."""

    observations: Tensor
    """(E, n, T, k)"""
    mu: Tensor
    """(E, n_mu), scaled"""
    mask: Tensor
    """(E, T), 1 where the step exists"""
    gradient: Tensor | None = None
    """(E, n, T, m) dJ/da of the objective J (to be made larger) at the unit actions, zero where the
    step does not exist; None where nobody knows it"""


class Actor(nn.Module):
    """Policies of all agents: observations (E, n, T, k), scaled mu -> unit actions (E, n, T, m)."""

    def __init__(self, spec: AgentSpec, config: AgentConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.seen = spec.observation_size if scheme_of(config).observes else 0
        sizes = (self.seen, *config.actor_hidden, spec.action_size)
        self.network = make_network(Plan(spec, config, sizes, 1, config.output_gain, generator))

    def forward(self, observations: Tensor, mu: Tensor) -> Tensor:
        """Unit actions in (-1, 1)."""
        return torch.tanh(self.network(observations[..., : self.seen], mu)[0])

    def at(self, mu: Tensor) -> Callable[[Tensor], Tensor]:
        """The policies at this mu (E, n_mu), made once for many steps.

        Equal to ``forward`` at that mu; gradients of all calls meet in the weights made here.
        """
        network = self.network.at(mu)
        return lambda observations: torch.tanh(network(observations[..., : self.seen])[0])


class PolicyAgent(Stateful):
    """An actor, its running average, and the units between them and the environment.

    ``seed`` feeds named generators; global random states are neither used nor changed.
    """

    STATE: ClassVar[tuple[str, ...]] = ("actor", "actor_average")
    shown: Episodes  # demonstrations, of those who learn from them

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

    def move_to(self, places: np.ndarray) -> None:
        """Let the averaged actor's agents stand at ``places`` (n, gdim) from now on.

        Raises ``ValueError`` where no code follows from a place: other schemes and encoders.
        """
        network = self.actor_average.network
        if self.config.encoder != "sinusoidal" or network.codes() is None:
            raise ValueError(
                f"agents of scheme {self.config.scheme} with encoder {self.config.encoder} have no "
                "codes of their places, so that they cannot be told of another one"
            )
        network.replace_codes(self._tensor(encode(self.spec, self.config, places)))

    def probe(self, sample: Batch) -> Probe:
        """Diagnostics' view of a sample, without a gradient."""
        observations, mask = self._tensor(sample.observations), self._tensor(sample.mask)
        return Probe(observations, self._tensor(self.spec.scale_mu(sample.mu)), mask)

    def probe_of(
        self,
        observations: Sequence[np.ndarray],
        mu: Sequence[np.ndarray],
        gradients: Sequence[np.ndarray] | None = None,
    ) -> Probe:
        """Diagnostics' view of E episodes: observations (T, n, k) and mu (n_mu,); T may differ.

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

    def show(self, observations: np.ndarray, mu: np.ndarray, actions: np.ndarray) -> None:
        """Add a demonstration: observations (T, n, k) and actions (T, n, m) at ``mu`` (n_mu,)."""
        unit = (self._tensor(actions) - self._middle) / self._half_range
        seen = self._tensor(np.swapaxes(observations, 0, 1))
        entry = {"observations": seen, "mu": self._context(mu)[0], "actions": unit.swapaxes(0, 1)}
        self.shown.append(entry)

    def encodings(self) -> np.ndarray:
        """(n, d) the agents' codes; of a scheme without, the encodings of their positions."""
        codes = self.actor_average.network.codes()
        if codes is None:
            return encode(self.spec, self.config)
        return codes.reshape(self.spec.n_agents, -1).cpu().numpy().astype(np.float64)

    def policy_weights(self, mu: np.ndarray) -> np.ndarray:
        """(n, p) the flat parameters of each agent's averaged policy at this mu (n_mu,)."""
        with torch.no_grad():
            weights = self.actor_average.network.generated(self._context(mu))
        return weights[0].cpu().numpy().astype(np.float64)

    def _context(self, mu: np.ndarray) -> Tensor:
        return self._tensor(self.spec.scale_mu(mu))[None]

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=self.device)

    def _to_bounds(self, unit: np.ndarray) -> np.ndarray:
        return self._clip(self.spec.action_middle + self.spec.action_half_range * unit)

    def _clip(self, actions: np.ndarray) -> np.ndarray:
        return np.clip(actions, self.spec.action_low, self.spec.action_high)


class ExploringAgent(PolicyAgent):
    """A policy that explores; ``slots``: environments at once, with independent noise."""

    def __init__(
        self, spec: AgentSpec, config: AgentConfig, seed: int, device: str = "cpu", slots: int = 1
    ) -> None:
        super().__init__(spec, config, seed, device)
        self.noises = [Noise(spec, config.noise_smoothing, seed, slot) for slot in range(slots)]

    def explore(self, observations: np.ndarray, mu: np.ndarray) -> np.ndarray:
        """Actions of the online actor with the noise of slot 0, clipped to the bounds."""
        return self.explore_slots(observations[None], mu[None], [0])[0]

    def explore_slots(
        self, observations: np.ndarray, mu: np.ndarray, slots: Sequence[int]
    ) -> np.ndarray:
        """Exploring actions (E, n, m) in E slots at once: observations (E, n, k), mu (E, n_mu)."""
        noise = np.stack([self.noises[slot].sample() for slot in slots])
        noise = self.config.exploration_noise * noise
        actions = self._act(observations, mu, averaged=False)
        return self._clip(actions + noise * self.spec.action_half_range)

    def random_actions(self, scale: float, slot: int = 0) -> np.ndarray:
        """Noise about the middle of the bounds of deviation ``scale``, in half ranges."""
        return self._to_bounds(np.clip(scale * self.noises[slot].sample(), -1.0, 1.0))

    def start_episode(self, slot: int = 0) -> None:
        """Start the exploration noise afresh."""
        self.noises[slot].start_episode()

    def state_dict(self) -> Row:
        """The state, with processes and generators of the noise in all slots."""
        return super().state_dict() | {
            "noise": self.noises[0].state_dict(),
            "noise_of_other_slots": [noise.state_dict() for noise in self.noises[1:]],
        }

    def load_state_dict(self, state: Row) -> None:
        """Put back a :meth:`state_dict`; slots that it lacks start with fresh noise."""
        super().load_state_dict(state)
        stored = [state["noise"], *state.get("noise_of_other_slots", [])]
        for noise, process in zip(self.noises, stored, strict=False):
            noise.load_state_dict(process)


@torch.no_grad()
def track(slow: nn.Module, fast: nn.Module, rate: float) -> None:
    """Move every parameter of ``slow`` towards ``fast``: slow += rate * (fast - slow)."""
    torch._foreach_lerp_(list(slow.parameters()), list(fast.parameters()), rate)


def frozen_copy[M: nn.Module](module: M) -> M:
    """A copy whose parameters take no gradient."""
    return copy.deepcopy(module).requires_grad_(False)
