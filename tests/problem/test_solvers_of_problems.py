"""Linear solvers of a problem's time step: equal up to their tolerance, gradients included."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES, Heat, Problem, gradient, plant

from hypemarl.solvers import time_step
from hypemarl.solvers.errors import SolverDiverged

CG = {"ksp_type": "cg", "pc_type": "jacobi", "ksp_rtol": "1e-12"}


@pytest.mark.parametrize("cls", [CASES[0], CASES[2], CASES[4]])
def test_iterative_solvers_give_the_same_costs_and_gradients(
    cls: type[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    cost, slope = gradient(plant(cls))
    monkeypatch.setattr(time_step, "LARGE", 1)
    made = plant(cls)
    assert isinstance(made.later._solver, time_step.Krylov)
    other, again = gradient(made)
    assert other == pytest.approx(cost, rel=1e-8)
    np.testing.assert_allclose(again, slope, atol=1e-7 * np.abs(slope).max())


def test_options_are_those_of_petsc() -> None:
    chosen = type("Chosen", (Heat,), {"solver": CG})
    made = plant(chosen)
    other, again = gradient(made)
    cost, slope = gradient(plant(Heat))
    assert made.later._solver._solver.getType() == "cg"
    assert other == pytest.approx(cost, rel=1e-9)
    np.testing.assert_allclose(again, slope, atol=1e-8 * np.abs(slope).max())


def test_an_iteration_that_fails_is_told() -> None:
    made = plant(type("Short", (Heat,), {"solver": CG | {"ksp_max_it": "1"}}))
    made.reset(made.parameter_low)
    with pytest.raises(SolverDiverged, match=r"linear solver does not suit it"):
        made.step(np.ones((4, 1)))


def test_misspelt_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"solver: PETSc reads no option 'ksp_rtoll'"):
        gradient(plant(type("Misspelt", (Heat,), {"solver": CG | {"ksp_rtoll": "1"}})))
