"""The plant: a solver, its actuators, sensors and rewards, behind one small interface."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from mpi4py import MPI

from hypemarl.coupling.adjoint import PlantAdjoint
from hypemarl.coupling.local_model import LocalModel
from hypemarl.coupling.neighbourhood import grid_stencil, median_spacing, nearest_stencil
from hypemarl.types import Record, Row


class ActionError(ValueError):
    """Actions have the wrong shape or hold NaN. Raised on every rank."""


class Plant(ABC):
    """A controlled system: a solver with its actuators, sensors and rewards.

    A new system is a subclass. Its ``__init__`` sets the attributes without a default below, and it
    defines ``reset``, ``step``, ``snapshot``, ``restore`` and ``time``; all else has a default.
    Arrays are float64, ``(n_agents, ...)``, and identical on every rank of ``comm``; every rank
    enters every call, and the actions of rank 0 win.
    """

    comm: MPI.Intracomm
    positions: np.ndarray  # (n_agents, gdim)
    observation_size: int
    action_low: np.ndarray  # (action_size,)
    action_high: np.ndarray  # (action_size,)
    #: of an episode's parameters; ``env.context`` picks mu by the part before the last ``_``
    parameter_names: tuple[str, ...]
    parameter_low: np.ndarray  # (n_parameters,)
    parameter_high: np.ndarray  # (n_parameters,)
    #: (K, n_parameters) to draw training episodes from, None for the whole box
    parameter_bank: np.ndarray | None = None
    #: (observation_size,), -inf where no bound is known
    observation_low: np.ndarray = np.array(-np.inf)
    #: (observation_size,), inf likewise
    observation_high: np.ndarray = np.array(np.inf)
    #: agents per axis in C order where they form a grid
    grid: tuple[int, ...] | None = None
    #: names of the terms of StepCosts that infos report
    cost_terms: tuple[str, ...] = ()
    #: numbers and arrays in a step's info beside its costs that infos report, as zeros
    measured: Record = MappingProxyType({})
    #: of pictures: the scene that draws :meth:`fields` (see hypemarl.visualisation.scenes)
    kind: str = "field"
    #: name of the first component of an action in pictures
    action_label: str = "action"
    #: whether pictures show an episode beside the one without control
    shown_uncontrolled: bool = False

    @property
    def n_agents(self) -> int:
        """Number of agents."""
        return len(self.positions)

    @property
    def action_size(self) -> int:
        """Numbers that one agent sets."""
        return len(self.action_low)

    @cached_property
    def spacing(self) -> float:
        """Typical distance of neighbouring agents."""
        return median_spacing(self.positions)

    @cached_property
    def own_features(self) -> tuple[int, ...]:
        """Columns of an observation that belong to the agent's own patch; by default all."""
        return tuple(range(self.observation_size))

    @property
    def angles(self) -> np.ndarray | None:
        """Angles (n,) of agents on a body, ascending; None where they stand elsewhere."""
        return None

    @property
    def targets(self) -> np.ndarray:
        """Reference of the episode at each agent, shape (n, q); by default zeros (n, 1)."""
        return np.zeros((self.n_agents, 1))

    @property
    def baseline(self) -> np.ndarray:
        """Shares of the cost (n,) of an interval in which the first state stays; or zeros."""
        return np.zeros(self.n_agents)

    @property
    @abstractmethod
    def time(self) -> float:
        """Time since the episode's start."""

    def stencil(self, radius: int) -> np.ndarray:
        """Near agents (n, K), -1 where there is none; column K // 2 is the agent itself. Local.

        By default those of the grid, or the nearest ones.
        """
        if self.grid is not None:
            return grid_stencil(self.grid, radius)
        return nearest_stencil(self.positions, radius)

    def sample_parameters(self, generator: np.random.Generator) -> np.ndarray:
        """Parameters (n_parameters,) of a training episode: uniform, or out of the bank. Local."""
        if self.parameter_bank is not None:
            return self.parameter_bank[generator.integers(len(self.parameter_bank))].copy()
        return generator.uniform(self.parameter_low, self.parameter_high)

    def baseline_actions(self, share: float) -> np.ndarray:
        """Constant actions (n, m) to compare with: ``share`` of the upper bounds, by default."""
        return np.tile(share * self.action_high, (self.n_agents, 1))

    @abstractmethod
    def reset(self, parameters: np.ndarray, seed: int | None = None) -> np.ndarray:
        """Start an episode; returns observations (n, k). Collective."""

    @abstractmethod
    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, Row]:
        """One control interval: observations (n, k), local rewards (n,), info. Collective.

        ``info["costs"]`` are the interval's :class:`StepCosts`; rewards are minus their shares.
        """

    @abstractmethod
    def snapshot(self) -> Any:
        """The whole state of the episode. Local."""

    @abstractmethod
    def restore(self, state: Any) -> np.ndarray:
        """Return to a snapshot; returns its observations. Collective."""

    def fields(self) -> dict[str, Any] | None:
        """Global nodal fields for pictures on rank 0, None elsewhere or without any. Collective.

        ``points`` (N, gdim), ``cells`` (M, gdim + 1) and ``actions`` (n, m) at least, and arrays
        (N, ...) at the points; the generic scene draws the first of these.
        """
        return None

    @property
    def adjoint_fault(self) -> str:
        """Reason why there is no adjoint, empty where :meth:`adjoint` gives one. Local."""
        if type(self).adjoint is not Plant.adjoint:
            return ""
        return "expected a plant whose adjoint() gives a hypemarl.coupling.adjoint.PlantAdjoint"

    def adjoint(self) -> PlantAdjoint | None:
        """The transpose of a control interval, None where there is none. Collective."""
        return None

    def local_model(self) -> LocalModel | None:
        """Composition of observations from local states, None if unknown. Collective."""
        return None

    def agreed(self, actions: np.ndarray) -> np.ndarray:
        """Rank 0's actions (n, m) within their bounds, see :func:`agree_on_actions`. Collective."""
        return agree_on_actions(
            self.comm, actions, self.action_low, self.action_high, self.n_agents
        )

    def inside(self, actions: np.ndarray) -> np.ndarray:
        """One (n, m) where rank 0's actions lie within their bounds, else zero. Collective."""
        actions = self.comm.bcast(np.asarray(actions, dtype=np.float64), root=0)
        return ((actions >= self.action_low) & (actions <= self.action_high)).astype(float)

    def checked(self, parameters: np.ndarray, *, positive: bool = False) -> np.ndarray:
        """Parameters of an episode as an array (n_parameters,). Local.

        Raises:
            ValueError: wrong shape, not finite, or the first one not ``positive`` where asked for.
        """
        values = np.asarray(parameters, dtype=np.float64)
        right = values.shape == self.parameter_low.shape and np.isfinite(values).all()
        if not right or (positive and values[0] <= 0):
            raise ValueError(
                f"parameters: expected {len(self.parameter_low)} finite numbers "
                f"{self.parameter_names}{', the first positive,' if positive else ','} got "
                f"{values.tolist()}"
            )
        return values

    def context_columns(self, context: Sequence[str]) -> np.ndarray:
        """Columns of the parameters that make up mu; ``target`` stands for all ``target_*``. Local.

        ``all`` alone stands for all parameters.

        Raises:
            ValueError: a name is not one of these.
        """
        if tuple(context) == ("all",):
            return np.arange(len(self.parameter_names))
        stems = [name.rsplit("_", 1)[0] for name in self.parameter_names]
        unknown = [name for name in context if name not in stems]
        if unknown:
            raise ValueError(f"context: expected names out of {sorted(set(stems))}, got {unknown}")
        return np.array([k for k, stem in enumerate(stems) if stem in context], int)


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
        shape, fault = (n_agents, len(low)), non_finite(checked, part="component")
        message = f"actions: {fault}" if fault else ""
        if checked.shape != shape:
            message = f"actions: expected shape {shape} (agents, components), got {checked.shape}"
    if comm.size > 1:
        message, checked = comm.bcast((message, checked), root=0)
    if message or checked is None:
        raise ActionError(message)
    return np.clip(checked, low, high)


def non_finite(
    values: np.ndarray, *, part: str = "entry", names: Sequence[object] | None = None
) -> str:
    """Place of the first NaN or infinity of all agents' values (n, ...); empty if none. Local.

    Args:
        part: name of the entries of an agent; names: of the agents, their numbers if None.
    """
    finite = np.isfinite(values)
    if finite.all():
        return ""
    bad = np.argwhere(~finite)
    agent, *entry = bad[0].tolist()
    who = f"agent {agent if names is None else repr(names[agent])}"
    where = "".join(f", {part} {k}" for k in entry)
    return (
        f"expected finite numbers, got {values[tuple(bad[0])]} from {who}{where} "
        f"({len(bad)} such in all)"
    )
