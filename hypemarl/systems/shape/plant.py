"""Shape control: agents move an obstacle's boundary in a stream, always to feasible shapes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from hypemarl.config import EnvConfig, options_of
from hypemarl.coupling.adjoint import PlantAdjoint
from hypemarl.coupling.recent import Recent
from hypemarl.coupling.validation import validate
from hypemarl.meshing import MeshError
from hypemarl.meshing.morphing import FeasibleShape, MovingMesh, chosen_bounds
from hypemarl.solvers.direct import Abandoned
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.solvers.steady_flow import FlowSolution
from hypemarl.systems.body import ONSET_OF_SHEDDING, BodyPlant
from hypemarl.systems.shape.cost import ShapeCost, ShapeCosts
from hypemarl.systems.shape.flow import ShapeFlow
from hypemarl.systems.shape.layout import ShapeLayout, examine, sensed_motion
from hypemarl.systems.shape.options import ShapeOptions
from hypemarl.types import Row

BOUNDS = ("amplitude", "area", "max_curvature", "min_thickness", "min_quality")
REMEMBERED = 40
"""Flows around the reference kept in memory: of a validation set and of the 25 episodes between two
validations. One takes 0.1 MB, of an unsteady flow 1 MB."""


@dataclass(frozen=True)
class ShapeState:
    """State of an episode: mesh and solver, shape, flow, amplitudes (n, m) in units of their bound,
    mu (2,), number of intervals, baseline (n,).
    """

    present: ShapeFlow
    shape: FeasibleShape
    flow: FlowSolution
    amplitudes: np.ndarray
    parameters: np.ndarray
    count: int
    baseline: np.ndarray


class ShapePlant(BodyPlant[ShapeOptions, ShapeLayout]):
    """Plant of a morphing obstacle.

    Parameters of an episode: the Reynolds number U D / nu, D = 2 R the diameter of the circle of
    the reference's area, and the angle of the stream in rad, from the inflow's inward normal (+x in
    the shipped channel). Closed curves with further tags are bodies at rest. An action is the
    target amplitude of an agent, in units of its bound; amplitudes follow with a lag,

        a_(k+1) = a_k + lag (target - a_k),

    the shape is the feasible one of a_(k+1), and the flow the steady one around it. An episode
    starts from the reference with a = 0. Every flow is computed from the one before it with a new
    factorisation, so that an episode depends on its parameters and actions alone.

    What an agent sees of itself and of the agents within ``observation_radius`` places: the
    traction on its part of the obstacle, along its normal and its tangent on the reference outline
    and over U^2 / 2, its amplitudes, and what the outline moved there (along the direction in which
    its amplitude moves it; of a free form's control points what they moved), over the bound.

    Args:
        config: the environment's settings. comm: communicator of the mesh.

    Attributes:
        moving: mesh and feasible shapes. present: flow solver of the present mesh.

    Raises:
        MeshError: on every rank: no obstacle that can be morphed, or bounds that none can keep.

    Collective.
    """

    kind = "shape"
    action_label = "target amplitude"
    #: whether a step jumps to the next steady flow
    steady = True
    #: what bears on whether there is a flow
    settings: tuple[str, ...] = (
        "env.shape.reynolds_high",
        "env.shape.amplitude",
        "env.mesh.disc_element_size",
    )

    def __init__(self, config: EnvConfig, comm: MPI.Intracomm) -> None:
        self.config, self.comm = config, comm
        self.options = shape = options_of(config, ShapeOptions)
        self.moving = MovingMesh(
            config.mesh,
            shape.displacement,
            config.agents[0],
            comm,
            bounds=lambda default: chosen_bounds(
                default, **{name: getattr(shape, name) for name in BOUNDS}
            ),
            remeshes=shape.remesh,
        )
        self.boundary = validate(config, self.moving.tagged, examine).boundary
        self.present = self._flow_on_mesh()
        self._first = self.present
        self._abandoned = Abandoned()
        self._bound = self.moving.feasible.bounds.amplitude
        self._describe_agents()
        parametrisation = self.moving.feasible.space.parametrisation
        self.diameter = 2.0 * parametrisation.outline.radius
        self.cost = ShapeCost(config, self.layout.edges, self.n_agents, self.diameter)
        self.cost_terms = self.cost.names
        forces = {"drag": np.zeros(1), "lift": np.zeros(1), "dissipation": 0.0}
        self.measured = forces | {"curvature": 0.0, "limited": False, "remeshed": False}
        self.sensed = sensed_motion(self.moving, self.layout.directions) / self._bound
        #: costs and force coefficients of the last control interval
        self.interval: ShapeCosts | None = None
        self._known: Recent[tuple[float, float], FlowSolution] = Recent(REMEMBERED)
        self._begin()

    def _describe_agents(self) -> None:
        """Set the sizes, bounds and names that environments and agents read."""
        flow, self.layout = self.options, self._first.layout
        m = self.moving.feasible.space.parametrisation.components
        self._describe(np.ones(m), 2 + 2 * m, range(2, 2 + m), range(2 + m))
        if self.steady and flow.reynolds_high > ONSET_OF_SHEDDING and self.comm.rank == 0:
            warnings.warn(
                f"shape: Reynolds number up to {flow.reynolds_high:g}: above {ONSET_OF_SHEDDING:g} "
                "the steady flow past a cylinder is unstable, and not what a fluid does",
                stacklevel=4,
            )

    def _flow_on_mesh(self) -> ShapeFlow:
        """A flow solver on the present mesh. Collective."""
        moving = self.moving
        return ShapeFlow(moving.tagged, moving.motion, self.options, self.boundary)

    def _begin(self) -> None:
        """The flow in the middle of the parameters' box, from which all others are found."""
        self._rest = self.moving.feasible(np.zeros(self.n_agents * self.action_size))
        self._middle: FlowSolution | None = None
        middle = 0.5 * (self.parameter_low + self.parameter_high)
        self._middle = self._reference_flow(middle)
        self._state = ShapeState(
            self._first,
            self._rest,
            self._middle,
            np.zeros((self.n_agents, self.action_size)),
            middle,
            0,
            np.zeros(self.n_agents),
        )

    @property
    def amplitudes(self) -> np.ndarray:
        """Amplitudes (n, m) that the last control interval ended with, in units of their bound."""
        return self._state.amplitudes

    @property
    def shape(self) -> FeasibleShape:
        """The present shape."""
        return self._state.shape

    @property
    def baseline(self) -> np.ndarray:
        """Shares of the cost (n,) of a control interval around the reference."""
        return self._state.baseline

    @property
    def time(self) -> float:
        """Time since the episode's start."""
        return self._state.count * self.config.control_interval

    def stream_angle(self, parameters: np.ndarray) -> float:
        """Angle of the stream from the x axis; an episode's counts from where fluid enters."""
        return float(parameters[1]) + self.boundary.angle

    def viscosity(self, reynolds: float) -> float:
        """U D / Re."""
        return self.options.speed * self.diameter / reynolds

    def reset(self, parameters: np.ndarray, seed: int | None = None) -> np.ndarray:
        """Start at the reference, in the steady flow at (reynolds, angle); observations (n, k).

        ``seed`` is accepted for the interface's sake. Collective.
        Raises ValueError: wrong parameters; SolverDiverged: no steady flow was found. On every
        rank.
        """
        values = self.checked(parameters, positive=True)
        self._take(self._first)
        flow, nothing = self._reference_flow(values), np.zeros((self.n_agents, self.action_size))
        baseline = self._costs(flow, nothing, self.stream_angle(values)).costs.shares
        self._state = ShapeState(self._first, self._rest, flow, nothing, values, 0, baseline)
        return self._observe()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, Row]:
        """One control interval towards amplitudes (n, m) in units of their bound.

        Returns observations (n, k), local rewards (n,) = minus the shares of the cost, and info
        with ``costs`` (StepCosts), ``drag`` and ``lift`` (coefficients at the end, (1,)),
        ``dissipation`` (1/2 ||grad v||^2), ``curvature`` (the outline's largest, times R),
        ``limit`` (the bound that the shape met, or None), ``limited`` (whether it met one) and
        ``remeshed``. Collective.
        Raises ActionError: wrong shape or NaN; SolverDiverged: no steady flow around the shape, or
        no mesh that is good enough. On every rank; the episode's state is then what it was.
        """
        target = self.agreed(actions)
        old = self._state
        amplitudes = old.amplitudes + self.options.lag * (target - old.amplitudes)
        try:
            with self._explained(old.parameters):
                shape, flow, remeshed = self._morph(amplitudes)
        except SolverDiverged:
            self._take(old.present)
            raise
        self.interval = self._costs(flow, amplitudes, self.stream_angle(old.parameters))
        self._state = ShapeState(
            self.present, shape, flow, amplitudes, old.parameters, old.count + 1, old.baseline
        )
        info = {
            "costs": self.interval.costs,
            "drag": self.interval.coefficients[:1].sum(axis=1),
            "lift": self.interval.coefficients[1:].sum(axis=1),
            "dissipation": float(self._dissipation.sum()),
            "curvature": self._curvature(shape),
            "limit": shape.limit,
            "limited": shape.limit is not None,
            "remeshed": remeshed,
        }
        return self._observe(), -self.interval.costs.shares, info

    def snapshot(self) -> ShapeState:
        """The episode's state, which nothing changes later. Local."""
        return self._state

    def restore(self, state: ShapeState) -> np.ndarray:
        """Return to a snapshot of this plant; returns its observations (n, k). Collective."""
        self._take(state.present)
        self._state = state
        return self._observe()

    def restore_mesh(self) -> None:
        """Let the mesh have the present shape again, whatever was computed meanwhile. Local."""
        self.present.place(self._state.shape.q)

    def fields(self) -> Row | None:
        """On rank 0, None elsewhere: points (N, 2) of the present shape, cells (M, 3), velocity
        (N, 2), pressure (N,), vorticity (N,) at the vertices, actions (n, m): the amplitudes, and
        outlines of the present and of the reference shape (k, 2). Collective.
        """
        self.restore_mesh()
        fields, space = self.present.fields(self._state.flow), self.moving.feasible.space
        if fields is None:
            return None
        outlines = {"outline": space.points(self.shape.q), "reference": space.reference}
        return {**fields, **outlines, "actions": self.amplitudes}

    @property
    def angles(self) -> np.ndarray | None:
        """Angles (n,) of the agents around their middle, ascending; None of control points."""
        if self.grid is not None:
            return None
        offsets = self.positions - self.positions.mean(axis=0)
        return np.unwrap(np.arctan2(offsets[:, 1], offsets[:, 0]))

    def baseline_actions(self, share: float) -> np.ndarray:
        """Amplitudes that make the obstacle longer along x_1 and less wide.

        Equal amplitudes of an obstacle of fixed area do nothing.
        """
        offsets = self.positions - self.positions.mean(axis=0)
        if self.action_size == 2:  # control points
            stretching = offsets * [1.0, -1.0] / np.abs(offsets).max(axis=0)
        else:
            x, y = offsets.T
            stretching = ((x**2 - y**2) / (x**2 + y**2))[:, None]
        return super().baseline_actions(share) * stretching

    @property
    def adjoint_fault(self) -> str:
        """Why there is no adjoint, empty where there is one."""
        if not self.steady:
            return "unsteady shapes have none; set env.shape.mode=steady"
        remesh = "a shape that remeshes has none; set env.shape.remesh=false"
        return remesh if self.options.remesh else ""

    def adjoint(self) -> PlantAdjoint | None:
        """The transpose of a control interval, None of an :attr:`adjoint_fault`. Collective."""
        from hypemarl.systems.shape.adjoint import ShapeAdjoint

        return None if self.adjoint_fault else ShapeAdjoint(self)

    def _reference_flow(self, parameters: np.ndarray) -> FlowSolution:
        """The flow around the reference, from memory where it is known. Collective."""
        reynolds, angle = (float(value) for value in parameters)
        self._first.place(self._rest.q)
        rest, viscosity = self._rest.q, self.viscosity(reynolds)
        stream = self.stream_angle(parameters)
        with self._explained(parameters):
            return self._known.get(
                (reynolds, angle), lambda: self._first.solve(rest, viscosity, stream, self._middle)
            )

    @contextmanager
    def _explained(self, parameters: np.ndarray) -> Iterator[None]:
        """Any failure as SolverDiverged that says where it was and which settings bear on it."""
        where = f"shape at Re {parameters[0]:g}, angle {parameters[1]:g}"
        try:
            yield
        except MeshError as error:
            raise SolverDiverged(
                f"{where}: no mesh of the shape: {error} (env.shape.amplitude, "
                "env.shape.max_curvature, env.shape.min_quality, env.mesh.disc_element_size)"
            ) from error
        except SolverDiverged as error:
            raise SolverDiverged(f"{where}: {error} ({', '.join(self.settings)})") from error

    def _morph(self, amplitudes: np.ndarray) -> tuple[FeasibleShape, FlowSolution, bool]:
        """Shape, its flow, and whether the mesh was made anew. Collective."""
        old = self._state
        remeshed = self.moving.move(self._bound * amplitudes)
        assert self.moving.shape is not None
        start: FlowSolution | None = old.flow
        if remeshed:
            self._abandoned.free()
            self.present = self._flow_on_mesh()
            self._abandoned.watch(self.present.tagged, self.present)
            start = None
        viscosity, angle = self.viscosity(old.parameters[0]), self.stream_angle(old.parameters)
        flow = self.present.solve(self.moving.shape.q, float(viscosity), angle, start)
        return self.moving.shape, flow, remeshed

    def _take(self, present: ShapeFlow) -> None:
        """Let a mesh be the present one."""
        self.present = present
        self.moving.motion, self.moving.tagged = present.motion, present.tagged

    def _costs(self, flow: FlowSolution, amplitudes: np.ndarray, angle: float) -> ShapeCosts:
        self._dissipation = self.present.dissipation(flow)
        return self.cost.evaluate(self.present.forces(flow), self._dissipation, amplitudes, angle)

    def _observe(self) -> np.ndarray:
        state, n = self._state, self.n_agents
        forces = self.present.forces(state.flow)
        tractions = np.einsum("nij,nj->ni", self.layout.directions, forces) * self.traction
        moved = (self.sensed @ state.shape.q).reshape(n, -1)
        shown = np.concatenate([tractions, state.amplitudes, moved], axis=1)
        return self.seen.gather(shown).reshape(n, -1)

    def _curvature(self, shape: FeasibleShape) -> float:
        """Largest curvature of the outline, convex or concave, of a circle of its area 1. Local."""
        feasible = self.moving.feasible
        radius = feasible.space.parametrisation.outline.radius
        return (1.0 - shape.margins["curvature"]) * feasible.bounds.max_curvature * radius

    @property
    def traction(self) -> float:
        """One over U^2 / 2 and the length of the outline per agent."""
        length = self.moving.feasible.space.parametrisation.outline.length / self.n_agents
        return 2.0 / (self.options.speed**2 * length)
