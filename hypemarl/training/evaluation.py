"""Evaluation on fixed parameter sets, and the table over schemes and seeds.

The validation set selects the best checkpoint; the held-out set is for reports only. Both are
pieces of one unscrambled Halton sequence over the box of the parameters, from index 1 and from
index 1000 on: fixed, equal for every run and seed, disjoint, and never hit by training, which draws
uniform random numbers. A smaller set is the beginning of a larger one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from hypemarl import seeding
from hypemarl.training.records import write_trajectory

Array = NDArray[np.float64]
Policy = Callable[[Array, Array], Array]  # observations (n, k), mu (n_mu,) -> actions (n, m)
SetName = Literal["validation", "held-out"]

_FIRST_INDEX: dict[SetName, int] = {"validation": 1, "held-out": 1000}
COST_TERMS = ("tracking", "boundary", "control", "control_gradient")


def parameter_set(low: Array, high: Array, size: int, name: SetName) -> Array:
    """The first ``size`` parameters (size, n_par) of the named fixed set in the box low..high.

    Raises ValueError where the validation set would run into the held-out one.
    """
    if name == "validation" and size >= _FIRST_INDEX["held-out"]:
        raise ValueError(f"validation_size must be below {_FIRST_INDEX['held-out']}, got {size}")
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    if low.size == 0:
        return np.zeros((size, 0))
    sequence = qmc.Halton(low.size, scramble=False)
    sequence.fast_forward(_FIRST_INDEX[name])
    points = sequence.random(size)
    return low + points * (high - low)  # not qmc.scale: an axis may have low == high


def uncontrolled(env: Any) -> Policy:
    """The policy that does nothing."""
    zeros = np.zeros((env.n_agents, env.action_size))
    return lambda observations, mu: zeros


def constant(env: Any, share: float = 0.5) -> Policy:
    """Every agent pushes all the time with ``share`` (in [-1, 1]) of its upper bound."""
    actions = np.tile(share * np.asarray(env.action_high), (env.n_agents, 1))
    return lambda observations, mu: actions


def random(env: Any, seed: int = 0) -> Policy:
    """Independent uniform actions, the same on every rank and in every run with ``seed``."""
    generator = seeding.numpy_generator(seed, "random-policy")
    shape = (env.n_agents, env.action_size)
    return lambda observations, mu: generator.uniform(env.action_low, env.action_high, shape)


@dataclass(frozen=True)
class Evaluation:
    """Results of one policy over E parameters; a failed episode has infinite cost."""

    costs: Array  # (E,) J of each episode
    returns: Array  # (E,) mean over agents of summed rewards
    terms: dict[str, Array]  # (E,) each, they sum to the costs
    failures: int

    @property
    def cost(self) -> float:
        """Mean cost over the set."""
        return float(self.costs.mean())

    @property
    def cost_std(self) -> float:
        """Standard deviation of the cost over the set; infinite where an episode failed."""
        return float(self.costs.std()) if np.isfinite(self.costs).all() else float("inf")


def evaluate_policy(env: Any, policy: Policy, parameters: Array) -> Evaluation:
    """Run one episode for each row of ``parameters`` (E, n_par). Collective."""
    episodes = [_run_episode(env, policy, row) for row in parameters]
    return Evaluation(
        costs=np.array([episode[0] for episode in episodes]),
        returns=np.array([episode[1] for episode in episodes]),
        terms={
            name: np.array([episode[2].get(name, np.nan) for episode in episodes])
            for name in episodes[0][2]
        },
        failures=sum(not np.isfinite(episode[0]) for episode in episodes),
    )


def failure_of(step: Any) -> str | None:
    """Why a step must not be used, or None where it is sound."""
    if "failure" in step.info:
        return str(step.info["failure"])
    for name, values in (("observations", step.observations), ("rewards", step.rewards)):
        if not np.isfinite(values).all():
            return f"{name} are not finite"
    return None


def _run_episode(env: Any, policy: Policy, parameters: Array) -> tuple[float, float, dict]:
    episode = env.reset_arrays(parameters)
    observations, cost, total, done = episode.observations, 0.0, 0.0, False
    terms: dict[str, float] = dict.fromkeys(COST_TERMS, 0.0)
    while not done:
        step = env.step_arrays(policy(observations, episode.mu))
        if failure_of(step) is not None:
            return np.inf, -np.inf, dict.fromkeys(terms, np.inf)
        cost += step.info["cost"]
        total += float(np.mean(step.rewards))
        for name, value in step.info.get("costs", {}).items():
            terms[name] = terms.get(name, 0.0) + float(value)
        observations, done = step.observations, step.terminated or step.truncated
    return cost, total, terms


def record_trajectory(
    env: Any, policy: Policy, parameters: Array, path: str | Path | None, scheme: str
) -> dict[str, Any]:
    """Run one episode, keep every frame, write it on rank 0 where ``path`` is given. Collective.

    Returns the trajectory (keys as in :func:`hypemarl.training.records.read_trajectory`) on
    rank 0 and a dictionary without the field arrays elsewhere. An episode that fails ends there.
    """
    episode = env.reset_arrays(parameters)
    observations = episode.observations
    frames, actions = [env.record()], [np.zeros((env.n_agents, env.action_size))]
    costs, done = [0.0], False
    while not done:
        action = np.asarray(policy(observations, episode.mu))
        step = env.step_arrays(action)
        if failure_of(step) is not None:
            break
        frames.append(env.record())
        actions.append(action)
        costs.append(step.info["cost"])
        observations, done = step.observations, step.terminated or step.truncated
    trajectory = {"actions": actions, "costs": costs, "mu": episode.mu, "scheme": scheme}
    trajectory = {name: np.asarray(value) for name, value in trajectory.items()}
    if frames[0] is None:
        return trajectory
    trajectory |= {
        name: np.asarray(frames[0][name]) for name in ("points", "cells", "target", "positions")
    }
    trajectory |= {
        name: np.stack([frame[name] for frame in frames]) for name in ("density", "velocity")
    }
    trajectory["times"] = np.array([frame["time"] for frame in frames])
    if path is not None:
        write_trajectory(path, trajectory)
    return trajectory
