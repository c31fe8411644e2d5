"""Adjoint of a problem's plant, exact for the discrete scheme."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hypemarl.coupling.adjoint import recording
from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.affine import Product
from hypemarl.solvers.jit import Assembled
from hypemarl.solvers.time_step import TimeStep
from hypemarl.systems.problem.plant import ProblemPlant
from hypemarl.types import Row


@dataclass(frozen=True)
class ProblemTape:
    """Forward run of an interval: u^{n-1}, u^n, ... (n_local,) from the level before its start on,
    the number of the interval, amplitudes with their noise, and which actions (n, m) count.
    """

    levels: list[np.ndarray]
    count: int
    amplitudes: np.ndarray
    inside: np.ndarray

    @property
    def nbytes(self) -> int:
        """Memory that this rank holds."""
        return len(self.levels) * self.levels[0].nbytes


class _Transposed:
    """The vectors that the transpose of a time step assembles."""

    def __init__(self, plant: ProblemPlant, solver: TimeStep) -> None:
        forms = plant.forms
        self.solver = solver
        self.by_old = solver.sensitivity(forms.u_old)
        self.by_older = solver.sensitivity(forms.u_older) if plant.two_steps else None
        self.by_control = solver.sensitivity(forms.control)
        controlled = forms.conditions.controlled
        self.by_state: Assembled | Product | None = (
            solver.sensitivity(forms.u) if controlled else None
        )


class ProblemAdjoint:
    """Transpose of a problem's interval (see :class:`~hypemarl.coupling.adjoint.PlantAdjoint`).

    The state is u^n, followed by u^{n-1} where the scheme reads it, each of the rank's own degrees
    of freedom.

    Args:
        plant: which is stepped. Collective.
    """

    def __init__(self, plant: ProblemPlant) -> None:
        self.plant = plant
        forms = plant.forms
        self._owned = plant.later.residual.n_owned
        self.state_size = self._owned * (2 if plant.two_steps else 1)
        self._later = _Transposed(plant, plant.later)
        same = plant.first is plant.later
        self._first = self._later if same else _Transposed(plant, plant.first)
        index = forms.control.function_space.dofmap
        self._control_owned = index.index_map.size_local * index.index_map_bs
        self._transposed = plant.matrix[: self._control_owned].T.tocsr()
        self._fixed: np.ndarray | None = None
        if forms.conditions.controlled:
            columns = forms.conditions.by_amplitudes(plant.matrix)
            self._fixed = columns[plant.later.fixed]

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, Row, ProblemTape]:
        """``plant.step`` with its tape. Collective."""
        plant, forms = self.plant, self.plant.forms
        count = plant.count
        levels = [forms.u_older.x.array.copy(), forms.u.x.array.copy()]
        with recording(plant, lambda: levels.append(forms.u.x.array.copy())):
            observations, rewards, info = plant.step(actions)
        here = plant.noisy(count)
        return observations, rewards, info, ProblemTape(levels, count, here, plant.inside(actions))

    def pull(
        self,
        tape: ProblemTape,
        state_bar: np.ndarray,
        observations_bar: np.ndarray | None,
        shares_bar: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cotangents before the interval: state (state_size,), actions (n, m). Collective."""
        plant, forms, n = self.plant, self.plant.forms, self._owned
        steps, dt = len(tape.levels) - 2, plant.dt
        trapezoid = plant.problem.quadrature == "trapezoid"
        plant.hold(tape.amplitudes)
        plant.first.begin()
        plant.later.begin()
        bar = state_bar[:n].copy()
        older_bar = state_bar[n:].copy() if plant.two_steps else None
        amplitudes_bar = np.zeros(plant.matrix.shape[1])
        control_bar = np.zeros(self._control_owned)
        forms.u.x.array[:] = tape.levels[-1]
        if observations_bar is not None:
            forms.time.value = (tape.count + 1) * plant.interval
            plant.pull_observations(observations_bar, bar)
        plant.cost.spread(shares_bar)
        for k in reversed(range(steps)):
            forms.time.value = (tape.count * steps + k + 1) * dt
            self._load(tape, k)
            weight = 0.5 * dt if trapezoid and k + 1 == steps else dt
            plant.cost.pull_level(weight, bar, control_bar)
            parts = self._first if plant.begins(tape.count, k) else self._later
            bar, older_bar = self._transpose(parts, bar, older_bar, control_bar, amplitudes_bar)
        if trapezoid:
            forms.time.value = tape.count * plant.interval
            forms.u.x.array[:] = tape.levels[1]
            plant.cost.pull_level(0.5 * dt, bar, control_bar)
        plant.cost.pull_control(plant.interval, control_bar)
        total = sum_over_ranks(plant.comm, self._transposed @ control_bar + amplitudes_bar)
        acting_bar = total.reshape(plant.actions.shape)
        actions_bar = plant.problem.actuators.pull_acting(tape.amplitudes, acting_bar) * tape.inside
        before = bar if older_bar is None else np.concatenate([bar, older_bar])
        return before, actions_bar

    def _load(self, tape: ProblemTape, k: int) -> None:
        """The functions as they were when time step ``k`` was solved."""
        forms, levels = self.plant.forms, tape.levels
        forms.u_older.x.array[:] = levels[k]
        forms.u_old.x.array[:] = levels[k + 1]
        forms.u.x.array[:] = levels[k + 2]

    def _transpose(
        self,
        parts: _Transposed,
        bar: np.ndarray,
        older_bar: np.ndarray | None,
        control_bar: np.ndarray,
        amplitudes_bar: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Cotangents of u^n and u^{n-1} from those of u^{n+1} and u^n; adds those of the control.

        Fixed values of u^{n+1} are the boundary's: what reaches them goes to the control.
        """
        parts.solver.transpose(bar)
        if parts.by_state is not None and self._fixed is not None:
            at_fixed = (bar - parts.by_state())[parts.solver.fixed]
            amplitudes_bar += self._fixed.T @ at_fixed
        if parts.by_control.form is not None:
            control_bar -= parts.by_control()
        before = -parts.by_old()
        if older_bar is None:
            return before, None
        before += older_bar
        by_older = parts.by_older
        return before, (np.zeros_like(before) if by_older is None else -by_older())
