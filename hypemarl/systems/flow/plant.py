"""Flow control: an incompressible flow around a disc whose agents blow and suck on arcs of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import qmc

from hypemarl.config import EnvConfig, options_of
from hypemarl.coupling.actuators import smoothstep
from hypemarl.coupling.adjoint import PlantAdjoint
from hypemarl.coupling.local_model import LocalModel
from hypemarl.coupling.validation import validate
from hypemarl.meshing import TaggedMesh, build
from hypemarl.mpi import Comm
from hypemarl.solvers.errors import SolverDiverged, TimeStepTooLong
from hypemarl.solvers.functionals import FlowFunctionals
from hypemarl.solvers.navier_stokes import FlowState, UnsteadyFlow
from hypemarl.solvers.taylor_hood import TaylorHood
from hypemarl.systems.body import BodyPlant, vertex_fields
from hypemarl.systems.flow.arc_actuation import ArcActuators
from hypemarl.systems.flow.arcs import ArcLayout, arc_layout, slot_layout
from hypemarl.systems.flow.cost import FlowCost, IntervalCosts
from hypemarl.systems.flow.developed import DevelopedStates
from hypemarl.systems.flow.inflow import InflowProfile, require_mass_balance
from hypemarl.systems.flow.jet_power import Pumping
from hypemarl.systems.flow.mesh_checks import examine
from hypemarl.systems.flow.options import FlowOptions
from hypemarl.systems.flow.sensors import probes, sensor_points
from hypemarl.types import Row

VALIDATED = (1.0, 200.0)
"""Reynolds numbers that the solver was validated for: flows past a disc become three-dimensional
at about 190, and below 1 the pressure correction's splitting error is no longer small."""
FINEST = 8
"""Parts, at most, that a time step is divided into where it proves too long."""
SERIES = ("drag", "lift", "drag_momentum", "jet_power", "jet_power_gross")


@dataclass(frozen=True)
class FlowSnapshot:
    """State of an episode: the solver's, amplitudes (n, m), its beginning and baseline (n,)."""

    solver: FlowState
    amplitudes: np.ndarray
    start: float
    baseline: np.ndarray


