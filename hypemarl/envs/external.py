"""Any PettingZoo ``ParallelEnv`` with continuous actions behind the arrays that training uses.

What such an environment lacks beside a PDE is filled in here: agents without places stand on a ring
of indices, an episode is a seed, the cost is minus the return, and agents that differ in size or
leave early are padded and marked. ``docs/homes.md`` explains each choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Space, flatdim, flatten
from mpi4py import MPI
from pettingzoo import ParallelEnv

from hypemarl import mpi
from hypemarl.config import ConfigError, EnvConfig
from hypemarl.coupling.plant import agree_on_actions
from hypemarl.envs.parallel import Episode, Step
from hypemarl.envs.sources import open_source
from hypemarl.seeding import numpy_generator

FIRST_SEED = {"validation": 1, "held-out": 1000, "scaling": 500_000, "training": 1_000_000}
"""Episodes of the fixed sets have consecutive seeds from here; training draws from its own on."""
LAST_SEED = 2**31 - 1
SCALED_CLIP = 10.0
"""Bound of scaled observations: what random actions never showed may lie far out."""


@dataclass(frozen=True)
class Facts:
    """What every rank knows of the environment that rank 0 holds; n agents."""

    names: tuple[str, ...]
    observation_sizes: np.ndarray  # (n,) without the flag
    action_sizes: np.ndarray  # (n,)
    idle: np.ndarray  # (n, m) unit actions that are zero in the environment's own units
    positions: np.ndarray | None  # (n, gdim), where the environment offers places


class Outcome(NamedTuple):
    """What a step on rank 0 gives."""

    observations: np.ndarray  # (n, k)
    rewards: np.ndarray  # (n,)
    taking_part: np.ndarray  # (n,)
    cut: bool  # whether an agent was truncated


class ExternalEnv:
    """The array calls of :class:`~hypemarl.envs.PDEEnv` over a PettingZoo ``ParallelEnv``.

    Rank 0 of ``comm`` holds the environment; the others make every call and receive its results.
    Observations (n, k) are the agents' flattened ones, zeros up to the longest, then a flag that
    is 1 while the agent takes part. Actions (n, m) are in units of half the agents' own ranges,
    -1 to 1; components beyond an agent's own number are not passed on.

    Raises:
        ConfigError: on every rank, for an environment that cannot be opened or has actions other
            than a bounded ``Box``.
    """

    grid = None

    def __init__(self, config: EnvConfig, comm: MPI.Intracomm) -> None:
        self.config, self.comm, self.control_steps = config, comm, config.control_steps
        self._env: ParallelEnv
        facts = mpi.on_root(comm, self._open)
        self.names, self.n_agents = facts.names, len(facts.names)
        self._observation_sizes, self._action_sizes = facts.observation_sizes, facts.action_sizes
        self.observation_size = int(facts.observation_sizes.max()) + 1
        self.action_size = int(facts.action_sizes.max())
        self.action_low, self.action_high = -np.ones(self.action_size), np.ones(self.action_size)
        self.idle_actions = facts.idle
        self.indexed = facts.positions is None
        self.positions = np.arange(self.n_agents)[:, None].astype(float)
        self.spacing = 1.0
        if facts.positions is not None:
            self.positions, self.spacing = facts.positions, _spacing(facts.positions)
        self.own_features = tuple(range(self.observation_size))
        self.mu_low = self.mu_high = np.zeros(0)
        self.parameter_low = np.array([float(FIRST_SEED["training"])])
        self.parameter_high = np.array([float(LAST_SEED)])
        self._count = 0
        self._middle = np.zeros((self.n_agents, self.observation_size - 1))
        self._scale = np.ones_like(self._middle)
        mpi.on_root(comm, self._measure_scale)

    # --- episodes --------------------------------------------------------------------------------

    def sample_parameters(self, generator: np.random.Generator) -> np.ndarray:
        """The seed (1,) of a training episode, never one of a fixed set. Local."""
        return np.array([float(generator.integers(FIRST_SEED["training"], LAST_SEED))])

    def fixed_parameters(self, size: int, name: str) -> np.ndarray:
        """Seeds (size, 1) of the named set: ``validation`` 1, 2, ..., ``held-out`` 1000, ..."""
        return np.arange(FIRST_SEED[name], FIRST_SEED[name] + size, dtype=np.float64)[:, None]

    def reset_arrays(self, parameters: np.ndarray) -> Episode:
        """Start the episode of the seed ``parameters`` (1,); it has no context mu. Collective."""
        seed = int(np.asarray(parameters).item())
        self._count = 0
        observations = mpi.on_root(self.comm, lambda: self._reset(seed))
        return Episode(observations, np.zeros(0), np.zeros((self.n_agents, 0)))

    def step_arrays(self, actions: np.ndarray) -> Step:
        """One control step under ``actions`` (n, m); rank 0's win. Collective.

        It is ``env.external.repeat`` steps of the environment, whose rewards are summed.
        ``terminated`` says that every agent has. One that goes alone is absorbed: from then on it
        sees zeros, flag included, and earns nothing. The truncation of one agent ends the
        episode for all as truncated, as its future is unknown, not empty.

        Raises:
            ActionError: on every rank, for a wrong shape or NaN.
        """
        actions = agree_on_actions(
            self.comm, actions, self.action_low, self.action_high, self.n_agents
        )
        self._count += 1
        observations, rewards, taking_part, cut = mpi.on_root(
            self.comm, lambda: self._step(actions)
        )
        terminated = not taking_part.any()
        truncated = not terminated and (cut or self._count >= self.control_steps)
        cost = -float(rewards.sum())
        info = {"cost": cost, "local_costs": -rewards, "costs": {}}
        return Step(observations, rewards, terminated, truncated, info)

    # --- places ----------------------------------------------------------------------------------

    def stencil(self, radius: int) -> np.ndarray:
        """Near agents (n, K), -1 where there is none; column K // 2 is the agent itself.

        On the ring of indices these are the ``radius`` before and after, at most everyone once;
        among agents with places the 2 ``radius`` nearest.
        """
        n, reach = self.n_agents, min(radius, self.n_agents // 2)
        if self.indexed:
            near = (np.arange(n)[:, None] + np.arange(-reach, reach + 1)) % n
            if 2 * reach == n:  # an even ring's opposite agent stands at both ends
                near[:, -1] = -1
            return near
        distances = np.linalg.norm(self.positions[:, None] - self.positions, axis=2)
        np.fill_diagonal(distances, -1.0)
        order = np.argsort(distances, axis=1, kind="stable")[:, : 2 * reach + 1]
        missing = 2 * reach + 1 - order.shape[1]
        order = np.pad(order, ((0, 0), (0, missing)), constant_values=-1)
        return np.concatenate([order[:, 1 : reach + 1], order[:, :1], order[:, reach + 1 :]], 1)

    def record(self) -> None:
        """External environments have no fields to draw.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            f"{self.config.external.source}: an external environment has no fields to record or "
            "draw; evaluate and compare its runs instead"
        )

    def close(self) -> None:
        """Close the environment on rank 0."""
        if self.comm.rank == 0:
            self._env.close()

    # --- on rank 0 -------------------------------------------------------------------------------

    def _open(self) -> Facts:
        self._env = env = open_source(self.config.external)
        names = tuple(env.possible_agents)
        self._observation_spaces = [env.observation_space(name) for name in names]
        self._boxes = [_checked_box(name, env.action_space(name)) for name in names]
        sizes = np.array([flatdim(space) for space in self._observation_spaces])
        components = np.array([box.low.size for box in self._boxes])
        idle = np.zeros((len(names), components.max()))
        for agent, box in enumerate(self._boxes):
            middle, half = _middle_and_half(box)
            idle[agent, : box.low.size] = np.clip(-middle / half, -1.0, 1.0)
        places = getattr(env, "agent_positions", None)
        if places is not None:
            places = np.array([np.atleast_1d(places[name]) for name in names], dtype=np.float64)
        return Facts(names, sizes, components, idle, places)

    def _reset(self, seed: int) -> np.ndarray:
        observations, _ = self._env.reset(seed=seed)
        return self._padded(observations, [name in self._env.agents for name in self.names])

    def _step(self, actions: np.ndarray) -> Outcome:
        """The actions held for ``env.external.repeat`` steps, or until the episode ends."""
        outcome = self._step_once(actions)
        for _ in range(self.config.external.repeat - 1):
            if outcome.cut or not outcome.taking_part.any():
                break
            following = self._step_once(actions)
            outcome = following._replace(rewards=outcome.rewards + following.rewards)
        return outcome

    def _step_once(self, actions: np.ndarray) -> Outcome:
        present = set(self._env.agents)
        chosen = {
            name: _in_bounds(self._boxes[i], actions[i])
            for i, name in enumerate(self.names)
            if name in present
        }
        observations, rewards, terminations, truncations, _ = self._env.step(chosen)
        going_on, cut_off = set(self._env.agents), {a for a, cut in truncations.items() if cut}
        taking_part = [
            (name in going_on or name in cut_off) and not terminations.get(name, False)
            for name in self.names
        ]
        earned = np.array([float(rewards.get(name, 0.0)) for name in self.names])
        cut = any(
            part and name in cut_off for name, part in zip(self.names, taking_part, strict=True)
        )
        return Outcome(self._padded(observations, taking_part), earned, np.array(taking_part), cut)

    def _padded(self, observations: dict[str, Any], taking_part: list[bool]) -> np.ndarray:
        padded = np.zeros((self.n_agents, self.observation_size))
        for i, name in enumerate(self.names):
            if not taking_part[i]:
                continue
            size = self._observation_sizes[i]
            own = np.asarray(flatten(self._observation_spaces[i], observations[name]), float)
            own = (own - self._middle[i, :size]) / self._scale[i, :size]
            padded[i, :size] = own if self._unscaled else np.clip(own, -SCALED_CLIP, SCALED_CLIP)
            padded[i, -1] = 1.0
        return padded

    @property
    def _unscaled(self) -> bool:
        return self.config.external.scaling_episodes == 0

    def _measure_scale(self) -> None:
        """Mean and deviation of each agent's observations under random actions of fixed seeds."""
        generator = numpy_generator(0, "external-scaling")
        seen, present = [], []
        for k in range(self.config.external.scaling_episodes):
            observations, going_on = self._reset(FIRST_SEED["scaling"] + k), True
            for _ in range(self.control_steps):
                seen.append(observations[:, :-1])
                present.append(observations[:, -1])
                if not going_on:
                    break
                actions = generator.uniform(-1.0, 1.0, (self.n_agents, self.action_size))
                observations, _, taking_part, cut = self._step(actions)
                going_on = bool(taking_part.any()) and not cut
        if not seen:
            return
        weights, values = np.array(present)[..., None], np.array(seen)
        count = np.maximum(weights.sum(axis=0), 1.0)
        self._middle = (weights * values).sum(axis=0) / count
        spread = np.sqrt((weights * (values - self._middle) ** 2).sum(axis=0) / count)
        self._scale = np.where(spread > 1e-6, spread, 1.0)


