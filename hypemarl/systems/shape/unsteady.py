"""Shape control in an unsteady flow: the mesh follows the obstacle while it moves."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from hypemarl.config import EnvConfig, options_of
from hypemarl.coupling.actuators import smoothstep
from hypemarl.coupling.plant import StepCosts
from hypemarl.meshing import TaggedMesh
from hypemarl.meshing.boundary import Boundary
from hypemarl.meshing.morphing import FeasibleShape, MeshMotion
from hypemarl.mpi import Comm, on_root, sum_over_ranks
from hypemarl.solvers.moving_flow import MovingFlow, MovingState
from hypemarl.solvers.steady_flow import FlowSolution
from hypemarl.systems.shape.cost import ShapeCosts
from hypemarl.systems.shape.flow import ShapeFlow
from hypemarl.systems.shape.options import ShapeOptions
from hypemarl.systems.shape.plant import ShapePlant

KNOTS = 8
"""Feasible shapes that a control interval passes through; between them modes change linearly."""


@dataclass(frozen=True)
class MovingSolution(FlowSolution):
    """The flow that a control interval ends with, and what it went through.

    Attributes:
        state: of the solver, coordinates included.
        agent_forces: (k, n, 2) on the agents' parts after each time step.
        agent_dissipation: (k, n) the same of the dissipation; where it costs nothing, k = 1: at the
            end.
    """

    state: MovingState
    agent_forces: np.ndarray
    agent_dissipation: np.ndarray


class MovingShapeFlow(ShapeFlow):
    """A :class:`ShapeFlow` that also marches in time while the shape moves. Collective."""

    def __init__(
        self, tagged: TaggedMesh, motion: MeshMotion, flow: ShapeOptions, boundary: Boundary
    ) -> None:
        super().__init__(tagged, motion, flow, boundary)
        self.march = MovingFlow(
            tagged,
            dirichlet=boundary.dirichlet,
            moving=(motion.tag,),
            bodies=(motion.tag,),
            time_step=flow.time_step,
            linear_solver=flow.linear_solver,
            cfl_limit=flow.cfl_limit,
        )
        if not np.array_equal(self.march.space.velocity_cells, self.space.velocity_cells):
            raise RuntimeError("dolfinx numbered two spaces on one mesh in different ways")
        self.each_step = flow.objective == "dissipation"

    def solve(
        self, q: np.ndarray, viscosity: float, angle: float, start: FlowSolution | None
    ) -> MovingSolution:
        """The steady flow around the shape q, from which to march. Collective.

        Raises SolverDiverged: on every rank, when no steady flow was found.
        """
        steady, march = super().solve(q, viscosity, angle, start), self.march
        march.move(self.motion.points(q))
        march.viscosity = viscosity
        march.reset(steady.velocity, steady.pressure)
        forces, dissipation = super().forces(steady), super().dissipation(steady)
        known = {field.name: getattr(steady, field.name) for field in fields(FlowSolution)}
        return MovingSolution(
            **known,
            state=march.snapshot(),
            agent_forces=forces[None],
            agent_dissipation=dissipation[None],
        )

    def advance(self, start: MovingSolution, path: np.ndarray) -> MovingSolution:
        """The flow after the shapes ``path`` (k, size), one at the end of each time step.

        A function of its arguments alone. Collective.
        Raises SolverDiverged: on every rank, when the flow leaves the trusted range.
        """
        march, layout = self.march, self.layout
        march.restore(start.state)
        solution, forces, dissipation = start, [], []
        for step, q in enumerate(path, 1):
            march.move(self.motion.points(q))
            march.step()
            traction = march.traction()
            forces.append(layout.node_shares @ traction[:, layout.nodes].T)
            if self.each_step or step == len(path):
                velocity, pressure = march.velocity.copy(), march.pressure.copy()
                solution = replace(start, velocity=velocity, pressure=pressure)
                dissipation.append(super().dissipation(solution))
        return replace(
            solution,
            forces=traction.copy(),
            state=march.snapshot(),
            agent_forces=sum_over_ranks(self.comm, np.array(forces)),
            agent_dissipation=np.array(dissipation),
        )

    def forces(self, solution: FlowSolution) -> np.ndarray:
        """Force (n, 2) on each agent's part of the obstacle, mean over the interval. Local."""
        assert isinstance(solution, MovingSolution)
        return solution.agent_forces.mean(axis=0)

    def dissipation(self, solution: FlowSolution) -> np.ndarray:
        """Integral (n,) of |grad v|^2 / 2 over each agent's cells, likewise. Local."""
        assert isinstance(solution, MovingSolution)
        return solution.agent_dissipation.mean(axis=0)


