"""Adjoint of the shape plant: exact for the discrete flow, the mesh's motion and the bounds.

The state is the amplitudes alone: the flow is a function of the shape, to the solver's tolerance.
Backwards: shares and observations -> weights of forces and dissipation -> the coordinates of the
mesh (one transposed solve) -> modes of the shape -> amplitudes -> the actuators' lag.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.steady_flow_adjoint import SteadyShapeGradient
from hypemarl.systems.shape.plant import ShapePlant, ShapeState
from hypemarl.types import Row


@dataclass(frozen=True)
class ShapeTape:
    """Forward run of an interval: the state after it, force coefficients (2, n), and which actions
    (n, m) count."""

    state: ShapeState
    coefficients: np.ndarray
    inside: np.ndarray

    @property
    def nbytes(self) -> int:
        """Memory that this rank holds."""
        flow = self.state.flow
        return flow.velocity.nbytes + flow.forces.nbytes + flow.pressure.nbytes


class ShapeAdjoint:
    """Transpose of a shape plant's interval (see :class:`~.adjoint.PlantAdjoint`).

    The state's cotangent is that of the amplitudes, on rank 0; other ranks' have length zero. Where
    a shape meets two bounds at once, and where another one becomes the active one, the map to
    feasible shapes has a kink, and the gradient is one of its one-sided ones.

    Args:
        plant: which is stepped, without remeshing.

    Collective.
    """

    def __init__(self, plant: ShapePlant) -> None:
        self.plant, present = plant, plant.present
        self._gradient = SteadyShapeGradient(present.solver)
        modes = present.motion.modes.reshape(-1, 2, present.motion.space.size)
        #: (k, 2, size) motion of this rank's nodes by each mode
        self._modes = modes[present.space.mesh.geometry.input_global_indices]
        self.state_size = plant.amplitudes.size if plant.comm.rank == 0 else 0

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, Row, ShapeTape]:
        """``plant.step`` with its tape. Collective."""
        observations, rewards, info = self.plant.step(actions)
        assert self.plant.interval is not None
        tape = ShapeTape(
            self.plant.snapshot(), self.plant.interval.coefficients, self.plant.inside(actions)
        )
        return observations, rewards, info, tape

    def pull(
        self,
        tape: ShapeTape,
        state_bar: np.ndarray,
        observations_bar: np.ndarray | None,
        shares_bar: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cotangents before the interval: state (state_size,), actions (n, m). Collective.

        Raises SolverDiverged: the adjoint has no solution.
        """
        plant, state = self.plant, tape.state
        amplitudes, lag = state.amplitudes, plant.options.lag
        local = np.zeros(amplitudes.size)
        local[: len(state_bar)] = state_bar
        bar = sum_over_ranks(plant.comm, local).reshape(amplitudes.shape)
        bar += plant.cost.pull_amplitudes(amplitudes, shares_bar)
        forces_bar = self._pull_objective(tape, shares_bar)
        moved_bar = np.zeros(len(state.shape.q))
        if observations_bar is not None:
            seen = self._pull_observations(observations_bar)
            forces_bar += np.einsum("ni,nij->nj", seen[:, :2], plant.layout.directions)
            m = amplitudes.shape[1]
            bar += seen[:, 2 : 2 + m]
            moved_bar += plant.sensed.T @ seen[:, 2 + m :].ravel()
        moved_bar += self._pull_flow(state, forces_bar, shares_bar)
        feasible = plant.moving.feasible
        slope = moved_bar @ feasible.gradient(state.shape) * feasible.bounds.amplitude
        bar += slope.reshape(bar.shape)
        return (1.0 - lag) * bar.ravel()[: self.state_size], lag * bar * tape.inside

    def _pull_objective(self, tape: ShapeTape, shares_bar: np.ndarray) -> np.ndarray:
        """Cotangent (n, 2) of the agents' forces, zero where dissipation is the objective."""
        cost = self.plant.cost
        if not cost.uses_drag:
            return np.zeros((self.plant.n_agents, 2))
        return cost.pull_forces(
            tape.coefficients, shares_bar, self.plant.stream_angle(tape.state.parameters)
        )

    def _pull_observations(self, observations_bar: np.ndarray) -> np.ndarray:
        """Cotangent (n, 2 + 2 m) of what each agent shows, tractions as of the forces in them."""
        plant = self.plant
        bar = plant.seen.scatter_add(observations_bar.reshape(plant.n_agents, plant.seen.size, -1))
        bar[:, :2] *= plant.traction
        return bar

    def _pull_flow(
        self, state: ShapeState, forces_bar: np.ndarray, shares_bar: np.ndarray
    ) -> np.ndarray:
        """Cotangent (size,) of the shape, by that of the forces (n, 2) and shares. Collective."""
        plant, present = self.plant, state.present
        layout = present.layout
        weights = np.zeros((2, present.space.n_velocity_local))
        weights[:, layout.nodes] = (layout.node_shares.T @ forces_bar).T
        cells = np.zeros(layout.cell_shares.shape[1])
        if not plant.cost.uses_drag:
            cells = plant.config.control_interval * (layout.cell_shares.T @ shares_bar)
        try:
            present.place(state.shape.q)
            parts = self._gradient.evaluate(state.flow, weights, cells)
        finally:
            plant.restore_mesh()
        return sum_over_ranks(plant.comm, np.einsum("kc,kcm->m", parts, self._modes))