def _checked_box(name: str, space: Space) -> Box:
    if not isinstance(space, Box) or not np.issubdtype(space.dtype, np.floating):
        raise ConfigError(
            f"agent {name!r} has actions {space}, expected a Box of floats: the agents here act "
            "continuously; many environments take continuous_actions=True in env.external.options"
        )
    bounded = np.isfinite(space.low).all() and np.isfinite(space.high).all()
    if not bounded or not (space.low < space.high).all():
        raise ConfigError(f"agent {name!r} has actions {space}, expected finite bounds, low < high")
    return space


def _middle_and_half(box: Box) -> tuple[np.ndarray, np.ndarray]:
    low, high = box.low.ravel().astype(np.float64), box.high.ravel().astype(np.float64)
    return 0.5 * (low + high), 0.5 * (high - low)


def _in_bounds(box: Box, unit: np.ndarray) -> np.ndarray:
    """Unit actions (m,) in the agent's own range, shape and type; surplus components drop out."""
    middle, half = _middle_and_half(box)
    action = (middle + half * unit[: len(middle)]).reshape(box.shape).astype(box.dtype)
    return np.clip(action, box.low, box.high)


def _spacing(positions: np.ndarray) -> float:
    """Median distance to the nearest other agent."""
    distances = np.linalg.norm(positions[:, None] - positions, axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(axis=1)
    if not (nearest > 0.0).all():
        raise ConfigError("agent_positions of the environment: two agents have the same place")
    return float(np.median(nearest)) if len(positions) > 1 else 1.0
