"""The plant: a solver, its actuators, sensors and rewards, behind one small interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, cast

import numpy as np
from mpi4py import MPI

from hypemarl.types import Row


class ActionError(ValueError):
    """Actions have the wrong shape or hold NaN. Raised on every rank."""


class Plant(Protocol):
    """What an environment needs of a controlled system.

    Arrays are float64, ``(n_agents, ...)``, and identical on every rank of ``comm``; every rank
    enters every call, and the actions of rank 0 win. Attributes with a default may be left out, by
    subclasses and by classes that only look alike (see :func:`optional`).
    """

    comm: MPI.Intracomm
    n_agents: int
    observation_size: int
    #: (observation_size,), -inf where no bound is known
    observation_low: np.ndarray = np.array(-np.inf)
    #: (observation_size,), inf likewise
    observation_high: np.ndarray = np.array(np.inf)
    action_size: int
    action_low: np.ndarray  # (action_size,)
    action_high: np.ndarray  # (action_size,)
    positions: np.ndarray  # (n_agents, gdim)
    spacing: float
    own_features: tuple[int, ...]
    grid: tuple[int, ...] | None
    parameter_names: tuple[str, ...]
    parameter_low: np.ndarray  # (n_parameters,)
    parameter_high: np.ndarray  # (n_parameters,)
    #: names of the terms of StepCosts that infos report
    cost_terms: tuple[str, ...] = ()
    #: numbers and arrays in a step's info beside its costs that infos report, as zeros
    measured: Row = cast("Row", MappingProxyType({}))  # shared: unwritable

    @property
    def targets(self) -> np.ndarray:
        """Reference of the episode at each agent, shape (n_agents, q)."""

    @property
    def baseline(self) -> np.ndarray:
        """Shares of the cost (n,) of a control interval, were the first state to stay; or zeros."""

    @property
    def time(self) -> float:
        """Time since the episode's start."""

    def stencil(self, radius: int) -> np.ndarray:
        """Near agents (n, K), -1 where there is none; column K // 2 is the agent itself."""

    def reset(self, parameters: np.ndarray, seed: int | None = None) -> np.ndarray:
        """Start an episode; returns observations (n, k). Collective."""

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, Row]:
        """One control interval: observations (n, k), local rewards (n,), info. Collective."""

    def snapshot(self) -> Any:
        """The whole state of the episode. Local."""

    def restore(self, state: Any) -> np.ndarray:
        """Return to a snapshot; returns its observations. Collective."""

    def fields(self) -> dict[str, np.ndarray] | None:
        """Global nodal fields for pictures on rank 0, None elsewhere. Collective."""


def optional(plant: Plant, name: str) -> Any:
    """An attribute of the plant, or the default of :class:`Plant` where it has none. Local."""
    return getattr(plant, name, getattr(Plant, name))


@dataclass(frozen=True)
class StepCosts:
    """Cost of a control interval: terms (names -> values) and shares (n_agents,)."""

    terms: dict[str, float]
    shares: np.ndarray

    @property
    def total(self) -> float:
        """The interval's contribution to J: the sum of the agents' shares."""
        return float(self.shares.sum())


def agree_on_actions(
    comm: MPI.Intracomm, actions: np.ndarray, low: np.ndarray, high: np.ndarray, n_agents: int
) -> np.ndarray:
    """Rank 0's actions (n_agents, m) on every rank, saturated at the bounds. Collective.

    Raises:
        ActionError: on every rank, when rank 0's actions have a wrong shape or are not finite.
    """
    message, checked = "", None
    if comm.rank == 0:
        checked = np.asarray(actions, dtype=np.float64)
        message = _action_fault(checked, (n_agents, len(low)))
    if comm.size > 1:
        message, checked = comm.bcast((message, checked), root=0)
    if message or checked is None:
        raise ActionError(message)
    return np.clip(checked, low, high)


def _action_fault(actions: np.ndarray, shape: tuple[int, int]) -> str:
    if actions.shape != shape:
        return f"actions: expected shape {shape} (agents, components), got {actions.shape}"
    fault = non_finite(actions, part="component")
    return f"actions: {fault}" if fault else ""


def non_finite(
    values: np.ndarray, *, part: str = "entry", names: Sequence[Any] | None = None
) -> str:
    """Where the first NaN or infinity of all agents' values (n, ...) stands; empty if none. Local.

    Args:
        part: what the entries of an agent are called; names: of the agents, their numbers if None.
    """
    finite = np.isfinite(values)
    if finite.all():
        return ""
    bad = np.argwhere(~finite)
    agent, *entry = bad[0].tolist()
    who = f"agent {agent}" if names is None else f"agent {names[agent]!r}"
    where = "".join(f", {part} {k}" for k in entry)
    return (
        f"expected finite numbers, got {values[tuple(bad[0])]} from {who}{where} "
        f"({len(bad)} such in all)"
    )
