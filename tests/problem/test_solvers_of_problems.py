"""Linear solvers of a problem's time step: equal up to their tolerance, gradients included."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES, Heat, Problem, gradient, plant

from hypemarl import mpi
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
    with pytest.raises(ValueError, match=r"Misspelt.solver\): PETSc reads no option 'ksp_rtoll'"):
        gradient(plant(type("Misspelt", (Heat,), {"solver": CG | {"ksp_rtoll": "1"}})))


def test_a_solver_that_fails_to_set_up_names_the_file() -> None:
    wrong = {"pc_type": "lu", "pc_factor_mat_solver_type": "nope"}
    made = plant(type("Wrong", (Heat,), {"solver": wrong}))
    made.reset(made.parameter_low)
    with pytest.raises(
        ValueError, match=r"Wrong.solver\).*refuses.*locate solver type nope"
    ) as caught:
        made.step(np.ones((4, 1)))
    assert __file__ in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ksp_type": "cg"}, True),  # PETSc's own tolerance is 1e-5
        ({"ksp_type": "cg", "ksp_rtol": "1e-7"}, True),
        (CG, False),
        ({"ksp_type": "preonly", "pc_type": "lu"}, False),
    ],
)
def test_a_loose_tolerance_is_told_once(
    options: dict[str, str], said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    mpi._SAID.clear()
    for _ in range(2):
        plant(type("Loose", (Heat,), {"solver": options}))
    assert capsys.readouterr().err.count("gradients by the adjoint, are only as exact") == said
