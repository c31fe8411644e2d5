"""Cost of a controlled flow over a control interval, and each agent's share of it.

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
from hypemarl.systems.flow.arc_actuation import ArcCost
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
        return self.axes @ (self.coefficient * np.stack(parts))

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
