"""Density control: a Fokker-Planck solver driven by a grid of velocity actuators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

import numpy as np
from mpi4py import MPI

from hypemarl.config import EnvConfig, options_of
from hypemarl.coupling.actuators import BlendActuators
from hypemarl.coupling.adjoint import PlantAdjoint
from hypemarl.coupling.layout import PatchMeans, grid_layout
from hypemarl.coupling.local_model import LocalModel
from hypemarl.coupling.plant import Plant, StepCosts
from hypemarl.coupling.validation import validate
from hypemarl.meshing import TaggedMesh, build
from hypemarl.mpi import Comm, bounding_box
from hypemarl.solvers.fokker_planck import DensityState, FokkerPlanck
from hypemarl.systems.density.cost import TERMS, DensityCost
from hypemarl.systems.density.local_model import local_model
from hypemarl.systems.density.mesh_checks import bump, examine, mass_bound
from hypemarl.systems.density.options import DensityOptions
from hypemarl.types import Row


@dataclass(frozen=True)
class DensitySnapshot:
    """State of an episode: solver state, target (n_local,), patch means of the target (n,).

    ``time_steps``: of an interval; ``background``: the flow (n_local, gdim) that the control adds
    to, None where there is none.
    """

    solver: DensityState
    target: np.ndarray
    target_means: np.ndarray
    actions: np.ndarray
    time_steps: int
    background: np.ndarray | None = None


class DensityPlant(Plant):
    """Fokker-Planck plant.

    Parameters of an episode: c0 (``initial``) then c_d (``target``), each of the mesh's dimension.
    Amplitudes (ux, uy, ...) of each agent are bounded by ``u_max`` and saturate there.

    Args:
        config: the environment's settings; tagged: the mesh with its tags. Collective.

    Raises ValueError: (MeshError, LayoutError) on every rank, naming what does not fit.
    """

    kind = "density"
    action_label = "control $u_1$"
    cost_terms = TERMS
    measured = MappingProxyType({"time_steps": 0})

    def __init__(self, config: EnvConfig, tagged: TaggedMesh) -> None:
        checked = validate(config, tagged, examine)
        self.config, self.boundary = config, checked.boundary
        self.options = options_of(config, DensityOptions)
        self.solver = FokkerPlanck(tagged.mesh, self.options.viscosity, self.options.max_time_step)
        self.space = space = self.solver.space
        self.comm = space.comm
        box = space.mesh.geometry.x[:, : space.gdim]
        lower, upper = bounding_box(self.comm, box)
        self.layout = layout = grid_layout(space, config.agents, lower, upper, checked.kept)
        blends = (layout.lattice, layout.centres, layout.places)
        self.actuators = BlendActuators(space.points, *blends)
        self.sensors = PatchMeans(space, self.layout, config.observation_radius)
        weights = (self.options.boundary_weight, self.options.beta, self.options.beta_g)
        self.cost = DensityCost(space, self.layout, *weights)
        self._describe(config, space.gdim)
        #: nodal values (n_local,) of the target density
        self.target = np.zeros(space.n_local)
        self._target_means = np.zeros(self.n_agents)
        #: amplitudes (n, gdim) of the last interval, within their bounds
        self.actions = np.zeros((self.n_agents, self.action_size))
        self._background: np.ndarray | None = None  # a flow (n_local, gdim) that is not the agents'
        self._time_steps = 1
        #: called in every time step, see :meth:`FokkerPlanck.advance`; an adjoint sets it
        self.record: Callable[[np.ndarray, np.ndarray], None] | None = None

    def _describe(self, config: EnvConfig, gdim: int) -> None:
        """The sizes, bounds and names that environments and agents read."""
        self.positions, self.spacing = self.layout.positions, self.layout.spacing
        self.grid = self.layout.grid
        seen = self.sensors.seen.size
        self.observation_size = seen * (2 if self.options.observe_target else 1)
        centre = (seen // 2, seen + seen // 2)
        self.own_features = centre if self.options.observe_target else centre[:1]
        self.observation_low = np.zeros(self.observation_size)
        self.observation_high = np.full(self.observation_size, self._largest_mean())
        self.action_low = np.full(gdim, -self.options.u_max)
        self.action_high = np.full(gdim, self.options.u_max)
        axes = "xyz"[:gdim]
        self.parameter_names = tuple(f"{kind}_{a}" for kind in ("initial", "target") for a in axes)
        self.parameter_low = np.array(
            self.options.initial_low + self.options.target_low, dtype=np.float64
        )
        self.parameter_high = np.array(
            self.options.initial_high + self.options.target_high, dtype=np.float64
        )

    def _largest_mean(self) -> float:
        """Bound of every patch mean: the density is not negative and keeps its mass. Collective."""
        space = self.space
        corners = space.points[space.cells]
        edges = np.linalg.norm(corners[:, :, None] - corners[:, None], axis=-1)
        longest = self.comm.allreduce(float(edges.max(initial=0.0)), MPI.MAX)
        return mass_bound(space.gdim, longest) / float(self.sensors.measures.min())

    @property
    def targets(self) -> np.ndarray:
        """Patch means of the target density, shape (n, 1)."""
        return self._target_means[:, None]

    @property
    def time(self) -> float:
        """Time since the episode's start."""
        return self.solver.time

    def stencil(self, radius: int) -> np.ndarray:
        """Near agents on the grid, see :meth:`AgentLayout.stencil`."""
        return self.layout.stencil(radius)

    def reset(self, parameters: np.ndarray, seed: int | None = None) -> np.ndarray:
        """Start from the bump at c0 with the target at c_d; returns observations (n, k).

        The system is deterministic: ``seed`` is accepted for the interface's sake. Collective.
        """
        self._start(self.checked(parameters))
        return self._observe()

    def _start(self, values: np.ndarray) -> None:
        gdim = self.space.gdim
        self.solver.reset(bump(self.space.points, values[:gdim]))
        self._time_steps = self._steps_at_the_bounds()
        self.target = bump(self.space.points, values[gdim : 2 * gdim])
        self._target_means = self.sensors.means(self.target)
        self.actions = np.zeros((self.n_agents, self.action_size))

    def _steps_at_the_bounds(self) -> int:
        """Time steps of an interval under the fastest uniform control.

        Every interval takes as many, so that the cost is a continuous function of the actions.
        """
        interval, counts = self.config.control_interval, [1]
        for signs in product((-1.0, 1.0), repeat=self.space.gdim):
            fastest = np.tile(self.options.u_max * np.array(signs), (self.space.n_local, 1))
            self.solver.set_velocity(self._with_background(fastest))
            counts.append(self.solver.steps_needed(interval))
        self.solver.set_velocity(self._with_background(np.zeros_like(self.space.points)))
        return max(counts)

    def _with_background(self, u: np.ndarray) -> np.ndarray:
        return u if self._background is None else u + self._background

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, Row]:
        """One control interval under constant amplitudes (n, gdim).

        Returns observations (n, k), local rewards (n,) = minus the shares of the cost, and info
        with ``costs`` (StepCosts) and ``time_steps``. Collective.
        Raises ActionError: wrong shape or NaN; SolverDiverged: the density left the trusted range.
        """
        self.actions = self.agreed(actions)
        u = self.actuators.field(self.actions)
        interval = self.config.control_interval
        self.solver.set_velocity(self._with_background(u))
        self.cost.begin(u, interval)
        count = self.solver.advance(
            interval,
            lambda y, weight: self.cost.add(y, self.target, weight),
            self._time_steps,
            self.record,
        )
        shares = self.cost.finish()
        terms = dict(zip(TERMS, shares.sum(axis=1).tolist(), strict=True))
        costs = StepCosts(terms, shares.sum(axis=0))
        return self._observe(), -costs.shares, {"costs": costs, "time_steps": count}

    def snapshot(self) -> DensitySnapshot:
        """A copy of the episode's state. Local."""
        return DensitySnapshot(
            self.solver.snapshot(),
            self.target.copy(),
            self._target_means.copy(),
            self.actions.copy(),
            self._time_steps,
            None if self._background is None else self._background.copy(),
        )

    def restore(self, state: DensitySnapshot) -> np.ndarray:
        """Return to a snapshot of this plant; returns its observations (n, k). Collective."""
        self.solver.restore(state.solver)
        self.target, self._target_means = state.target.copy(), state.target_means.copy()
        self.actions, self._time_steps = state.actions.copy(), state.time_steps
        return self._observe()

    def fields(self) -> dict[str, np.ndarray] | None:
        """points (N, gdim), cells (M, gdim + 1), density, target (N,), velocity (N, gdim).

        On rank 0, None elsewhere. Collective.
        """
        columns = [self.solver.density, self.target, *self.solver.velocity.T]
        gathered = self.space.gather(np.stack(columns, axis=1))
        if gathered is None:
            return None
        points, cells, values = gathered
        return {
            "points": points,
            "cells": cells,
            "density": values[:, 0],
            "target": values[:, 1],
            "velocity": values[:, 2:],
            "actions": self.actions.copy(),
        }

    def adjoint(self) -> PlantAdjoint:
        """The transpose of a control interval. Collective."""
        from hypemarl.systems.density.adjoint import DensityAdjoint

        return DensityAdjoint(self)

    def local_model(self) -> LocalModel:
        """Patch means as states, and the cost as a formula of them. Collective."""
        return local_model(self)

    def _observe(self) -> np.ndarray:
        seen = self.sensors.seen.gather(self.sensors.means(self.solver.density))
        if not self.options.observe_target:
            return seen
        return np.concatenate([seen, self.sensors.seen.gather(self._target_means)], axis=1)


def make(config: EnvConfig, comm: Comm) -> DensityPlant:
    """The plant of ``config`` on a mesh of its own. Collective."""
    return DensityPlant(config, build(config.mesh, comm))
