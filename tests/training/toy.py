"""A tiny linear environment with the array calls of the real ones, without finite elements.

Agent i moves its own number x_i towards a common target mu and sees its neighbours' numbers too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hypemarl.config import Config, EnvConfig, from_dict
from hypemarl.coupling.neighbourhood import grid_stencil
from hypemarl.envs import ArrayEnv, Episode, Step

N = 4


class ToyEnv(ArrayEnv):
    n_agents, observation_size, action_size = N, 3, 1
    action_low, action_high = np.array([-1.0]), np.array([1.0])
    positions = np.linspace(-0.75, 0.75, N)[:, None]
    spacing = 0.5
    mu_low, mu_high = np.array([-0.5]), np.array([0.5])
    parameter_low, parameter_high = mu_low, mu_high
    own_features = (1,)
    grid = (N,)

    def __init__(self, config: EnvConfig, comm: Any = None) -> None:
        self.config, self.comm, self.control_steps = config, comm, config.control_steps
        self.fail_at: Callable[[int, int], bool] = lambda episode, step: False
        self.on_step: Callable[[int, int], None] = lambda episode, step: None
        self.episodes, self.closed = 0, False

    def stencil(self, radius: int) -> np.ndarray:
        return grid_stencil((N,), radius)

    def reset_arrays(self, parameters: np.ndarray) -> Episode:
        self.x, self.target, self.time = np.zeros(N), float(parameters[0]), 0
        self.episodes += 1
        return Episode(self._observe(), np.array(parameters), np.full((N, 1), self.target))

    def step_arrays(self, actions: np.ndarray) -> Step:
        assert actions.shape == (N, 1)
        if self.comm is not None and self.comm.size > 1:
            actions = self.comm.bcast(actions, root=0)
        self.on_step(self.episodes, self.time)
        self.x = self.x + 0.25 * actions[:, 0]
        self.time += 1
        local = 0.5 * (self.x - self.target) ** 2
        info = {
            "cost": float(local.sum()),
            "costs": {"tracking": float(local.sum()), "control": 0.0},
            "local_costs": local,
        }
        failed = self.fail_at(self.episodes, self.time)
        if failed:
            info["failure"] = "toy diverged"
        return Step(self._observe(), -local, failed, self.time >= self.control_steps, info)

    def record(self) -> dict[str, Any] | None:
        if self.comm is not None and self.comm.rank:
            return None
        points = np.linspace(-1, 1, 5)[:, None]
        return {
            "points": points,
            "cells": np.stack([np.arange(4), np.arange(1, 5)], axis=1),
            "density": np.full(5, self.x.mean()),
            "target": np.full(5, self.target),
            "velocity": np.zeros((5, 1)),
            "positions": self.positions,
            "kind": "density",
            "time": 0.1 * self.time,
        }

    def close(self) -> None:
        self.closed = True

    def _observe(self) -> np.ndarray:
        padded = np.pad(self.x, 1)
        return np.stack([padded[:-2], padded[1:-1], padded[2:]], axis=1)


class LateFailures(ToyEnv):
    """Fails from its 21st episode on: with ``toy_config``, in the last validation."""

    def __init__(self, config: EnvConfig, comm: Any = None) -> None:
        super().__init__(config, comm)
        self.fail_at = lambda episode, step: episode >= 21


def toy_config(**training: Any) -> Config:
    """A configuration that trains the toy in about a second."""
    agent = {
        "encoding_size": 8,
        "hyper_width": 8,
        "actor_hidden": [8],
        "critic_hidden": [8],
        "actor_rate": 3e-3,
        "critic_rate": 1e-2,
        "gamma": 0.5,
        "credit": "local",
    }
    loop = {
        "episodes": 8,
        "random_episodes": 2,
        "validation_every": 2,
        "validation_size": 3,
        "held_out_size": 4,
        "checkpoint_every": 4,
        "tensorboard": False,
        "device": "cpu",
    }
    env = {
        "mesh": {"shape": "interval"},
        "agents": [N],
        "control_steps": 5,
        "density": {
            "initial_low": [0.0],
            "initial_high": [0.0],
            "target_low": [-0.5],
            "target_high": [0.5],
        },
    }
    return from_dict({"scenario": "toy", "env": env, "agent": agent, "training": loop | training})
