"""Evaluation on fixed parameter sets, and the table over schemes and seeds.

The validation set selects the best checkpoint; the held-out set is for reports only. Both are
pieces of one unscrambled Halton sequence over the box of the parameters, from index 1 and from
index 1000 on: fixed, equal for every run and seed, disjoint, and never hit by training, which draws
uniform random numbers. A smaller set is the beginning of a larger one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import qmc

from hypemarl import seeding
from hypemarl.training.episodes import Policy, Rollout
from hypemarl.training.records import stack_frames, write_trajectory
from hypemarl.types import Array, Record, Row

if TYPE_CHECKING:
    from hypemarl.envs.array_env import ArrayEnv, Step


SetName = Literal["validation", "held-out"]

_FIRST_INDEX: dict[SetName, int] = {"validation": 1, "held-out": 1000}


def late_deviation(values: Array) -> float:
    """Standard deviation of a series (T,) over its last half: what goes on after a transient."""
    return float(np.std(values[len(values) // 2 :]))


@dataclass(frozen=True)
class Metric:
    """A scalar of an episode beside its cost."""

    series: str  # in a step's ``info``
    of_series: Callable[[Array], float]
    of_many: Callable[[Array | Sequence[float]], float] = np.mean  # over parameters and over seeds


METRICS = {
    "drag_mean": Metric("drag", np.mean),
    "drag_momentum_mean": Metric("drag_momentum", np.mean),
    "lift_fluctuation": Metric("lift", late_deviation),
    "jet_power_mean": Metric("jet_power", np.mean),
    "jet_power_gross_mean": Metric("jet_power_gross", np.mean),
    "pumping_power_mean": Metric("pumping_power", np.mean),
    "dissipation_mean": Metric("dissipation", np.mean),
    "curvature_max": Metric("curvature", np.max, np.max),
}
SERIES = tuple(metric.series for metric in METRICS.values())


def metrics_of(series: Record) -> dict[str, float]:
    """The scalars of one episode whose series (T,), of :data:`METRICS`, are there."""
    return {
        name: float(metric.of_series(series[metric.series]))
        for name, metric in METRICS.items()
        if metric.series in series
    }


def parameter_set(low: Array, high: Array, size: int, name: SetName) -> Array:
    """The first ``size`` parameters (size, n_par) of the named fixed set in the box low..high.

    A box that is a point gives one row: its episodes are all the same. Raises ValueError where the
    validation set would run into the held-out one.
    """
    if name == "validation" and size >= _FIRST_INDEX["held-out"]:
        raise ValueError(f"validation_size must be below {_FIRST_INDEX['held-out']}, got {size}")
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    if not (high > low).any():
        return low[None]
    sequence = qmc.Halton(low.size, scramble=False)
    sequence.fast_forward(_FIRST_INDEX[name])
    points = sequence.random(size)
    return low + points * (high - low)  # not qmc.scale: an axis may have low == high


def fixed_set(env: ArrayEnv, size: int, name: SetName) -> Array:
    """The named set (size, n_par) of ``env``: its own where it has such, else of its box."""
    fixed = env.fixed_parameters(size, name)
    if fixed is not None:
        return fixed
    return parameter_set(env.parameter_low, env.parameter_high, size, name)


def constant(actions: Array) -> Policy:
    """The policy of the same actions (n, m) at all times."""
    return lambda observations, mu: actions


def uncontrolled(env: ArrayEnv) -> Policy:
    """The policy of the environment's idle actions: it does nothing."""
    return constant(env.idle_actions)


def hand_made(env: ArrayEnv, share: float = 0.5) -> Policy:
    """Constant actions made by hand: the plant's baseline actions at ``share`` in [-1, 1].

    No optimum of any kind. See :meth:`hypemarl.coupling.plant.Plant.baseline_actions`.
    """
    return constant(env.baseline_actions(share))


def random(env: ArrayEnv, seed: int = 0) -> Policy:
    """Independent uniform actions, the same on every rank and in every run with ``seed``."""
    generator = seeding.numpy_generator(seed, "random-policy")
    shape = (env.n_agents, env.action_size)
    return lambda observations, mu: generator.uniform(env.action_low, env.action_high, shape)


BASELINES: dict[str, Callable[[ArrayEnv], Policy]] = {
    "uncontrolled": uncontrolled,
    "hand_made": hand_made,
    "random": random,
}
"""Policies that need no training, for comparison: name -> maker, which takes the environment."""


