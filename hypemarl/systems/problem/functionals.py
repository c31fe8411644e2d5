"""Functionals of a problem by agent: costs and observed means, and their transposes.

The integrand is multiplied by a test function that is constant in each cell; the vector of cells
times the patches' matrix gives every agent its share.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import ufl
from dolfinx import fem
from scipy import sparse

from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.jit import Assembled, contains, update
from hypemarl.systems.problem.domain import Domain


def weighted(form: ufl.Form, weight: object) -> ufl.Form:
    """The form with every integrand multiplied by ``weight``, on inner facets by its mean."""
    return ufl.Form(
        [
            integral.reconstruct(
                integral.integrand()
                * (ufl.avg(weight) if "interior" in integral.integral_type() else weight)
            )
            for integral in form.integrals()
        ]
    )


class Patches:
    """Sums over the cells of every agent, and weights of agents as a field.

    Args:
        owners: (n_cells,) agent of each cell of this rank; agents: their number. Collective.
    """

    def __init__(self, domain: Domain, owners: np.ndarray, agents: int) -> None:
        self.comm, self.agents = domain.comm, agents
        self.space = fem.functionspace(domain.mesh, ("DG", 0))
        #: (n, n_cells) of zeros and ones
        self.matrix = sparse.csr_array(
            (np.ones(len(owners)), (owners, np.arange(len(owners)))), shape=(agents, len(owners))
        )
        #: field of the agents' weights, see :meth:`spread`
        self.weight = fem.Function(self.space)

    def cells(self, form: ufl.Form) -> Assembled:
        """Assembly of a functional cell by cell."""
        return Assembled(weighted(form, ufl.TestFunction(self.space)), self.space)

    def spread(self, weights: np.ndarray) -> None:
        """Give every cell the weight of its agent (n,). Collective."""
        values = self.matrix.T @ weights
        self.weight.x.array[: len(values)] = values
        update(self.weight)

    def gradient(self, form: ufl.Form, function: fem.Function) -> Assembled:
        """Derivative in ``function`` of the functional with the cells' weights."""
        space = function.function_space
        bars = ufl.derivative(weighted(form, self.weight), function, ufl.TestFunction(space))
        return Assembled(bars, space)

    def total(self, cells: np.ndarray) -> np.ndarray:
        """Sums (n, ...) over all ranks of values (n_cells, ...). Collective."""
        return sum_over_ranks(self.comm, self.matrix @ cells)


class Costs:
    """The terms of a problem's cost density, integrated over space and time.

    Args:
        terms: forms by name; state, control: functions that they hold; times: constants that
            change from step to step.
    """

    def __init__(
        self,
        patches: Patches,
        terms: dict[str, ufl.Form],
        state: fem.Function,
        control: fem.Function,
        times: Sequence[fem.Constant],
    ) -> None:
        self.patches, self.names = patches, tuple(terms)
        self._parts = [patches.cells(form) for form in terms.values()]
        self._steady = [not contains(form, state, *times) for form in terms.values()]
        sorts = list(zip(terms.values(), self._steady, strict=True))
        moving = [form for form, still in sorts if not still]
        steady = [form for form, still in sorts if still]
        self._by_state = patches.gradient(_sum(moving), state)
        self._by_control = patches.gradient(_sum(moving), control)
        self._steady_by_control = patches.gradient(_sum(steady), control)

    def begin(self) -> None:
        """Start an interval. Local."""
        for part in self._parts:
            part.clear()

    def add(self, weight: float = 1.0) -> None:
        """Add the terms that change in time at one time level. Local."""
        for part, still in zip(self._parts, self._steady, strict=True):
            if not still:
                part.values /= weight
                part.add()
                part.values *= weight

    def finish(self, dt: float, duration: float) -> np.ndarray:
        """Terms (terms, n) of the interval; those without the state are constant in it. Collective.

        Args:
            dt: of the solver, the unit of the levels' weights; duration: of the interval.
        """
        cells = [
            duration * part() if still else dt * part.owned()
            for part, still in zip(self._parts, self._steady, strict=True)
        ]
        return self.patches.total(np.stack(cells, axis=1)).T

    def pull_level(self, weight: float, state_bar: np.ndarray, control_bar: np.ndarray) -> None:
        """Add the derivatives of a level, by the patches' weights, times ``weight``. Collective."""
        state_bar += weight * self._by_state()
        if self._by_control.form is not None:
            control_bar += weight * self._by_control()

    def pull_control(self, duration: float, control_bar: np.ndarray) -> None:
        """Add the derivative of the terms that are constant in an interval. Collective."""
        control_bar += duration * self._steady_by_control()


def _sum(forms: Sequence[ufl.Form]) -> ufl.Form:
    return sum(forms[1:], start=forms[0]) if forms else ufl.Form([])
