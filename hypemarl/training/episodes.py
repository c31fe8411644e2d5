"""Episodes of a policy, interval by interval, and episodes as training keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hypemarl.config import Config
from hypemarl.training.progress import Result
from hypemarl.types import Array

if TYPE_CHECKING:
    from hypemarl.agents.replay import Replay
    from hypemarl.envs.array_env import ArrayEnv, Episode, Step


type Policy = Callable[[Array, Array], Array]
"""Observations (n, k) and mu (n_mu,) -> actions (n, m)."""


class Interval(NamedTuple):
    """A sound control interval: the observations (n, k) before it, actions (n, m), outcome."""

    observations: Array
    actions: Array
    step: Step


class Rollout:
    """An episode of ``policy`` at ``parameters`` (n_parameters,). Collective to make and to run.

    Iterating runs it, once, to its end or to the first step with a fault, which is dropped.

    Attributes:
        episode: its start. failure: why it did not begin or broke off, None while all is sound.
    """

    def __init__(self, env: ArrayEnv, policy: Policy, parameters: Array) -> None:
        self.env, self.policy = env, policy
        self.episode = env.reset_arrays(parameters)
        self.failure = self.episode.fault

    def __iter__(self) -> Iterator[Interval]:
        """The intervals, each made when it is asked for."""
        observations, done = self.episode.observations, self.failure is not None
        while not done:
            actions = np.asarray(self.policy(observations, self.episode.mu))
            step = self.env.step_arrays(actions)
            self.failure = step.fault
            if self.failure is not None:
                return
            yield Interval(observations, actions, step)
            observations, done = step.observations, step.done


class Outcome(NamedTuple):
    """Outcome of a group's control step. A failed step has a reason, and is not learned from."""

    observations: Array
    rewards: Array
    terminated: bool
    done: bool
    cost: float
    failure: str | None
    shares: Array | None = None  # (n,) of the cost, where the environment reports them

    @classmethod
    def of(cls, step: Step) -> Outcome:
        """The outcome of a step. Local."""
        failure, info = step.fault, step.info
        cost = float(info["cost"]) if failure is None else float("inf")
        seen, earned = step.observations, step.rewards
        return cls(seen, earned, step.terminated, step.done, cost, failure, info.get("local_costs"))


@dataclass
class Slot:
    """An episode as training keeps it: of group ``index``, under ``random`` actions or not."""

    index: int
    random: bool
    observations: Array
    mu: Array
    targets: Array
    steps: list[tuple[Array, Array, Array, bool]] = field(default_factory=list)
    shares: list[Array] = field(default_factory=list)
    return_mean: float = 0.0
    cost: float = 0.0
    failure: str | None = None
    done: bool = False

    @classmethod
    def begin(cls, episode: Episode, index: int = 0, *, random: bool = False) -> Slot:
        """The slot of an episode that starts, or that failed at its start."""
        failure = episode.fault
        return cls(
            index, random, episode.observations, episode.mu, episode.targets, failure=failure
        )

    def __post_init__(self) -> None:
        self.first = self.observations
        self.done = self.failure is not None  # one that failed at its start

    def take(self, actions: Array, outcome: Outcome | None) -> None:
        """Append a control step; one that failed ends the episode and is dropped."""
        if outcome is None:
            raise RuntimeError(f"group {self.index} got actions and did not step")
        self.failure = outcome.failure
        self.done = outcome.done or outcome.failure is not None
        if outcome.failure is not None:
            return
        self.return_mean += float(np.mean(outcome.rewards))
        self.cost += outcome.cost
        # Copies: an environment may reuse its arrays.
        rewards, observations = np.array(outcome.rewards), np.array(outcome.observations)
        self.steps.append((actions, rewards, observations, outcome.terminated))
        if outcome.shares is not None:
            self.shares.append(np.array(outcome.shares))
        self.observations = observations

    @property
    def result(self) -> Result:
        """The episode's entry in the records."""
        length = len(self.steps)
        return Result(self.cost, self.return_mean, length, self.failure, self.random)

    def store(
        self, replay: Replay, gradients: Array | None = None, *, keep_costs: bool = False
    ) -> None:
        """Write the episode into the replay, with its action gradients (steps, n, m), and if
        asked with the agents' shares of its cost. One without a step leaves nothing."""
        if not self.steps:
            return
        from hypemarl.agents.replay import Experience

        costs = np.stack(self.shares) if keep_costs and self.shares else None
        start = self.mu, self.targets, self.first
        replay.append(Experience.of_steps(*start, self.steps, gradients, costs))


def collect(
    env: ArrayEnv, config: Config, policy: Policy, parameters: Array, *, keep: bool
) -> tuple[Replay | None, float]:
    """Episodes of the policy in a replay of their own, if ``keep``, and their mean cost.

    The replay has the agents' shares of the cost, where the environment tells them. Collective;
    ranks may differ in ``keep``.
    """
    replay = None
    if keep:
        from hypemarl.agents.replay import Replay

        replay = Replay(env.agent_spec, len(parameters), config.env.control_steps, config.seed)
    costs = []
    for row in parameters:
        rollout = Rollout(env, policy, row)
        slot = Slot.begin(rollout.episode)
        for _, actions, step in rollout:
            slot.take(actions, Outcome.of(step))
        if replay is not None:
            slot.store(replay, keep_costs=True)
        costs.append(slot.cost if rollout.failure is None else np.inf)
    return replay, float(np.mean(costs))
