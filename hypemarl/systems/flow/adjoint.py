"""Adjoint of the flow plants: the transpose of a control interval, exact for the discrete scheme.

The forward run keeps the velocity of every time step; matrices are assembled again on the way
back. Steps, forces and guesses: :mod:`hypemarl.solvers.navier_stokes_adjoint`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hypemarl.coupling.adjoint import recording
from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.navier_stokes_adjoint import FlowCotangent, FlowStep, UnsteadyFlowAdjoint
from hypemarl.systems.flow.cost import IntervalCosts
from hypemarl.systems.flow.plant import FlowPlant
from hypemarl.types import Row


@dataclass(frozen=True)
class FlowTape:
    """Forward run of an interval.

    Velocities (n_velocity_local, 2) one step before it, at its beginning, and after every step;
    viscosity; parts that time steps were divided into; whether the first step was of first order;
    actions (n, m); amplitudes before, and those that they act by; costs and the disc at every time
    level; which actions count.
    """

    velocities: list[np.ndarray]
    viscosity: float
    parts: int
    first: bool
    actions: np.ndarray
    before: np.ndarray
    after: np.ndarray
    interval: IntervalCosts
    inside: np.ndarray

    @property
    def nbytes(self) -> int:
        """Memory that this rank holds."""
        return len(self.velocities) * self.velocities[0].nbytes + self.interval.nbytes


class FlowAdjoint:
    """Transpose of a flow plant's interval (see :class:`~.adjoint.PlantAdjoint`).

    The state is the solver's (see :class:`FlowCotangent`: the owned parts) and the amplitudes,
    whose cotangent stands at the end of rank 0's array.

    Args:
        plant: which is stepped; rtol: relative residual of the adjoint velocity solves.

    Collective.
    """

    def __init__(self, plant: FlowPlant, rtol: float = 5e-8) -> None:
        self.plant = plant
        self.solver = UnsteadyFlowAdjoint(plant.solver, rtol)
        self._bar = FlowCotangent(plant.solver)
        self._n_amplitudes = plant.n_agents * plant.action_size
        local = self._n_amplitudes if plant.comm.rank == 0 else 0
        self.state_size = self._bar.size + local
        self._returned: np.ndarray | None = None

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, Row, FlowTape]:
        """``plant.step`` with its tape. Collective."""
        plant, solver = self.plant, self.plant.solver
        start, before = solver.snapshot(), plant.amplitudes.copy()
        size, wanted = plant.space.n_velocity_local, plant.agreed(actions)
        velocities: list[np.ndarray] = []
        with recording(plant, lambda: velocities.append(solver.velocity.T.copy())):
            observations, rewards, info = plant.step(actions)
        assert plant.interval is not None
        count = plant.interval.levels - 1  # attempts with longer time steps came before
        parts = count // len(plant.ramp())
        old, now = start.old_velocity[:size], start.velocity[:size]
        tape = FlowTape(
            [old + (1.0 - 1.0 / parts) * (now - old), now, *velocities[-count:]],
            solver.viscosity,
            parts,
            start.history == 0,
            wanted,
            before,
            plant.actuators.acting(wanted),
            plant.interval,
            plant.inside(actions),
        )
        return observations, rewards, info, tape

    def pull(
        self,
        tape: FlowTape,
        state_bar: np.ndarray,
        observations_bar: np.ndarray | None,
        shares_bar: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cotangents before the interval: state (state_size,), actions (n, m). Collective.

        Raises SolverDiverged: a linear solve failed.
        """
        plant, bar = self.plant, self._bar
        if self._returned is None or not np.array_equal(state_bar, self._returned):
            self.solver.forget()  # this is no continuation: depend on nothing before
        bar.assign(state_bar[: bar.size])
        after = np.zeros(plant.n_agents * plant.action_size)
        after[: len(state_bar) - bar.size] = state_bar[bar.size :]
        if observations_bar is not None:
            seen = pull_observations(plant, observations_bar, bar).ravel()
            after += seen if plant.comm.rank == 0 else 0.0
        before_bar, actions_bar = self._march_back(tape, shares_bar)
        parts = [before_bar.ravel(), actions_bar.ravel(), after]
        first, last, after = sum_over_ranks(plant.comm, np.stack(parts))
        goal_bar = (last + plant.reached * after).reshape(tape.after.shape)
        actions_bar = plant.actuators.pull_acting(tape.actions, goal_bar)
        flat = np.concatenate([bar.flat(), first + (1.0 - plant.reached) * after])[
            : self.state_size
        ]
        self._returned = flat.copy()
        return flat, actions_bar * tape.inside

    def _march_back(self, tape: FlowTape, shares_bar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pull the cotangent through the interval's steps, last one first. Collective.

        Returns this rank's part of the cotangents of the amplitudes (n, m) before and after.
        """
        plant, bar, ramp = self.plant, self._bar, self.plant.ramp(tape.parts)
        count, dt = len(ramp), plant.solver.dt / tape.parts
        weights = np.full(count + 1, dt)  # of the trapezoidal rule
        weights[[0, -1]] *= 0.5
        bars = plant.cost.bars(tape.interval, weights, shares_bar)
        fields = [plant.actuators.spread(amplitudes) for amplitudes in (tape.before, tape.after)]
        old_bar, new_bar = np.zeros_like(fields[0]), np.zeros_like(fields[0])
        nodes = plant.layout.nodes
        owned = nodes < plant.space.n_velocity
        earlier = bar.pull_coarsened() if tape.parts > 1 else None
        for level in reversed(range(count + 1)):
            if earlier is not None and level == count - tape.parts:
                bar.add_earlier(earlier)
            share = ramp[level - 1] if level else 0.0
            control = fields[0] + share * (fields[1] - fields[0])
            control_bar = weights[level] * plant.cost.pull_control(control, shares_bar)
            plant.cost.pull_level(
                tape.velocities[level + 1],
                tape.viscosity,
                weights[level],
                tape.interval.walls[level],
                bars[level],
                bar,
            )
            if level:
                old, now, new = tape.velocities[level - 1 : level + 2]
                first = tape.first and level == 1
                node_bar = self.solver.pull(FlowStep(old, now, new, dt, tape.viscosity, first), bar)
                control_bar[:, owned] += node_bar[nodes[owned]].T
            old_bar += (1.0 - share) * control_bar
            new_bar += share * control_bar
        if tape.parts > 1:
            bar.pull_refined(1.0 / tape.parts)
        bar.collect()
        return plant.actuators.pull_spread(old_bar), plant.actuators.pull_spread(new_bar)


def pull_observations(
    plant: FlowPlant, observations_bar: np.ndarray, state_bar: FlowCotangent
) -> np.ndarray:
    """Add the cotangent of the flow that was observed to ``state_bar``, by this rank's probes.

    ``observations_bar`` (n, k). Returns that of the amplitudes (n, m). Local.
    """
    flow, layout, n = plant.options, plant.layout, plant.n_agents
    columns = observations_bar.shape[1] - 3 * plant.n_sensors
    sensed = observations_bar[:, columns:].sum(axis=0).reshape(3, -1)  # pressure, velocities
    bar = plant.seen.scatter_add(observations_bar[:, :columns].reshape(n, plant.seen.size, -1))
    probes = len(flow.probe_distances)
    pressure, across, along = (bar[:, i * probes : (i + 1) * probes] for i in range(3))
    velocity = across[..., None] * layout.normals[:, None]
    velocity = (velocity + along[..., None] * layout.tangents[:, None]).reshape(-1, 2)
    velocity = np.concatenate([velocity, sensed[1:].T]) / flow.speed
    pressures = np.concatenate([pressure.ravel(), sensed[0]]) / flow.speed**2
    matrix = plant.probes.velocity_matrix
    state_bar.velocity[: matrix.shape[1]] += matrix.T @ velocity
    state_bar.pressure += plant.probes.pressure_matrix.T @ pressures
    return bar[:, 3 * probes :] / flow.u_max
