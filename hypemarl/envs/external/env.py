"""A PettingZoo ``ParallelEnv`` with continuous actions behind the arrays that training uses.

It fills in whatever such an environment lacks beside a PDE: agents without places stand on a ring
of indices, an episode is a seed, the cost is minus the return, and agents that differ in size or
leave early are padded and marked. ``docs/external_environments.md`` explains each choice.
"""

import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box
from mpi4py import MPI
from pettingzoo import ParallelEnv

from hypemarl import mpi
from hypemarl.config import ConfigError, EnvConfig, ExternalConfig, options_of
from hypemarl.coupling.neighbourhood import median_spacing, nearest_stencil
from hypemarl.coupling.plant import agree_on_actions, non_finite
from hypemarl.envs.array_env import ArrayEnv, Episode, EpisodeError, Step
from hypemarl.envs.external.contract import CheckedEnv, ContractError
from hypemarl.envs.external.sources import open_source
from hypemarl.seeding import numpy_generator

PETTINGZOO = {name for name in dir(ParallelEnv) if not name.startswith("_")} | {
    *("agents", "possible_agents", "observation_spaces", "action_spaces")
}
"""Attributes of a PettingZoo ``ParallelEnv`` that an :class:`ExternalEnv` lacks."""
FIRST_SEED = {"validation": 1, "held-out": 1000, "scaling": 500_000, "training": 1_000_000}
"""Episodes of the fixed sets have consecutive seeds from here; training draws from there on."""
LAST_SEED = 2**31 - 1
SCALED_CLIP = 10.0
"""Bound of scaled observations: values beyond the random actions' may lie far out."""


@dataclass(frozen=True)
class Facts:
    """Facts for every rank about the environment that rank 0 holds; n agents."""

    names: tuple[Hashable, ...]
    observation_sizes: np.ndarray  # (n,) without the flag
    action_sizes: np.ndarray  # (n,)
    idle: np.ndarray  # (n, m) unit actions that are zero in the environment's units
    positions: np.ndarray | None  # (n, gdim), where the environment offers places


class Outcome(NamedTuple):
    """Result of a step on rank 0."""

    observations: np.ndarray  # (n, k)
    rewards: np.ndarray  # (n,)
    taking_part: np.ndarray  # (n,)
    cut: bool  # whether an agent was truncated


