"""A plant as a PettingZoo environment, and the same environment as plain arrays for training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from pettingzoo import ParallelEnv

from hypemarl.config import EnvConfig
from hypemarl.coupling.plant import ActionError, Plant
from hypemarl.seeding import numpy_generator
from hypemarl.solvers.errors import SolverDiverged


@dataclass(frozen=True)
class Episode:
    """The start of an episode: observations (n, k), context mu (n_mu,), reference (n, q)."""

    observations: np.ndarray
    mu: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class Step:
    """One control interval: observations (n, k), rewards (n,), how it ended, and what it cost."""

    observations: np.ndarray
    rewards: np.ndarray
    terminated: bool
    truncated: bool
    info: dict[str, Any]


class PDEEnv(ParallelEnv):
    """Agents on a controlled PDE. Every rank of the plant's communicator makes every call.

    ``reset``/``step`` speak PettingZoo's dictionaries; ``reset_arrays``/``step_arrays`` the same
    with arrays of shape (n_agents, ...). The horizon truncates an episode; a diverged solver or a
    cost per interval above ``divergence_limit`` terminates it with ``info["failure"]`` saying why,
    and such a step must not be learned from: its observations are the last good ones.
    """

    def __init__(self, plant: Plant, config: EnvConfig) -> None:
        self.plant = plant
        self.config = config
        self.metadata = {"name": f"{config.system}_v0", "render_modes": []}
        self.render_mode = None
        self.comm = plant.comm
        self.n_agents = plant.n_agents
        self.observation_size, self.action_size = plant.observation_size, plant.action_size
        self.action_low, self.action_high = plant.action_low, plant.action_high
        self.positions, self.spacing, self.grid = plant.positions, plant.spacing, plant.grid
        self.own_features = plant.own_features
        self.stencil = plant.stencil
        self.parameter_low, self.parameter_high = plant.parameter_low, plant.parameter_high
        self.control_steps = config.control_steps
        self._context = _context_columns(plant.parameter_names, config.context)
        self.mu_low = plant.parameter_low[self._context]
        self.mu_high = plant.parameter_high[self._context]
        self._near = plant.stencil(config.reward_radius)
        self._generator = numpy_generator(0, "environment")
        self._count = 0
        self._observations = np.zeros((plant.n_agents, plant.observation_size))
        self.possible_agents = [f"agent_{i}" for i in range(plant.n_agents)]
        self.agents: list[str] = []
        self._spaces()

    # --- arrays ----------------------------------------------------------------------------------

    def sample_parameters(self, generator: np.random.Generator) -> np.ndarray:
        """Parameters of an episode (n_parameters,): uniform, or out of the plant's bank. Local."""
        bank = getattr(self.plant, "parameter_bank", None)
        if bank is not None:
            return bank[generator.integers(len(bank))].copy()
        return generator.uniform(self.parameter_low, self.parameter_high)

    def reset_arrays(self, parameters: np.ndarray) -> Episode:
        """Start an episode at ``parameters`` (n_parameters,). Collective."""
        self._count = 0
        self._observations = self.plant.reset(parameters)
        mu = np.asarray(parameters, dtype=np.float64)[self._context]
        return Episode(self._observations, mu, self.plant.targets)

    def step_arrays(self, actions: np.ndarray) -> Step:
        """One control interval under ``actions`` (n, m); rank 0's win. Collective.

        Raises:
            ActionError: on every rank, for a wrong shape or NaN.
        """
        try:
            observations, rewards, plant_info = self.plant.step(actions)
        except SolverDiverged as error:
            return self._failed(str(error))
        costs = plant_info["costs"]
        if not costs.total <= self.config.divergence_limit:
            limit = self.config.divergence_limit
            return self._failed(f"cost of the interval {costs.total:g} above the limit {limit:g}")
        self._count += 1
        self._observations = observations
        info = {"cost": costs.total, "local_costs": costs.shares, **plant_info}
        info["costs"] = costs.terms
        truncated = self._count >= self.control_steps
        return Step(observations, self.shape_rewards(rewards), False, truncated, info)

    def snapshot(self) -> tuple[Any, int]:
        """The episode's whole state. Local."""
        return self.plant.snapshot(), self._count

    def restore(self, state: tuple[Any, int]) -> np.ndarray:
        """Return to a snapshot; returns its observations (n, k). Collective."""
        self._count = state[1]
        self._observations = self.plant.restore(state[0])
        return self._observations

    def record(self) -> dict[str, Any] | None:
        """Fields for pictures on rank 0 (see Plant.fields, with positions and time). Collective."""
        fields = self.plant.fields()
        if fields is None:
            return None
        return {**fields, "positions": self.positions, "time": self.plant.time}

    # --- PettingZoo ------------------------------------------------------------------------------

    def observation_space(self, agent: str) -> Box:
        """Box of shape (observation_size,): patch means, non-negative where they are densities."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Box:
        """Box of shape (action_size,) between the amplitude bounds."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Start an episode; ``options={"parameters": array}`` fixes them, else they are drawn."""
        if seed is not None:
            self._generator = numpy_generator(seed, "environment")
        given = (options or {}).get("parameters")
        parameters = self.sample_parameters(self._generator) if given is None else given
        episode = self.reset_arrays(np.asarray(parameters, dtype=np.float64))
        self.agents = list(self.possible_agents)
        infos = {
            a: {"mu": episode.mu, "position": p}
            for a, p in zip(self.agents, self.positions, strict=True)
        }
        return self._by_agent(episode.observations), infos

    def step(self, actions: dict[str, np.ndarray]) -> tuple[dict, dict, dict, dict, dict]:
        """PettingZoo's step; every agent in ``agents`` must act.

        Raises:
            ActionError: an agent is missing, unknown, or its action has a wrong shape or NaN.
        """
        if set(actions) != set(self.agents):
            missing = sorted(set(self.agents) - set(actions))
            unknown = sorted(set(actions) - set(self.agents))
            raise ActionError(f"actions: missing agents {missing}, unknown agents {unknown}")
        step = self.step_arrays(_stack([actions[a] for a in self.agents], self.action_size))
        agents = self.agents
        if step.terminated or step.truncated:
            self.agents = []
        return (
            {a: o.copy() for a, o in zip(agents, step.observations, strict=True)},
            {a: float(r) for a, r in zip(agents, step.rewards, strict=True)},
            dict.fromkeys(agents, step.terminated),
            dict.fromkeys(agents, step.truncated),
            {a: dict(step.info) for a in agents},
        )

    def state(self) -> np.ndarray:
        """All agents' observations, flattened."""
        return self._observations.ravel().copy()

    def close(self) -> None:
        """Nothing to release: PETSc is not used, arrays go with the object."""

    # --- parts -----------------------------------------------------------------------------------

    def _spaces(self) -> None:
        shape = (self.observation_size,)
        self.observation_spaces = {
            a: Box(-np.inf, np.inf, shape, np.float64) for a in self.possible_agents
        }
        self.action_spaces = {
            a: Box(self.action_low, self.action_high, dtype=np.float64)
            for a in self.possible_agents
        }

    def _by_agent(self, values: np.ndarray) -> dict[str, np.ndarray]:
        return {a: v.copy() for a, v in zip(self.possible_agents, values, strict=True)}

    def shape_rewards(self, local: np.ndarray) -> np.ndarray:
        """Rewards (n,) of the configured kind from minus the local costs (n,). Local."""
        if self.config.reward_baseline:
            local = local + self.plant.baseline
        kind, everyone = self.config.reward, np.full_like(local, local.mean())
        if kind == "own":
            return local
        if kind == "global":
            return everyone
        if kind == "mixed":
            return self.config.reward_mix * everyone + (1.0 - self.config.reward_mix) * local
        near = np.where(self._near >= 0, local[self._near], np.nan)
        return np.nanmean(near, axis=1)

    def _failed(self, reason: str) -> Step:
        rewards = np.full(self.n_agents, -self.config.divergence_limit / self.n_agents)
        time = self._count * self.config.control_interval
        info = {"failure": f"control step {self._count}, time {time:g}: {reason}"}
        return Step(self._observations, rewards, True, False, info)


def _context_columns(names: tuple[str, ...], kinds: tuple[str, ...]) -> np.ndarray:
    """Columns of the parameters that make up mu; ``target`` stands for all target_* columns."""
    known = sorted({name.rsplit("_", 1)[0] for name in names})
    unknown = [kind for kind in kinds if kind not in known]
    if unknown:
        raise ValueError(f"context: expected names out of {known}, got {unknown}")
    return np.array([k for k, name in enumerate(names) if name.rsplit("_", 1)[0] in kinds], int)


def _stack(actions: list[np.ndarray], size: int) -> np.ndarray:
    """Actions of all agents (n, size); a wrong shape is reported with the agent's index."""
    for agent, action in enumerate(actions):
        if np.shape(action) != (size,):
            raise ActionError(
                f"actions: expected shape ({size},) of each agent, got {np.shape(action)} "
                f"from agent {agent}"
            )
    return np.array(actions, dtype=np.float64)
