"""The contract of training with an environment: agents as arrays of shape (n_agents, ...)."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from hypemarl.config import EnvConfig
from hypemarl.config.errors import UnsupportedError
from hypemarl.coupling.plant import Plant, non_finite
from hypemarl.coupling.spec import AgentSpec
from hypemarl.mpi import Comm
from hypemarl.types import Array, Row


class EpisodeError(RuntimeError):
    """A step without a running episode. Raised on every rank."""


@dataclass(frozen=True)
class Episode:
    """The start of an episode: observations (n, k), context mu (n_mu,), reference (n, q).

    With a ``failure`` there is none: the observations mean nothing, and no step may follow.
    """

    observations: Array
    mu: Array
    targets: Array
    failure: str | None = None

    @property
    def fault(self) -> str | None:
        """Reason why no step may be made: the failure, or observations that are not finite."""
        if self.failure is not None:
            return self.failure
        where = non_finite(np.asarray(self.observations))
        return f"first observations: {where}" if where else None


@dataclass(frozen=True)
class Step:
    """One control interval: observations (n, k), rewards (n,), how it ended, and its cost.

    ``info`` has ``cost``, ``costs`` (its terms) and where they are known ``local_costs`` (n,), or
    only ``failure``: the reason why the step must not be learned from.
    """

    observations: Array
    rewards: Array
    terminated: bool
    truncated: bool
    info: Row

    @property
    def done(self) -> bool:
        """True where the episode is over."""
        return self.terminated or self.truncated

    @property
    def failure(self) -> str | None:
        """The reason that the environment gives for a failed step, None for a sound one."""
        return self.info.get("failure")

    @property
    def fault(self) -> str | None:
        """Reason why the step must not be used: the failure, or numbers that are not finite."""
        if self.failure is not None:
            return self.failure
        for name, values in (("observations", self.observations), ("rewards", self.rewards)):
            if where := non_finite(np.asarray(values)):
                return f"{name}: {where}"
        return None


class ArrayEnv(Protocol):
    """An environment of n agents with m actions and k observed numbers each.

    Arrays are float64 and identical on every rank of ``comm``; every rank enters every collective
    call, and the actions of rank 0 win. A class that inherits from this one gets the defaults:
    agents on no grid, at real places, no plant, zeros as idle actions, fixed sets out of the box.
    """

    config: EnvConfig
    comm: Comm
    n_agents: int
    observation_size: int
    action_size: int
    action_low: Array  # (m,)
    action_high: Array  # (m,)
    positions: Array  # (n, gdim)
    spacing: float
    own_features: tuple[int, ...]
    mu_low: Array  # (n_mu,)
    mu_high: Array  # (n_mu,)
    parameter_low: Array  # (n_parameters,)
    parameter_high: Array  # (n_parameters,)
    control_steps: int
    #: shape of the agents' grid, where they form one
    grid: tuple[int, ...] | None = None
    #: whether positions are mere indices
    indexed: bool = False
    #: the controlled system, where the environment is one of this package's
    plant: Plant | None = None

    @cached_property
    def agent_spec(self) -> AgentSpec:
        """Sizes, bounds and places, as far as the agents may know them."""
        return AgentSpec(**{item.name: getattr(self, item.name) for item in fields(AgentSpec)})

    @property
    def idle_actions(self) -> Array:
        """(n, m) actions that do nothing."""
        return np.zeros((self.n_agents, self.action_size))

    def baseline_actions(self, share: float) -> Array:
        """Constant actions (n, m) to compare with: ``share`` of the upper bounds. Local."""
        return np.tile(share * self.action_high, (self.n_agents, 1))

    def stencil(self, radius: int) -> np.ndarray:
        """Near agents (n, K), -1 where there is none; column K // 2 is the agent itself."""
        raise NotImplementedError

    def sample_parameters(self, generator: np.random.Generator) -> Array:
        """Draw the parameters (n_parameters,) of a training episode. Local."""
        return generator.uniform(self.parameter_low, self.parameter_high)

    def fixed_parameters(self, size: int, name: str) -> Array | None:
        """The parameters (size, n_parameters) of the set ``validation`` or ``held-out``.

        None lets :func:`hypemarl.training.evaluation.fixed_set` take them from the box.
        """
        return None

    def shape_rewards(self, local: Array) -> Array:
        """Rewards (n,) of the configured kind from minus the local costs (n,). Local."""
        return local

    def reset_arrays(self, parameters: Array) -> Episode:
        """Start an episode at ``parameters`` (n_parameters,). Collective."""
        raise NotImplementedError

    def step_arrays(self, actions: Array) -> Step:
        """One control interval under ``actions`` (n, m). Collective.

        Raises:
            ActionError: on every rank, for a wrong shape or NaN.
            EpisodeError: no episode is running.
        """
        raise NotImplementedError

    def snapshot(self) -> Any:
        """The whole state of the episode, for :meth:`restore`. Local; optional."""
        raise TypeError(f"{type(self).__name__} cannot keep the state of an episode")

    def restore(self, state: Any) -> Array:
        """Return to a snapshot; returns its observations (n, k). Collective; optional."""
        raise TypeError(f"{type(self).__name__} cannot return to a snapshot")

    def record(self) -> Row | None:
        """Fields for pictures on rank 0, None elsewhere. Collective."""
        raise NotImplementedError

    def close(self) -> None:
        """Release the resources; again is fine."""


def plant_of(env: ArrayEnv) -> Plant:
    """The plant of ``env``. Local.

    Raises:
        UnsupportedError: it has none, as external environments.
    """
    if env.plant is None:
        raise UnsupportedError(
            f"expected an environment with a plant, got {type(env).__name__} "
            f"(env.system={env.config.system}), which has none"
        )
    return env.plant
