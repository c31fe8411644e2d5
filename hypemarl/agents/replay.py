"""Replay of whole episodes: a batch is few episodes times all agents times their steps.

Few episodes mean few distinct contexts (agent, mu), and a hypernetwork generates weights once per
context, however many steps share them.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import torch

from hypemarl.coupling.spec import AgentSpec
from hypemarl.seeding import generator_state, numpy_generator, set_generator_state
from hypemarl.types import Row

ARRAYS = (
    *("observations", "actions", "rewards", "terminated", "mu"),
    *("targets", "gradients", "costs", "lengths"),
)


class Batch(NamedTuple):
    """E episodes x n agents x T steps, float32. Steps beyond an episode's end have ``mask`` 0."""

    observations: np.ndarray
    """(E, n, T, k)"""
    actions: np.ndarray
    """(E, n, T, m), in the environment's units"""
    rewards: np.ndarray
    """(E, n, T)"""
    next_observations: np.ndarray
    """(E, n, T, k)"""
    terminated: np.ndarray
    """(E, T), 1 where the step ended the task itself (the horizon's end is not such an end)"""
    mask: np.ndarray
    """(E, T), 1 where the step exists"""
    mu: np.ndarray
    """(E, n_mu), in its own units"""
    targets: np.ndarray
    """(E, n, q), privileged: for critics that exist in training only"""
    gradients: np.ndarray
    """(E, n, T, m) or (E, n, T, 0): -dJ/da of the whole episode, see :class:`Experience`"""
    remaining: np.ndarray
    """(E, T), share of the horizon that remains when the step begins, privileged too"""
    next_remaining: np.ndarray
    """(E, T), share that remains when it ends"""


class Experience(NamedTuple):
    """A whole episode of T steps as the agents saw it."""

    mu: np.ndarray
    """(n_mu,), in its own units"""
    targets: np.ndarray
    """(n, q)"""
    observations: np.ndarray
    """(T + 1, n, k), from the first to that after the last step"""
    actions: np.ndarray
    """(T, n, m)"""
    rewards: np.ndarray
    """(T, n)"""
    terminated: np.ndarray
    """(T,)"""
    gradients: np.ndarray | None = None
    """(T, n, m): how the episode's return, summed over agents, grows with every action while later
    ones stay as they are. Episodes without count as zero"""
    costs: np.ndarray | None = None
    """(T, n): agents' shares of the cost, of which rewards may have been made; for surrogates"""

    @classmethod
    def of_steps(
        cls,
        mu: np.ndarray,
        targets: np.ndarray,
        first: np.ndarray,
        steps: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, bool]],
        gradients: np.ndarray | None = None,
        costs: np.ndarray | None = None,
    ) -> Self:
        """Stack one step or more: actions, rewards, observations after them, terminated."""
        actions, rewards, observations, terminated = map(np.array, zip(*steps, strict=True))
        seen = np.stack([first, *observations])
        return cls(mu, targets, seen, actions, rewards, terminated, gradients, costs)


