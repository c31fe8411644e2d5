"""Cost of a controlled flow over a control interval, each agent's share of it, and derivatives.

J = int [ w_D C_D + w_L C_L^2 ] dt (drag) or int 1/2 ||grad v||^2 dt (dissipation), both with
beta/2 ||u||^2 + beta_g/2 ||d_tau u||^2 on the disc; trapezoidal in time over the solver's steps.
Forces come from the residual on the disc's nodes, so that the agents' shares add up to the body's
force; an agent's share of C_L^2 is C_L times its share of C_L.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hypemarl.config import EnvConfig, options_of
from hypemarl.coupling.plant import StepCosts
from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.functionals import FlowFunctionals
from hypemarl.solvers.navier_stokes import UnsteadyFlow
from hypemarl.solvers.navier_stokes_adjoint import FlowCotangent
from hypemarl.systems.flow.arc_actuation import MASS, STIFFNESS, ArcCost
from hypemarl.systems.flow.arcs import ArcLayout
from hypemarl.systems.flow.options import FlowOptions

OBJECTIVES = {"drag": ("drag", "lift"), "dissipation": ("dissipation",)}


@dataclass(frozen=True)
class IntervalCosts:
    """Costs of an interval; force coefficients (levels,) at every time level, start included.

    ``forces`` (levels, 2, n): agents' shares of these coefficients, drag first.
    """

    costs: StepCosts
    drag: np.ndarray
    lift: np.ndarray
    forces: np.ndarray


class FlowCost:
    """Accumulates the terms of J per agent over one control interval.

    Args:
        solver: of the flow; functionals: of its space; layout: who owns what; config: weights;
            axes: (2, 2) unit vectors of drag and lift.
    """

    def __init__(
        self,
        solver: UnsteadyFlow,
        functionals: FlowFunctionals,
        layout: ArcLayout,
        config: EnvConfig,
        axes: np.ndarray,
    ) -> None:
        self.solver, self.functionals, self.layout = solver, functionals, layout
        self.config, self.axes = config, axes
        self.options = options_of(config, FlowOptions)
        self.names = (*OBJECTIVES[self.options.objective], "control", "control_gradient")
        self._arc_cost = ArcCost(layout)
        self.coefficient = 2.0 / (self.options.speed**2 * 2.0 * layout.disc.radius)
        self._to_coefficients = self.coefficient * axes
        self._forces_bar = np.zeros((solver.space.n_velocity_local, 2))
        self._place = np.searchsorted(layout.nodes, layout.facets.nodes)
        self.begin()

    def begin(self) -> None:
        """Start an interval. Local."""
        self._weights: list[float] = []
        self._forces: list[np.ndarray] = []
        self._dissipation = np.zeros(self.layout.n_agents)
        self._control = np.zeros((2, self.layout.n_agents))

    def add(self, control: np.ndarray, weight: float) -> None:
        """Add the present state and control (2, k) with its quadrature weight. Local."""
        self._weights.append(weight)
        self._forces.append(self.force_shares())
        self._control += weight * self._arc_cost.shares(control)
        if self.options.objective == "dissipation":
            cells = self.functionals.gradient_squares(self.solver.velocity)
            owners = self.layout.cell_owners
            part = np.bincount(owners, cells, self.layout.n_agents)
            self._dissipation += 0.5 * weight * part

    def force_shares(self) -> np.ndarray:
        """This rank's part of the agents' force coefficients (2, n). Local."""
        layout = self.layout
        forces = self.solver.traction()[:, layout.nodes]
        parts = [np.bincount(layout.node_owners, f, layout.n_agents) for f in forces]
        return self._to_coefficients @ np.stack(parts)

    def finish(self) -> IntervalCosts:
        """The interval's costs, identical on every rank. Collective."""
        levels, n = len(self._weights), self.layout.n_agents
        parts = [np.reshape(self._forces, (2 * levels, n)), self._control, self._dissipation[None]]
        sums = sum_over_ranks(self.solver.comm, np.concatenate(parts))
        forces = sums[: 2 * levels].reshape(levels, 2, n)
        totals = forces.sum(axis=2)
        flow, weights = self.options, np.array(self._weights)
        if flow.objective == "drag":
            shares = [
                flow.drag_weight * (weights @ forces[:, 0]),
                flow.lift_weight * ((weights * totals[:, 1]) @ forces[:, 1]),
            ]
        else:
            shares = [sums[-1]]
        shares += [self.options.beta * sums[-3], self.options.beta_g * sums[-2]]
        terms = {name: float(part.sum()) for name, part in zip(self.names, shares, strict=True)}
        costs = StepCosts(terms, np.sum(shares, axis=0))
        return IntervalCosts(costs, totals[:, 0], totals[:, 1], forces)

    def force_bars(
        self, forces: np.ndarray, weights: np.ndarray, shares_bar: np.ndarray
    ) -> np.ndarray:
        """Cotangents (levels, 2, n) of the agents' shares ``forces`` of drag and lift. Local.

        ``weights`` (levels,) of the time levels in the cost, ``shares_bar`` (n,) of the costs.

        A share of C_L^2 is C_L times the share of C_L, so that each agent's share of the lift
        enters the costs of all.
        """
        flow = self.options
        if flow.objective != "drag":
            return np.zeros_like(forces)
        lift = forces[:, 1]
        bars = np.empty_like(forces)
        bars[:, 0] = flow.drag_weight * weights[:, None] * shares_bar
        mixed = (lift @ shares_bar)[:, None] + lift.sum(axis=1)[:, None] * shares_bar
        bars[:, 1] = flow.lift_weight * weights[:, None] * mixed
        return bars

    def pull_level(
        self,
        velocity: np.ndarray,
        viscosity: float,
        weight: float,
        bars: tuple[np.ndarray, np.ndarray],
        state_bar: FlowCotangent,
    ) -> None:
        """Add to ``state_bar`` what one time level contributes to the cost. Local.

        ``velocity`` (n_velocity_local, 2) of the level, ``weight`` of it in time, ``bars``:
        cotangents of its force shares (2, n) and of the agents' costs (n,).
        """
        of_forces, of_shares = bars
        layout = self.layout
        if self.options.objective == "dissipation":
            factors = 0.5 * weight * of_shares[layout.cell_owners]
            self.functionals.pull_gradient_squares(factors, velocity, state_bar.velocity)
            return
        nodal = self.coefficient * (self.axes.T @ of_forces)[:, layout.node_owners]
        self._forces_bar[layout.nodes] = nodal.T
        targets = (state_bar.rate, state_bar.velocity, state_bar.pressure)
        self.solver.walls.pull(self._forces_bar, velocity, viscosity, targets)

    def pull_control(self, control: np.ndarray, shares_bar: np.ndarray) -> np.ndarray:
        """Cotangent (2, k) of a control (2, k) on the disc per unit of time, by this rank's facets.

        Of beta/2 ||u||^2 + beta_g/2 ||d_tau u||^2. Local.
        """
        options, lengths = self.options, self.layout.facets.lengths
        values = control[:, self._place]
        weights = shares_bar[self.layout.facet_owners]
        parts = options.beta * (weights * lengths)[None, :, None] * (values @ MASS)
        parts += options.beta_g * (weights / lengths)[None, :, None] * (values @ STIFFNESS)
        result = np.zeros_like(control)
        for axis in range(2):
            np.add.at(result[axis], self._place, parts[axis])
        return result