@dataclass(frozen=True)
class Evaluation:
    """Results of one policy over E parameters; a failed episode has infinite cost."""

    costs: Array  # (E,) J of each episode
    returns: Array  # (E,) mean over agents of summed rewards
    terms: dict[str, Array]  # (E,) each, as the plant names them; they sum to the costs
    failures: int
    metrics: dict[str, Array]  # (E,) each, see METRICS; NaN where an episode failed
    failure: str | None = None  # why the last of the failed episodes failed

    @property
    def cost(self) -> float:
        """Mean cost over the set."""
        return float(self.costs.mean())

    @property
    def cost_std(self) -> float:
        """Standard deviation of the cost over the set; infinite where an episode failed."""
        return float(self.costs.std()) if np.isfinite(self.costs).all() else float("inf")


@dataclass
class _Episode:
    """Sums over the control intervals of one episode, and its series."""

    cost: float = 0.0
    total: float = 0.0
    terms: dict[str, float] = field(default_factory=dict)
    series: dict[str, list[Array]] = field(default_factory=dict)
    failure: str | None = None

    def add(self, step: Step) -> None:
        self.cost += step.info["cost"]
        self.total += float(np.mean(step.rewards))
        for name, value in step.info.get("costs", {}).items():
            self.terms[name] = self.terms.get(name, 0.0) + float(value)
        for name in SERIES:
            if name in step.info:
                self.series.setdefault(name, []).append(np.atleast_1d(step.info[name]))

    def joined(self) -> dict[str, Array]:
        return {name: np.concatenate(parts) for name, parts in self.series.items()}

    def metrics(self) -> dict[str, float]:
        metrics = metrics_of(self.joined())
        return dict.fromkeys(metrics, np.nan) if self.failed else metrics

    @property
    def failed(self) -> bool:
        return self.failure is not None


def evaluate_policy(env: ArrayEnv, policy: Policy, parameters: Array) -> Evaluation:
    """Run one episode for each row of ``parameters`` (E, n_par). Collective."""
    episodes = [_run_episode(env, policy, row) for row in parameters]
    metrics = [episode.metrics() for episode in episodes]
    return Evaluation(
        costs=np.array([np.inf if e.failed else e.cost for e in episodes]),
        returns=np.array([-np.inf if e.failed else e.total for e in episodes]),
        terms={
            name: np.array([np.inf if e.failed else e.terms.get(name, 0.0) for e in episodes])
            for name in _names([episode.terms for episode in episodes])
        },
        failures=sum(episode.failed for episode in episodes),
        failure=next((e.failure for e in reversed(episodes) if e.failed), None),
        metrics={
            name: np.array([entry.get(name, np.nan) for entry in metrics])
            for name in _names(metrics)
        },
    )


def _names(entries: Sequence[Record]) -> list[str]:
    """All keys in the order in which they first appear."""
    return list(dict.fromkeys(name for entry in entries for name in entry))


def _run_episode(env: ArrayEnv, policy: Policy, parameters: Array) -> _Episode:
    rollout, result = Rollout(env, policy, parameters), _Episode()
    for interval in rollout:
        result.add(interval.step)
    result.failure = rollout.failure
    return result


def record_trajectory(
    env: ArrayEnv, policy: Policy, parameters: Array, path: str | Path | None, scheme: str
) -> Row:
    """Run one episode, keep every frame, write it on rank 0 where ``path`` is given. Collective.

    Returns the trajectory (keys as in :func:`hypemarl.training.records.read_trajectory`) on
    rank 0 and a dictionary without the field arrays elsewhere. An episode that fails ends there.
    Raises RuntimeError: on every rank: the episode cannot begin.
    """
    rollout, sums = Rollout(env, policy, parameters), _Episode()
    if rollout.failure:
        where = np.asarray(parameters).tolist()
        raise RuntimeError(f"the episode at {where} failed: {rollout.failure}")
    first = env.record()
    frames, actions = [first], [np.zeros((env.n_agents, env.action_size))]
    costs = [0.0]
    for interval in rollout:
        sums.add(interval.step)
        frames.append(env.record())
        actions.append(interval.actions)
        costs.append(interval.step.info["cost"])
    trajectory: Row = {
        "actions": np.asarray(actions),
        "costs": np.asarray(costs),
        "mu": np.asarray(rollout.episode.mu),
        "scheme": np.asarray(scheme),
        **sums.joined(),
    }
    if first is None:
        return trajectory
    trajectory |= stack_frames([frame for frame in frames if frame is not None])
    if path is not None:
        write_trajectory(path, trajectory)
    return trajectory