class FlowPlant(BodyPlant[FlowOptions, ArcLayout]):
    """Navier-Stokes plant.

    Parameters of an episode: the Reynolds number U D / nu, the inflow's angle in rad and, with
    ``phase_time``, the phase. An agent sets the velocity on its arc or of its jets, normal
    (blowing is positive) or tangential (anticlockwise); amplitudes saturate at ``u_max``, lose
    their net mass flux, and go from the old to the new ones by a smoothstep at the beginning of a
    control interval, or by first-order smoothing, which stops short of them.

    What an agent sees of itself and of the agents within ``observation_radius`` places (zeros
    beyond the ends of an arc), each: pressure at its probes / U^2, normal velocities / U,
    tangential velocities / U, its amplitudes / u_max. Probes lie outwards along its normal. Behind
    that, what all see: pressures / U^2 and both velocities / U at the sensors.

    A control interval in which time steps prove too long (by the Courant number or the energy
    balance) is computed again from its beginning with half of them, down to a FINEST-th; all others
    are as if there were no limits.

    Args:
        config: the environment's settings; tagged: the mesh with the tags domain, inflow, bottom,
            top, disc and outflow, which way ever it lies (fluid enters along the inward normal of
            the inflow, drag counts in that direction); closed curves with further tags are bodies
            without slip. cache: folder of developed states.

    Raises:
        ValueError: (MeshError, LayoutError, MassBalanceError) on every rank, naming what does not
            fit.

    Collective.
    """

    kind = "flow"
    action_label = "normal velocity on the arc"

    def __init__(self, config: EnvConfig, tagged: TaggedMesh, cache: Path | None = None) -> None:
        boundary = validate(config, tagged, examine).boundary
        self.config, self.comm = config, tagged.mesh.comm
        self.options = flow = options_of(config, FlowOptions)
        self.solver = UnsteadyFlow(
            tagged,
            dirichlet=boundary.dirichlet,
            time_step=flow.time_step,
            bodies=("disc",),
            linear_solver=flow.linear_solver,
            cfl_limit=flow.cfl_limit,
        )
        self.space = space = self.solver.space
        self.layout = _layout(space, config)
        self.actuators = ArcActuators(space, self.layout, flow.action.split("-"), flow.u_max)
        sensors = sensor_points(self.comm, flow.sensors)
        self.probes = probes(space, self.layout, flow.probe_distances, sensors)
        self.n_sensors = len(sensors)
        self.functionals = FlowFunctionals(space)
        self.inflow = InflowProfile(space, flow.inflow, flow.speed, boundary.stream)
        axes = self.inflow.axes
        self.cost = FlowCost(self.solver, self.functionals, self.layout, config, axes)
        self.pumping = Pumping(space, ("inflow", "outflow"))
        self._require_balance(tuple(boundary.dirichlet))
        disc = (self.layout.disc, self.layout.nodes)
        self.states = DevelopedStates(self.solver, self.inflow, disc, flow, cache)
        #: called after every time step of the solver
        self.record: Callable[[], None] | None = None
        #: costs and forces of the last control interval
        self.interval: IntervalCosts | None = None
        self._describe_agents()
        self._warn_outside(self.parameter_low[0], self.parameter_high[0])

    def _describe_agents(self) -> None:
        """Set the sizes, bounds and names that environments and agents read."""
        config, flow = self.config, self.options
        bound = np.full(self.actuators.shape[1], flow.u_max)
        probed = 3 * len(flow.probe_distances)
        amplitudes = range(probed, probed + len(bound))
        nearest = [int(np.argmin(flow.probe_distances))] if probed else []
        own = (*nearest, *amplitudes)
        self._describe(bound, amplitudes.stop, amplitudes, own, 3 * self.n_sensors)
        if flow.phase_time:
            self.parameter_names = (*self.parameter_names, "phase")
            self.parameter_low = np.append(self.parameter_low, 0.0)
            self.parameter_high = np.append(self.parameter_high, 1.0)
        self.parameter_bank = self._bank()  # their states are in memory
        self._steps = round(config.control_interval / flow.time_step)
        #: share of the way to the actions that amplitudes go in an interval
        self.reached = float(self.ramp()[-1])
        self.cost_terms = self.cost.names
        series = np.zeros(self._steps)
        self.measured = dict.fromkeys(SERIES, series)
        self.measured |= {"pumping_power": 0.0, "dissipation": 0.0, "time_steps": 0}
        #: amplitudes (n, m) that act at the end of the last control interval: without net mass flux
        self.amplitudes = np.zeros((self.n_agents, self.action_size))
        self._start = 0.0
        self._baseline = np.zeros(self.n_agents)

    @property
    def baseline(self) -> np.ndarray:
        """Shares of the cost (n,) of a control interval, were the first state to stay."""
        return self._baseline

    @property
    def time(self) -> float:
        """Time since the episode's start."""
        return self.solver.time - self._start

    def reset(self, parameters: np.ndarray, seed: int | None = None) -> np.ndarray:
        """Start from the developed state at these parameters; returns observations (n, k).

        The first episode at a mu computes that state or reads it from disk; later ones restore it
        from memory. ``seed`` is accepted for the interface's sake. Collective.
        Raises ValueError: wrong parameters; CacheError, SolverDiverged: see
        :class:`DevelopedStates`.
        """
        values = self.checked(parameters, positive=True)
        self._warn_outside(values[0], values[0])
        state = self.states.get(values)
        self.solver.restore(state)
        self._start = state.time
        self.amplitudes = np.zeros((self.n_agents, self.action_size))
        self.cost.begin()
        self.cost.add(self.actuators.field(self.amplitudes), self.config.control_interval)
        self._baseline = self.cost.finish().costs.shares
        return self._observe()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, Row]:
        """One control interval towards amplitudes (n, m).

        Returns observations (n, k), local rewards (n,) = minus the shares of the cost, and info
        with ``costs`` (StepCosts), ``drag`` and ``lift`` (coefficients after every
        ``flow.time_step``, the jets' momentum included), ``drag_momentum`` (its part of the drag),
        ``jet_power`` and ``jet_power_gross`` (coefficients 2 P / (rho U^3 D), likewise),
        ``pumping_power`` (that of the flow through inflow and outflow at the end, likewise),
        ``dissipation`` (1/2 ||grad v||^2 at the end) and ``time_steps`` (more than usual where they
        were shorter). Collective.
        Raises ActionError: wrong shape or NaN; SolverDiverged: the flow left the trusted range.
        """
        goal = self.actuators.acting(self.agreed(actions))
        try:
            self.interval = interval = self._march(self.amplitudes, goal)
        except SolverDiverged as error:
            raise SolverDiverged(f"{error} (env.flow.time_step, env.flow.u_max)") from error
        self.amplitudes = self.amplitudes + self.reached * (goal - self.amplitudes)
        count = interval.levels - 1
        levels = slice(count // self._steps, None, count // self._steps)
        info = {
            "costs": interval.costs,
            "drag": interval.drag[levels],
            "lift": interval.lift[levels],
            "drag_momentum": interval.series("drag_momentum")[levels],
            "jet_power": interval.series("power")[levels],
            "jet_power_gross": interval.series("gross_power")[levels],
            "pumping_power": self._pumping(),
            "dissipation": self.functionals.dissipation(self.solver.velocity, 0.5),
            "time_steps": count,
        }
        return self._observe(), -interval.costs.shares, info

    def ramp(self, parts: int = 1) -> np.ndarray:
        """Share of the new amplitudes at the end of each time step of an interval (steps,).

        ``parts``: that every time step is divided into.
        """
        count, flow = self._steps * parts, self.options
        if flow.smoothing:
            unit = flow.smoothing_time * 2.0 * self.layout.disc.radius / flow.speed
            times = np.arange(1, count + 1) * (self.config.control_interval / count)
            return np.asarray(1.0 - (1.0 - flow.smoothing) ** (times / unit))
        return smoothstep(np.arange(1, count + 1) / (self.options.ramp * count))

    def _march(self, before: np.ndarray, after: np.ndarray) -> IntervalCosts:
        """One control interval, with time steps as short as the flow needs them."""
        solver, parts = self.solver, 1
        start, time_step = solver.snapshot(), solver.dt
        while True:
            try:
                return self._attempt(before, after, parts)
            except TimeStepTooLong:
                if parts == FINEST:
                    raise
                solver.restore(start)
                parts *= 2
            finally:
                solver.dt = time_step

    def _attempt(self, before: np.ndarray, after: np.ndarray, parts: int) -> IntervalCosts:
        """The solver's steps of one control interval, amplitudes ramped from old to new ones."""
        solver, count, whole = self.solver, self._steps * parts, self.solver.dt
        dt = whole / parts
        if parts > 1:
            solver.refine(dt)
        fields = [self.actuators.spread(amplitudes) for amplitudes in (before, after)]
        self.cost.begin()
        self.cost.add(fields[0], 0.5 * dt)
        for step, share in enumerate(self.ramp(parts), start=1):
            control = fields[0] + share * (fields[1] - fields[0])
            if parts > 1 and step == count - parts + 1:
                earlier = solver.snapshot()
            solver.boundary[:, self.layout.nodes] = control
            solver.step()
            if self.record is not None:
                self.record()
            self.cost.add(control, dt if step < count else 0.5 * dt)
        if parts > 1:
            solver.coarsen(whole, earlier)
        return self.cost.finish()

    def snapshot(self) -> FlowSnapshot:
        """A copy of the episode's state. Local."""
        return FlowSnapshot(
            self.solver.snapshot(), self.amplitudes.copy(), self._start, self._baseline.copy()
        )

    def restore(self, state: FlowSnapshot) -> np.ndarray:
        """Return to a snapshot of this plant; returns its observations (n, k). Collective."""
        self.solver.restore(state.solver)
        self.amplitudes, self._start = state.amplitudes.copy(), state.start
        self._baseline = state.baseline.copy()
        return self._observe()

    def fields(self) -> Row | None:
        """On rank 0, None elsewhere: points (N, 2) and cells (M, 3) of the vertices, velocity
        (N, 2), pressure (N,), vorticity (N,), actions (n, m) as they are applied, without net mass
        flux, and places and velocities of the jets (j, 2). Collective.
        """
        velocity, points = self.solver.velocity, self.space.pressure_points
        vorticity = self.functionals.vorticity(velocity)
        fields = vertex_fields(self.space, points, velocity, self.solver.pressure, vorticity)
        if fields is None:
            return None
        places, velocity = self.actuators.jets(self.amplitudes)
        return {
            **fields,
            "actions": self.amplitudes.copy(),
            "jets": places,
            "jet_velocity": velocity,
        }

    @property
    def angles(self) -> np.ndarray:
        """Middles (n,) of the agents' arcs, ascending."""
        return np.asarray(self.layout.arcs.mean(axis=1))

    def baseline_actions(self, share: float) -> np.ndarray:
        """Normal velocities that grow along x_1 from minus to plus ``share`` of their bound.

        That is suction upstream and base bleed; equal amplitudes carry a net mass flux and cancel.
        """
        actions = super().baseline_actions(share)
        along = self.positions[:, 0] - self.positions[:, 0].mean()
        actions[:, 0] *= along / np.abs(along).max()
        actions[:, 1:] = 0.0
        return actions

    def adjoint(self) -> PlantAdjoint:
        """The transpose of a control interval. Collective."""
        from hypemarl.systems.flow.adjoint import FlowAdjoint

        return FlowAdjoint(self)

    def _pumping(self) -> float:
        power = self.pumping.evaluate(self.solver.velocity.T, self.solver.pressure)
        return self.cost.power_coefficient * power

    def _observe(self) -> np.ndarray:
        speed, layout, n = self.options.speed, self.layout, self.n_agents
        values = self.probes.evaluate(self.solver.velocity, self.solver.pressure)
        sensed = values[len(values) - self.n_sensors :] / (speed, speed, speed**2)
        values = values[: len(values) - self.n_sensors].reshape(n, -1, 3)
        velocity, pressure = values[..., :2] / speed, values[..., 2] / speed**2
        across = np.einsum("npx,nx->np", velocity, layout.normals)
        along = np.einsum("npx,nx->np", velocity, layout.tangents)
        amplitudes = self.amplitudes / self.options.u_max
        shown = np.concatenate([pressure, across, along, amplitudes], axis=1)
        near = self.seen.gather(shown).reshape(n, -1)
        if not self.n_sensors:
            return near
        return np.hstack([near, np.tile(sensed[:, [2, 0, 1]].T.ravel(), (n, 1))])

    def local_model(self) -> LocalModel | None:
        """Every agent's measurements and amplitudes; None with sensors, which are not local."""
        return None if self.n_sensors else super().local_model()

    def _bank(self) -> np.ndarray:
        """Halton points in the box of mu, without repetitions (a box may be a point)."""
        size = len(self.parameter_low)
        points = qmc.Halton(size, scramble=False).random(self.options.states + 1)[1:]
        span = self.parameter_high - self.parameter_low
        return np.unique(self.parameter_low + span * points, axis=0)

    def _require_balance(self, tags: tuple[str, ...]) -> None:
        flow, boundary = self.options, np.zeros_like(self.solver.boundary)
        for angle in (flow.angle_low, flow.angle_high):
            boundary[:, self.inflow.nodes] = self.inflow.values(angle)
            require_mass_balance(self.space, tags, boundary, flow.speed * self.inflow.height)

    def _warn_outside(self, low: float, high: float) -> None:
        if self.comm.rank == 0 and (low < VALIDATED[0] or high > VALIDATED[1]):
            span = f"{low:g}" if low == high else f"{low:g} .. {high:g}"
            warnings.warn(
                f"Reynolds number {span} is outside the validated range {VALIDATED[0]:g} .. "
                f"{VALIDATED[1]:g}: above about 190 real flows past a disc are three-dimensional, "
                "below 1 the time splitting is not accurate; take results with care",
                stacklevel=3,
            )


def _layout(space: TaylorHood, config: EnvConfig) -> ArcLayout:
    flow = options_of(config, FlowOptions)
    if flow.slots:
        return slot_layout(space, flow.slots, flow.slot_half_width)
    turns = flow.action == "tangential"
    return arc_layout(space, config.agents[0], flow.arc_low, flow.arc_high, alone=turns)


def make(config: EnvConfig, comm: Comm) -> FlowPlant:
    """The plant of ``config`` on a mesh of its own. Collective."""
    return FlowPlant(config, build(config.mesh, comm))
