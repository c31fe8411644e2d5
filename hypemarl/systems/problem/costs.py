"""The terms of a problem's cost by agent, summed over an interval, and their transposes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import ufl
from dolfinx import fem

from hypemarl.solvers.jit import contains
from hypemarl.systems.problem.functionals import Patches
from hypemarl.systems.problem.quadratic import Quadratic


class Costs:
    """The terms of a problem's cost density, integrated over space and time.

    Terms without state and time are evaluated once an interval, those that are quadratic in the
    state by products on one rank (:mod:`hypemarl.systems.problem.quadratic`), others cell by cell
    at every time level.

    Args:
        terms: forms by name; state, control: functions that they hold; times: constants that
            change from step to step; parameters: those that change between episodes.
    """

    def __init__(
        self,
        patches: Patches,
        terms: dict[str, ufl.Form],
        state: fem.Function,
        control: fem.Function,
        times: Sequence[fem.Constant],
        parameters: Sequence[fem.Constant],
    ) -> None:
        self.patches, self.names = patches, tuple(terms)
        steady, quadratic, moving = {}, {}, {}
        for name, form in terms.items():
            if not contains(form, state, *times):
                steady[name] = form
            elif patches.comm.size == 1 and Quadratic.fits(form, state, [control, *times]):
                quadratic[name] = form
            else:
                moving[name] = form
        self._quadratic = (
            Quadratic(patches, list(quadratic.values()), state, parameters) if quadratic else None
        )
        self._quadratic_names = tuple(quadratic)
        self._moving = {name: patches.cells(form) for name, form in moving.items()}
        self._steady = {name: patches.cells(form) for name, form in steady.items()}
        self._by_state = patches.gradient(_sum(moving), state)
        self._by_control = patches.gradient(_sum(moving), control)
        self._steady_by_control = patches.gradient(_sum(steady), control)

    def begin(self) -> None:
        """Start an interval. Local."""
        if self._quadratic is not None:
            self._quadratic.refresh()
            self._quadratic.begin()
        for part in self._moving.values():
            part.clear()

    def add(self, weight: float = 1.0) -> None:
        """Add the terms that change in time at one time level. Local."""
        if self._quadratic is not None:
            self._quadratic.add(weight)
        for part in self._moving.values():
            part.values /= weight
            part.add()
            part.values *= weight

    def finish(self, dt: float, duration: float) -> np.ndarray:
        """Terms (terms, n) of the interval; those without the state are constant in it. Collective.

        Args:
            dt: of the solver, the unit of the levels' weights; duration: of the interval.
        """
        cells = {name: duration * part() for name, part in self._steady.items()}
        cells |= {name: dt * part.owned() for name, part in self._moving.items()}
        terms: dict[str, np.ndarray] = {}
        if cells:
            totals = self.patches.total(np.stack(list(cells.values()), axis=1))
            terms |= zip(cells, totals.T, strict=True)
        if self._quadratic is not None:
            sums = self._quadratic.finish()
            terms |= zip(self._quadratic_names, (dt * each for each in sums), strict=True)
        return np.stack([terms[name] for name in self.names])

    def spread(self, weights: np.ndarray) -> None:
        """Give the agents' shares the weights (n,) of the derivatives. Collective."""
        if self._quadratic is not None:
            self._quadratic.refresh()
            self._quadratic.spread(weights)
        self.patches.spread(weights)

    def pull_level(self, weight: float, state_bar: np.ndarray, control_bar: np.ndarray) -> None:
        """Add the derivatives of a level, by the agents' weights, times ``weight``. Collective."""
        if self._quadratic is not None:
            state_bar += weight * self._quadratic.gradient()
        if self._by_state.form is not None:
            state_bar += weight * self._by_state()
        if self._by_control.form is not None:
            control_bar += weight * self._by_control()

    def pull_control(self, duration: float, control_bar: np.ndarray) -> None:
        """Add the derivative of the terms that are constant in an interval. Collective."""
        control_bar += duration * self._steady_by_control()


def _sum(terms: dict[str, ufl.Form]) -> ufl.Form:
    return sum(terms.values(), start=ufl.Form([]))