class Replay:
    """Ring of the last ``capacity_episodes`` episodes of at most ``max_steps`` steps."""

    def __init__(self, spec: AgentSpec, capacity_episodes: int, max_steps: int, seed: int) -> None:
        if capacity_episodes < 1 or max_steps < 1:
            raise ValueError(
                "a replay needs room for one episode of one step at least, got "
                f"{capacity_episodes} episodes of {max_steps} steps"
            )
        self.spec, self.capacity, self.max_steps = spec, capacity_episodes, max_steps
        self.generator = numpy_generator(seed, "replay")
        n, k, m = spec.n_agents, spec.observation_size, spec.action_size
        self.observations = np.zeros((capacity_episodes, n, max_steps + 1, k), dtype=np.float32)
        self.actions = np.zeros((capacity_episodes, n, max_steps, m), dtype=np.float32)
        self.rewards = np.zeros((capacity_episodes, n, max_steps), dtype=np.float32)
        self.terminated = np.zeros((capacity_episodes, max_steps), dtype=np.float32)
        self.mu = np.zeros((capacity_episodes, spec.mu_size), dtype=np.float32)
        self.targets = np.zeros((capacity_episodes, n, 0), dtype=np.float32)
        self.gradients = np.zeros((capacity_episodes, n, max_steps, 0), dtype=np.float32)
        self.costs = np.zeros((capacity_episodes, n, 0), dtype=np.float32)
        self.lengths = np.zeros(capacity_episodes, dtype=np.int64)
        self.stored = 0  # slots that were filled once
        self._next = 0  # slot of the next episode

    def __len__(self) -> int:
        """Number of complete episodes."""
        return int(np.count_nonzero(self.lengths))

    def latest_slots(self, count: int) -> np.ndarray:
        """Slots of the last ``count`` complete episodes, the oldest of them first."""
        slots = (self._next - 1 - np.arange(self.stored)) % self.capacity
        return slots[self.lengths[slots] > 0][:count][::-1]

    def make_room(self, episodes: int) -> None:
        """Stop sampling the oldest, where the next ``episodes`` will be written."""
        self.lengths[(self._next + np.arange(episodes)) % self.capacity] = 0

    def append(self, episode: Experience) -> None:
        """Keep an episode; the oldest makes room. One without a step leaves nothing.

        Raises:
            ValueError: it has more than ``max_steps`` steps, targets of another width, or NaN.
        """
        steps = len(episode.actions)
        if not steps:
            return
        _check_finite(episode)
        if steps > self.max_steps:
            raise ValueError(f"expected at most {self.max_steps} steps, got an episode of {steps}")
        self._widen(episode)
        slot = self._next
        for name in ARRAYS:
            getattr(self, name)[slot] = 0
        self.mu[slot], self.targets[slot] = episode.mu, episode.targets
        self.terminated[slot, :steps] = episode.terminated
        for name in ("observations", "actions", "rewards", "gradients", "costs"):
            values = getattr(episode, name)
            if values is not None:
                getattr(self, name)[slot, :, : len(values)] = np.swapaxes(values, 0, 1)
        self.lengths[slot] = steps
        self._next = (slot + 1) % self.capacity
        self.stored = min(self.stored + 1, self.capacity)

    def _widen(self, episode: Experience) -> None:
        """Make room for targets, action gradients and costs, where these are the first."""
        columns = np.shape(episode.targets)[1]
        if self.targets.shape[2] != columns:
            if self.stored:
                raise ValueError(
                    f"targets of this replay have {self.targets.shape[2]} columns, got "
                    f"{np.shape(episode.targets)}"
                )
            self._resize("targets", columns)
        if episode.gradients is not None and not self.gradients.shape[-1]:
            self._resize("gradients", self.spec.action_size)
        if episode.costs is not None and not self.costs.shape[-1]:
            self._resize("costs", self.max_steps)

    def _resize(self, name: str, columns: int) -> None:
        """Zeros in place of this array, with ``columns`` along its last axis."""
        shape = getattr(self, name).shape[:-1]
        setattr(self, name, np.zeros((*shape, columns), dtype=np.float32))

    def sample(self, episodes: int, steps: int) -> Batch:
        """Draw distinct ``episodes`` and ``steps`` distinct steps of each; ``steps`` 0 takes all.

        Fewer stored episodes give a smaller batch. Raises ``RuntimeError`` where there is none.
        """
        available = np.flatnonzero(self.lengths)
        if not len(available):
            raise RuntimeError("the replay holds no complete episode yet")
        chosen = self.generator.choice(available, min(episodes, len(available)), replace=False)
        if steps == 0 or steps >= self.max_steps:
            return self._gather(chosen)
        return self._gather(chosen, self._draw_times(self.lengths[chosen], steps))

    def latest(self, episodes: int) -> Batch | None:
        """All steps of the last complete episodes, without drawing; None where there is none."""
        chosen = self.latest_slots(episodes)[::-1]
        return self._gather(chosen) if len(chosen) else None

    def _gather(self, chosen: np.ndarray, times: np.ndarray | None = None) -> Batch:
        """The steps ``times`` (E, T), by default all, of the episodes in the slots ``chosen``."""
        if times is None:
            times = np.broadcast_to(np.arange(self.max_steps), (len(chosen), self.max_steps))
        rows = chosen[:, None]
        along = np.swapaxes  # advanced indices put (E, T) first: (E, T, n, ...) -> (E, n, T, ...)
        return Batch(
            observations=along(self.observations[rows, :, times], 1, 2),
            actions=along(self.actions[rows, :, times], 1, 2),
            rewards=along(self.rewards[rows, :, times], 1, 2),
            next_observations=along(self.observations[rows, :, times + 1], 1, 2),
            terminated=self.terminated[rows, times],
            mask=(times < self.lengths[chosen, None]).astype(np.float32),
            mu=self.mu[chosen],
            targets=self.targets[chosen],
            gradients=along(self.gradients[rows, :, times], 1, 2),
            remaining=(1.0 - times / self.max_steps).astype(np.float32),
            next_remaining=(1.0 - (times + 1) / self.max_steps).astype(np.float32),
        )

    def _draw_times(self, lengths: np.ndarray, steps: int) -> np.ndarray:
        """(E, steps) distinct times; those past a short episode's end come last and are masked."""
        keys = self.generator.random((len(lengths), self.max_steps))
        keys += np.arange(self.max_steps) >= lengths[:, None]
        return np.argsort(keys, axis=1)[:, :steps]

    def state_dict(self) -> Row:
        """Complete episodes as tensors, counters and the generator."""
        arrays = {
            name: torch.from_numpy(getattr(self, name)[: self.stored].copy()) for name in ARRAYS
        }
        counters = {"stored": self.stored, "next": self._next, "max_steps": self.max_steps}
        return {**arrays, **counters, "generator": generator_state(self.generator)}

    def load_state_dict(self, state: Row) -> None:
        """Put back a :meth:`state_dict`; raises ``ValueError`` where sizes differ."""
        state = dict(state)
        sizes = {"max_steps": self.max_steps, "episodes": self.capacity}
        stored = {"max_steps": state["max_steps"], "episodes": len(state["lengths"])}
        shape = tuple(state["observations"].shape[1:])
        fits = stored["max_steps"] == sizes["max_steps"] and stored["episodes"] <= self.capacity
        if not fits or shape != self.observations.shape[1:]:
            raise ValueError(
                f"the replay of the checkpoint has {stored} and observations of shape {shape}; "
                f"expected {sizes} and {self.observations.shape[1:]}: use the config of the run"
            )
        # of an earlier version, which named them otherwise or had none
        none = torch.zeros(*state["actions"].shape[:3], 0)
        state.setdefault("gradients", state.get("gains", none))
        state.setdefault("costs", torch.zeros(*state["actions"].shape[:2], 0))
        for name in ("targets", "gradients", "costs"):
            self._resize(name, state[name].shape[-1])
        for name in ARRAYS:
            array = getattr(self, name)
            array[:] = 0
            array[: len(state[name])] = state[name].numpy()
        self.stored, self._next = state["stored"], state["next"]
        set_generator_state(self.generator, state["generator"])


def _check_finite(episode: Experience) -> None:
    for name in ("observations", "actions", "rewards", "gradients", "costs"):
        values = getattr(episode, name)
        if values is not None and not np.all(np.isfinite(values)):
            raise ValueError(
                f"{name} of an episode hold NaN or infinity, which must not enter the replay: "
                "leave the failed step out"
            )