class ExternalEnv(ArrayEnv):
    """The array calls of :class:`~hypemarl.envs.PDEEnv` over a PettingZoo ``ParallelEnv``.

    Rank 0 of ``comm`` holds the environment; the others make every call and receive its results.
    Observations (n, k) are the agents' flattened ones, zeros up to the longest, then a flag that
    is 1 while the agent takes part. Actions (n, m) are in units of half the agents' ranges,
    -1 to 1; components beyond an agent's number are not passed on.

    It is no PettingZoo environment itself; :attr:`parallel_env` is. NaN or infinity in what that
    gives fails an episode, as a diverged solver does.

    Raises:
        ContractError: on every rank, for an environment that cannot be opened, or that breaks
            PettingZoo's interface: in a trial here, later in a reset or a step.
    """

    def __init__(self, config: EnvConfig, comm: MPI.Intracomm) -> None:
        self.config, self.comm, self.control_steps = config, comm, config.control_steps
        self.external = options_of(config, ExternalConfig)
        self._checked: CheckedEnv  # on rank 0
        facts = mpi.on_root(comm, self._open)
        self.names, self.n_agents = facts.names, len(facts.names)
        self._observation_sizes = facts.observation_sizes
        self.observation_size = int(facts.observation_sizes.max()) + 1
        self.action_size = int(facts.action_sizes.max())
        self.action_low, self.action_high = -np.ones(self.action_size), np.ones(self.action_size)
        self._idle = facts.idle
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
        self._running = self._closed = False
        self._observations = np.zeros((self.n_agents, self.observation_size))
        self._middle = np.zeros((self.n_agents, self.observation_size - 1))
        self._scale = np.ones_like(self._middle)
        mpi.on_root(comm, self._measure_scale if self.external.scaling_episodes else self._try)

    @property
    def idle_actions(self) -> np.ndarray:
        """Unit actions (n, m) that are zero in the units of the environment."""
        return self._idle

    @property
    def parallel_env(self) -> ParallelEnv:
        """The PettingZoo environment, on rank 0 alone."""
        return self._checked.env

    def __getattr__(self, name: str) -> Any:
        """Point to the PettingZoo environment for its attributes."""
        if name in PETTINGZOO:
            raise AttributeError(
                f"an ExternalEnv has no {name!r}: it has the array calls of training, reset_arrays "
                "and step_arrays; the PettingZoo environment that it holds is its parallel_env"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        """Source and number of agents."""
        return f"ExternalEnv({self.external.source}, {self.n_agents} agents)"

    def sample_parameters(self, generator: np.random.Generator) -> np.ndarray:
        """The seed (1,) of a training episode, never one of a fixed set. Local."""
        return np.array([float(generator.integers(FIRST_SEED["training"], LAST_SEED))])

    def fixed_parameters(self, size: int, name: str) -> np.ndarray:
        """Seeds (size, 1) of the named set: ``validation`` 1, 2, ..., ``held-out`` 1000, ..."""
        return np.arange(FIRST_SEED[name], FIRST_SEED[name] + size, dtype=np.float64)[:, None]

    def reset_arrays(self, parameters: np.ndarray) -> Episode:
        """Start the episode of the seed ``parameters`` (1,); it has no context mu. Collective.

        One whose first observations are not finite has a ``failure``.
        """
        seed = int(np.asarray(parameters).item())
        self._count, self._running = 0, False
        observations = mpi.on_root(self.comm, lambda: self._reset(seed))
        fault = non_finite(observations, names=self.names)
        self._observations, self._running = observations, not fault
        failure = f"first observations: {fault}" if fault else None
        return Episode(observations.copy(), np.zeros(0), np.zeros((self.n_agents, 0)), failure)

    def step_arrays(self, actions: np.ndarray) -> Step:
        """One control step under ``actions`` (n, m); rank 0's win. Collective.

        It is ``env.external.repeat`` steps of the environment, whose rewards are summed.
        ``terminated`` says that every agent has. One that goes alone is absorbed: from then on it
        sees zeros, flag included, and earns nothing. The truncation of one agent ends the
        episode for all as truncated, as its future is unknown, not empty. Observations or rewards
        that are not finite terminate it with ``info["failure"]``, and the last good observations.

        Raises:
            ActionError: on every rank, for a wrong shape or NaN.
            EpisodeError: no episode is running.
        """
        if not self._running:
            raise EpisodeError("step: no episode is running; call reset_arrays first")
        actions = agree_on_actions(
            self.comm, actions, self.action_low, self.action_high, self.n_agents
        )
        self._count += 1
        observations, rewards, taking_part, cut = mpi.on_root(
            self.comm, lambda: self._step(actions)
        )
        for what, values in (("observations", observations), ("rewards", rewards)):
            if fault := non_finite(values, names=self.names):
                return self._failed(f"control step {self._count}, {what}: {fault}")
        terminated = not taking_part.any()
        truncated = not terminated and (cut or self._count >= self.control_steps)
        self._running = not (terminated or truncated)
        self._observations = observations
        cost = -float(rewards.sum())
        info = {"cost": cost, "local_costs": -rewards, "costs": {}}
        return Step(observations.copy(), rewards, terminated, truncated, info)

    def _failed(self, reason: str) -> Step:
        self._running = False
        observations, rewards = self._observations.copy(), np.zeros(self.n_agents)
        return Step(observations, rewards, True, False, {"failure": reason})

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
        return nearest_stencil(self.positions, radius)

    def record(self) -> None:
        """External environments have no fields to draw.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            f"{self.external.source}: an external environment has no fields to record or "
            "draw; evaluate and compare its runs instead"
        )

    def close(self) -> None:
        """Close the environment on rank 0; again is fine."""
        if self.comm.rank == 0 and not self._closed:
            self._closed = True
            self._checked.close()

    def _open(self) -> Facts:
        external = self.external
        self._checked = env = CheckedEnv(external.source, lambda: open_source(external))
        components = np.array([box.low.size for box in env.boxes])
        idle = np.zeros((len(env.names), components.max()))
        for agent, box in enumerate(env.boxes):
            middle, half = _middle_and_half(box)
            idle[agent, : box.low.size] = np.clip(-middle / half, -1.0, 1.0)
        return Facts(env.names, env.sizes, components, idle, env.positions())

    def _try(self) -> None:
        """A reset and a step, so that a breach of the interface shows before anything is run."""
        if np.isfinite(self._reset(FIRST_SEED["scaling"])).all():
            self._step_once(self.idle_actions)

    def _reset(self, seed: int) -> np.ndarray:
        observations = self._checked.reset(seed)
        live = self._checked.live
        return self._padded(observations, [name in live for name in self.names])

    def _step(self, actions: np.ndarray) -> Outcome:
        """The actions held for ``env.external.repeat`` steps, or until the episode ends."""
        outcome = self._step_once(actions)
        for _ in range(self.external.repeat - 1):
            if outcome.cut or not outcome.taking_part.any():
                break
            following = self._step_once(actions)
            outcome = following._replace(rewards=outcome.rewards + following.rewards)
        return outcome

    def _step_once(self, actions: np.ndarray) -> Outcome:
        env = self._checked
        present = env.live
        chosen = {
            name: _in_bounds(env.boxes[i], actions[i])
            for i, name in enumerate(self.names)
            if name in present
        }
        observations, rewards, terminations, truncations = env.step(chosen)
        going_on, cut_off = env.live, {a for a, cut in truncations.items() if cut}
        taking_part = [
            (name in going_on or name in cut_off) and not terminations.get(name, False)
            for name in self.names
        ]
        earned = np.array([rewards.get(name, 0.0) for name in self.names])
        cut = any(
            part and name in cut_off for name, part in zip(self.names, taking_part, strict=True)
        )
        return Outcome(self._padded(observations, taking_part), earned, np.array(taking_part), cut)

    def _padded(
        self, observations: Mapping[Hashable, object], taking_part: list[bool]
    ) -> np.ndarray:
        padded = np.zeros((self.n_agents, self.observation_size))
        for i in np.flatnonzero(taking_part).tolist():
            size = self._observation_sizes[i]
            flat = self._checked.flat(i, observations)
            if self.external.scaling_episodes:  # infinity stays, so that it is seen
                scaled = (flat - self._middle[i, :size]) / self._scale[i, :size]
                clipped = np.clip(scaled, -SCALED_CLIP, SCALED_CLIP)
                flat = np.where(np.isfinite(flat), clipped, flat)
            padded[i, :size] = flat
            padded[i, -1] = 1.0
        return padded

    def _measure_scale(self) -> None:
        """Mean and deviation of each agent's observations under random actions of fixed seeds.

        Episodes in which something is not finite do not count, with a warning.

        Raises:
            ContractError: all of them are.
        """
        generator = numpy_generator(0, "external-scaling")
        count, source = self.external.scaling_episodes, self.external.source
        seen: list[np.ndarray] = []
        faults: list[str] = []
        for seed in range(FIRST_SEED["scaling"], FIRST_SEED["scaling"] + count):
            episode = self._seen_at_random(seed, generator)
            fault = non_finite(episode[-1], names=self.names)
            faults += [fault] if fault else []
            seen += [] if fault else episode
        if faults:
            text = f"{source}: {len(faults)} of {count} scaling episodes failed: {faults[0]}"
            if not seen:
                raise ContractError(f"{text}; without a sound one there is no scale")
            warnings.warn(f"{text}; they do not count", stacklevel=2)
        values, weights = np.split(np.array(seen), [-1], axis=2)
        total = np.maximum(weights.sum(axis=0), 1.0)
        self._middle = (weights * values).sum(axis=0) / total
        spread = np.sqrt((weights * (values - self._middle) ** 2).sum(axis=0) / total)
        self._scale = np.where(spread > 1e-6, spread, 1.0)

    def _seen_at_random(self, seed: int, generator: np.random.Generator) -> list[np.ndarray]:
        """Observations (n, k) of an episode under random actions, to the first not finite."""
        observations, going_on, seen = self._reset(seed), True, []
        for _ in range(self.control_steps):
            seen.append(observations)
            if not going_on or not np.isfinite(observations).all():
                break
            actions = generator.uniform(-1.0, 1.0, (self.n_agents, self.action_size))
            observations, _, taking_part, cut = self._step(actions)
            going_on = bool(taking_part.any()) and not cut
        return seen


def _middle_and_half(box: Box) -> tuple[np.ndarray, np.ndarray]:
    low, high = box.low.ravel().astype(np.float64), box.high.ravel().astype(np.float64)
    return 0.5 * (low + high), 0.5 * (high - low)


def _in_bounds(box: Box, unit: np.ndarray) -> np.ndarray:
    """Unit actions (m,) in the agent's range, shape and type; surplus components drop out."""
    middle, half = _middle_and_half(box)
    action = (middle + half * unit[: len(middle)]).reshape(box.shape).astype(box.dtype)
    return np.clip(action, box.low, box.high)


def _spacing(positions: np.ndarray) -> float:
    """Median distance to the nearest other agent."""
    try:
        return median_spacing(positions)
    except ValueError as error:
        raise ConfigError(f"agent_positions of the environment: {error}") from error