class UnsteadyShapePlant(ShapePlant):
    """A :class:`ShapePlant` whose flow is that of a moving obstacle.

    An episode starts from the steady flow around the reference. Within a control interval
    amplitudes go from the old to the new ones by a smoothstep over its share ``env.shape.ramp``,
    through shapes that are all feasible; the mesh follows in every time step
    (:class:`~hypemarl.solvers.moving_flow.MovingFlow`). Costs and observed tractions are means over
    the interval's time steps. Collective.
    """

    present: MovingShapeFlow
    steady = False
    settings = ("env.shape.time_step", "env.shape.amplitude", "env.shape.lag", "env.shape.ramp")

    def _flow_on_mesh(self) -> MovingShapeFlow:
        moving = self.moving
        return MovingShapeFlow(moving.tagged, moving.motion, self.options, self.boundary)

    def _morph(self, amplitudes: np.ndarray) -> tuple[FeasibleShape, FlowSolution, bool]:
        old = self._state
        assert isinstance(old.flow, MovingSolution)
        shapes = on_root(self.comm, lambda: self._shapes(old.amplitudes, amplitudes))
        steps = round(self.config.control_interval / self.options.time_step)
        share = smoothstep(np.arange(1, steps + 1) / (steps * self.options.ramp))
        modes = np.array([old.shape.q, *(shape.q for shape in shapes)])
        knots = np.linspace(0.0, 1.0, KNOTS + 1)
        path = np.stack([np.interp(share, knots, mode) for mode in modes.T], axis=1)
        flow = self.present.advance(old.flow, path)
        self.moving.shape = shapes[-1]
        return shapes[-1], flow, False

    def _shapes(self, old: np.ndarray, new: np.ndarray) -> list[FeasibleShape]:
        """The feasible shapes on the straight way from old to new amplitudes, ends included."""
        shares = np.arange(1, KNOTS + 1) / KNOTS
        return [self.moving.feasible(self._bound * (old + s * (new - old))) for s in shares]

    def _costs(self, flow: FlowSolution, amplitudes: np.ndarray, angle: float) -> ShapeCosts:
        assert isinstance(flow, MovingSolution)
        self._dissipation = self.present.dissipation(flow)
        forces = flow.agent_forces
        dissipation = np.broadcast_to(flow.agent_dissipation, forces.shape[:2])
        steps = [
            self.cost.evaluate(*pair, amplitudes, angle)
            for pair in zip(forces, dissipation, strict=True)
        ]
        terms = {
            name: float(np.mean([step.costs.terms[name] for step in steps]))
            for name in self.cost.names
        }
        shares = np.mean([step.costs.shares for step in steps], axis=0)
        coefficients = np.mean([step.coefficients for step in steps], axis=0)
        return ShapeCosts(StepCosts(terms, shares), coefficients)


def make(config: EnvConfig, comm: Comm) -> ShapePlant:
    """The steady or the unsteady plant, as ``config`` says. Collective."""
    steady = options_of(config, ShapeOptions).mode == "steady"
    return (ShapePlant if steady else UnsteadyShapePlant)(config, comm)
