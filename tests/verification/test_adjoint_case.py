from __future__ import annotations

from typing import Any

import pytest

from hypemarl.solvers import fokker_planck_adjoint
from hypemarl.solvers.time_step import TimeStep
from hypemarl.verification import CASES
from hypemarl.verification.adjoint import adjoint, covered


def test_the_gradient_of_density_1d_is_exact() -> None:
    report = adjoint(("density-1d",), ranks=0)
    assert report.passed, report.rows
    assert len(report.rows) == 3
    assert CASES["adjoint"] is adjoint


def test_every_shipped_problem_is_covered() -> None:
    assert {"burgers", "heat-3d", "kuramoto-sivashinsky-mu", "reaction-diffusion"} <= {*covered()}


@pytest.mark.parametrize("name", ["burgers", "reaction-diffusion"])
def test_the_gradient_of_a_problem_is_exact(name: str) -> None:
    report = adjoint((name,), ranks=0)
    assert report.passed, report.rows
    assert {row.expected for row in report.rows} == {"1.95 .. 2.05"}


def test_a_step_that_is_not_transposed_is_noticed(monkeypatch: Any) -> None:
    right = TimeStep._solve
    monkeypatch.setattr(TimeStep, "_solve", lambda self, bar, transposed=False: right(self, bar))
    assert not adjoint(("burgers",), ranks=0).passed


def test_a_limiter_left_out_of_the_transpose_is_noticed(monkeypatch: Any) -> None:
    right = fokker_planck_adjoint.euler_stage_bar

    def unlimited(*arguments: Any) -> None:
        rates = arguments[6].copy()
        rates[:, 2:] = 1e9  # no flux ever reaches its bounds
        right(*arguments[:6], rates, *arguments[7:])

    monkeypatch.setattr(fokker_planck_adjoint, "euler_stage_bar", unlimited)
    assert not adjoint(("density-1d",), ranks=0).passed


@pytest.mark.mpi
def test_two_ranks_are_part_of_the_case() -> None:
    report = adjoint(("density-1d",))
    assert report.passed, report.rows
    assert "2 ranks" in report.rows[-1].name


@pytest.mark.mpi
@pytest.mark.slow
def test_every_environment_passes() -> None:
    report = CASES["adjoint"]()
    assert report.passed, report.rows
    assert len(report.rows) == 4 * len(covered())
