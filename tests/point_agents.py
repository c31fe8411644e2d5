"""Small PettingZoo environments with continuous actions, and what is known of them exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from pettingzoo import ParallelEnv

SPEED = 0.25


class PointAgents(ParallelEnv):
    """Points on a line start together, at a place that the seed decides, and must disperse.

    Agent i belongs to slot i of evenly spaced ones, which only its index says: it sees its own
    place x_i alone. It moves by at most SPEED and earns -|x_i - slot_i|.
    """

    metadata = {"name": "points"}

    def __init__(self, n_agents: int = 4) -> None:
        self.possible_agents = [f"point_{i}" for i in range(n_agents)]
        self.slots = np.linspace(-1.0, 1.0, n_agents)
        self.agents: list[str] = []

    def observation_space(self, agent: str) -> Box:
        return Box(-np.inf, np.inf, (1,), np.float64)

    def action_space(self, agent: str) -> Box:
        return Box(-1.0, 1.0, (1,), np.float64)

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        self.agents = list(self.possible_agents)
        self.x = np.full(len(self.slots), start(seed or 0))
        return self._observe(), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, np.ndarray]) -> tuple[dict, dict, dict, dict, dict]:
        self.x = self.x + SPEED * np.array([actions[agent][0] for agent in self.agents])
        rewards = dict(zip(self.agents, -np.abs(self.x - self.slots), strict=True))
        no = dict.fromkeys(self.agents, False)
        return self._observe(), rewards, no, dict(no), {agent: {} for agent in self.agents}

    def close(self) -> None:
        pass

    def _observe(self) -> dict[str, np.ndarray]:
        return {agent: self.x[[i]] for i, agent in enumerate(self.possible_agents)}


def start(seed: int) -> float:
    return float(np.random.default_rng(seed).uniform(-0.2, 0.2))


def best_return(seed: int, steps: int, n_agents: int = 4) -> float:
    """The largest sum of all rewards: everyone goes straight to its slot."""
    way = np.abs(np.linspace(-1.0, 1.0, n_agents) - start(seed))
    return -float(sum(np.maximum(way - SPEED * t, 0.0).sum() for t in range(1, steps + 1)))


class Uneven(ParallelEnv):
    """Agents of different sizes that leave when they are told to; keeps the actions it received.

    ``ends`` maps a step (from 1) to the agents that then terminate and those that are truncated.
    """

    metadata = {"name": "uneven"}
    sizes = {"long": (2, 2), "short": (1,), "wide": (3,)}
    boxes = {
        "long": Box(np.float32(0.0), np.float32(4.0), (1,)),
        "short": Box(np.array([-1.0, 1.0], np.float32), np.array([3.0, 2.0], np.float32)),
        "wide": Box(-0.5, 0.5, (3, 1), np.float64),
    }

    def __init__(self, ends: dict[int, tuple[str, str]] | None = None) -> None:
        self.possible_agents = list(self.sizes)
        self.ends = {k: (a.split(), b.split()) for k, (a, b) in (ends or {}).items()}
        self.received: list[dict[str, np.ndarray]] = []
        self.agents: list[str] = []

    def observation_space(self, agent: str) -> Box:
        return Box(-np.inf, np.inf, self.sizes[agent], np.float32)

    def action_space(self, agent: str) -> Box:
        return self.boxes[agent]

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        self.agents, self.time = list(self.possible_agents), 0
        return self._observe(self.agents), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, np.ndarray]) -> tuple[dict, dict, dict, dict, dict]:
        assert list(actions) == self.agents
        assert all(self.boxes[agent].contains(action) for agent, action in actions.items())
        self.received.append(actions)
        self.time += 1
        acted = self.agents
        over, cut = self.ends.get(self.time, ((), ()))
        self.agents = [a for a in acted if a not in over and a not in cut]
        return (
            self._observe(acted),
            dict.fromkeys(acted, 1.0),
            {a: a in over for a in acted},
            {a: a in cut for a in acted},
            {a: {} for a in acted},
        )

    def close(self) -> None:
        pass

    def _observe(self, agents: list[str]) -> dict[str, np.ndarray]:
        return {a: np.full(self.sizes[a], self.time + 1.0, np.float32) for a in agents}


class Placed(PointAgents):
    """Points that say where they are: on a circle, in the order 0, 2, 4, 1, 3."""

    def __init__(self) -> None:
        super().__init__(5)
        angles = 2 * np.pi * np.array([0, 3, 1, 4, 2]) / 5
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self.agent_positions = dict(zip(self.possible_agents, circle, strict=True))


class Discretely(PointAgents):
    def action_space(self, agent: str) -> Any:
        return Discrete(3)


class Boundless(PointAgents):
    def action_space(self, agent: str) -> Box:
        return Box(-np.inf, np.inf, (1,), np.float64)


def not_parallel() -> object:
    return object()
