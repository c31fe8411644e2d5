"""An episode of a policy, interval by interval: the one loop that all others are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hypemarl.types import Array

if TYPE_CHECKING:
    from hypemarl.envs.array_env import ArrayEnv, Step

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
