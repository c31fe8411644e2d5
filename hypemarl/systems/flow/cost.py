"""Cost of a controlled flow over a control interval, each agent's share of it, and derivatives.

J = int [ w_D C_D + w_L C_L^2 + w_P C_P ] dt (drag) or int [ 1/2 ||grad v||^2 + w_P P / (2 nu) ] dt
(dissipation), both with beta/2 ||u||^2 + beta_g/2 ||d_tau u||^2 on the disc; trapezoidal in time
over the solver's steps. With ``lift: absolute-mean``, |mean of C_L over the interval| replaces
C_L^2.

The force on the body is int (sigma n - (u . n) u), n out of it: jets carry momentum. Its stress
comes from the residual on the disc's nodes, so that the agents' shares add up to the body's force;
an agent's share of C_L^2 is C_L times its share of C_L. P is the power of the jets, see
:mod:`hypemarl.systems.flow.jet_power`; C_P = 2 P / (rho U^3 D), to which drag of C_D is equal in
power at the speed U.
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
from hypemarl.systems.flow.jet_power import GrossPower
from hypemarl.systems.flow.options import FlowOptions

OBJECTIVES = {"drag": ("drag", "lift"), "dissipation": ("dissipation",)}
PARTS = ("drag", "lift", "drag_momentum", "lift_momentum", "power", "gross_power")
"""Rows of :attr:`Wall.parts`."""


@dataclass(frozen=True)
class Wall:
    """The disc at one time level, this rank's part.

    ``parts`` (6, n): agents' shares of C_D and C_L, of what momentum contributes to them, and of
    the net and the gross C_P. For derivatives: ``against`` (2, k), minus that of the net power by
    the velocities on the nodes, tractions kept; ``corners`` (m, 2) and ``reference``, pressures on
    the facets and at the inflow.
    """

    parts: np.ndarray
    against: np.ndarray
    corners: np.ndarray
    reference: float


@dataclass(frozen=True)
class IntervalCosts:
    """Costs of an interval and coefficients (levels,) at every time level, start included.

    ``parts`` (levels, 6, n): agents' shares as in :class:`Wall`, summed over ranks; ``walls``: this
    rank's data of all levels.
    """

    costs: StepCosts
    parts: np.ndarray
    walls: list[Wall]

    @property
    def levels(self) -> int:
        """Number of time levels."""
        return len(self.walls)

    def series(self, name: str) -> np.ndarray:
        """Coefficients (levels,) of the body, ``name`` as in :data:`PARTS`."""
        return np.asarray(self.parts[:, PARTS.index(name)].sum(axis=1))

    @property
    def nbytes(self) -> int:
        """Memory that this rank holds."""
        arrays = (
            wall.parts.nbytes + wall.against.nbytes + wall.corners.nbytes for wall in self.walls
        )
        return self.parts.nbytes + sum(arrays)

    @property
    def drag(self) -> np.ndarray:
        """C_D (levels,), momentum included."""
        return self.series("drag")

    @property
    def lift(self) -> np.ndarray:
        """C_L (levels,), momentum included."""
        return self.series("lift")


@dataclass(frozen=True)
class LevelBars:
    """Cotangents of one time level: force shares (2, n), the power in J (n,), costs (n,)."""

    forces: np.ndarray
    power: np.ndarray
    shares: np.ndarray


class FlowCost:
    """Accumulates the terms of J per agent over one control interval.

    Args:
        solver: of the flow; functionals: of its space; layout: who owns what; config: weights;
            axes: (2, 2) unit vectors of drag and lift.

    Collective.
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
        self.options = options = options_of(config, FlowOptions)
        powers = ("jet_power",) if options.power_weight else ()
        self.names = (*OBJECTIVES[options.objective], *powers, "control", "control_gradient")
        self._arc_cost = ArcCost(layout)
        self.gross_power = GrossPower(solver.space, layout.facets)
        self.coefficient = 2.0 / (options.speed**2 * 2.0 * layout.disc.radius)
        #: C_P of a power
        self.power_coefficient = self.coefficient / options.speed
        self._to_coefficients = self.coefficient * axes
        self._to_agents = np.eye(layout.n_agents)[layout.node_owners]  # (k, n)
        self._nodal_bar = np.zeros((solver.space.n_velocity_local, 2))
        self._place = np.searchsorted(layout.nodes, layout.facets.nodes)
        self.begin()

    def begin(self) -> None:
        """Start an interval. Local."""
        self._weights: list[float] = []
        self._walls: list[Wall] = []
        self._dissipation = np.zeros(self.layout.n_agents)
        self._control = np.zeros((2, self.layout.n_agents))

    def add(self, control: np.ndarray, weight: float) -> None:
        """Add the present state and control (2, k) with its quadrature weight. Collective."""
        self._weights.append(weight)
        self._walls.append(self.wall())
        self._control += weight * self._arc_cost.shares(control)
        if self.options.objective == "dissipation":
            cells = self.functionals.gradient_squares(self.solver.velocity)
            owners = self.layout.cell_owners
            part = np.bincount(owners, cells, self.layout.n_agents)
            self._dissipation += 0.5 * weight * part

    def wall(self) -> Wall:
        """The disc in the present state. Collective."""
        solver, nodes = self.solver, self.layout.nodes
        velocity, gross = solver.velocity.T, self.gross_power
        traction = solver.traction()[:, nodes]
        momentum = solver.walls.momentum(velocity)[nodes].T
        against = traction + momentum / 2.0
        power = -(against * velocity[nodes].T).sum(axis=0)
        by_agent = np.concatenate([traction + momentum, momentum, power[None]]) @ self._to_agents
        corners, reference = gross.corners(solver.pressure), gross.reference(solver.pressure)
        of_facets = gross.evaluate(velocity, corners, reference)
        pumped = np.bincount(self.layout.facet_owners, of_facets, self.layout.n_agents)
        rows = [
            self._to_coefficients @ by_agent[:2],
            self._to_coefficients @ by_agent[2:4],
            self.power_coefficient * by_agent[4:],
            self.power_coefficient * pumped[None],
        ]
        return Wall(np.concatenate(rows), against, corners, reference)

    def finish(self) -> IntervalCosts:
        """The interval's costs, identical on every rank. Collective."""
        levels, n = len(self._weights), self.layout.n_agents
        count = levels * len(PARTS)
        walls = np.reshape([wall.parts for wall in self._walls], (count, n))
        local = [walls, self._control, self._dissipation[None]]
        sums = sum_over_ranks(self.solver.comm, np.concatenate(local))
        parts = sums[:count].reshape(levels, len(PARTS), n)
        flow, weights = self.options, np.array(self._weights)
        if flow.objective == "drag":
            factors = flow.lift_weight * self._lift_factors(parts[:, 1], weights)
            shares = [flow.drag_weight * (weights @ parts[:, 0]), factors @ parts[:, 1]]
        else:
            shares = [sums[-1]]
        if flow.power_weight:
            power = parts[:, PARTS.index("gross_power" if self._gross else "power")]
            shares.append(self._power_weight * (weights @ power))
        shares += [flow.beta * sums[-3], flow.beta_g * sums[-2]]
        terms = {name: float(part.sum()) for name, part in zip(self.names, shares, strict=True)}
        costs = StepCosts(terms, np.sum(shares, axis=0))
        return IntervalCosts(costs, parts, self._walls)

    @property
    def _gross(self) -> bool:
        return self.options.power == "gross"

    @property
    def _power_weight(self) -> float:
        """Weight of C_P in J, which P / (2 nu) makes of the dissipation's."""
        flow = self.options
        if flow.objective == "drag":
            return flow.power_weight
        return flow.power_weight / (self.power_coefficient * 2.0 * self.solver.viscosity)

    def _lift_factors(self, lift: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Factors (levels,) of the shares of C_L ``lift`` (levels, n) in the lift term."""
        totals = lift.sum(axis=1)
        if self.options.lift == "squared":
            return weights * totals
        return weights * np.sign(weights @ totals)

    def bars(
        self, interval: IntervalCosts, weights: np.ndarray, shares_bar: np.ndarray
    ) -> list[LevelBars]:
        """Cotangents of every time level of an interval. Local.

        ``weights`` (levels,) of the time levels in the cost, ``shares_bar`` (n,) of the costs.

        A share of C_L^2 is C_L times the share of C_L, so that each agent's share of the lift
        enters the costs of all.
        """
        flow = self.options
        forces = np.zeros((interval.levels, 2, self.layout.n_agents))
        if flow.objective == "drag":
            lift = interval.parts[:, 1]
            factors = flow.lift_weight * self._lift_factors(lift, weights)
            forces[:, 0] = flow.drag_weight * weights[:, None] * shares_bar
            forces[:, 1] = factors[:, None] * shares_bar
            if flow.lift == "squared":
                mixed = flow.lift_weight * weights * (lift @ shares_bar)
                forces[:, 1] += mixed[:, None]
        power = self._power_weight * weights[:, None] * shares_bar
        return [LevelBars(*level, shares_bar) for level in zip(forces, power, strict=True)]

    def pull_level(
        self,
        velocity: np.ndarray,
        viscosity: float,
        weight: float,
        wall: Wall,
        bars: LevelBars,
        state_bar: FlowCotangent,
    ) -> None:
        """Add to ``state_bar`` what one time level contributes to the cost. Collective.

        ``velocity`` (n_velocity_local, 2) of the level, ``weight`` of it in time.
        """
        if self.options.objective == "dissipation":
            factors = 0.5 * weight * bars.shares[self.layout.cell_owners]
            self.functionals.pull_gradient_squares(factors, velocity, state_bar.velocity)
        powered = self.options.power_weight > 0.0
        if powered and self._gross:
            self._pull_gross(velocity, wall, bars.power, state_bar)
        if self.options.objective == "drag" or (powered and not self._gross):
            self._pull_forces(velocity, viscosity, wall, bars, state_bar)

    def _pull_forces(
        self,
        velocity: np.ndarray,
        viscosity: float,
        wall: Wall,
        bars: LevelBars,
        state_bar: FlowCotangent,
    ) -> None:
        """Of forces on the nodes, and of the net power where that is in J. Local."""
        layout, walls, nodal = self.layout, self.solver.walls, self._nodal_bar
        nodes, owners = layout.nodes, layout.node_owners
        of_forces = (self.coefficient * (self.axes.T @ bars.forces)[:, owners]).T
        net = 0.0 if self._gross else self.power_coefficient
        of_power = (net * bars.power)[owners, None]
        state_bar.velocity[nodes] -= of_power * wall.against.T
        nodal[nodes] = of_forces - 0.5 * of_power * velocity[nodes]
        walls.pull_momentum(nodal, velocity, state_bar.velocity)
        nodal[nodes] -= 0.5 * of_power * velocity[nodes]
        targets = (state_bar.rate, state_bar.velocity, state_bar.pressure)
        walls.pull(nodal, velocity, viscosity, targets)

    def _pull_gross(
        self, velocity: np.ndarray, wall: Wall, bar: np.ndarray, state_bar: FlowCotangent
    ) -> None:
        of_facets = self.power_coefficient * bar[self.layout.facet_owners]
        targets = (state_bar.velocity, state_bar.pressure)
        self.gross_power.pull(of_facets, velocity, wall.corners, wall.reference, targets)

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
