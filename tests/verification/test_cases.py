from __future__ import annotations

import numpy as np
import pytest

from hypemarl.solvers import fokker_planck as solver_module
from hypemarl.verification import CASES
from hypemarl.verification.fokker_planck import gibbs, mass, ornstein_uhlenbeck
from hypemarl.verification.report import Report
from hypemarl.verification.schemes import compare_schemes


def test_ornstein_uhlenbeck_converges() -> None:
    assert ornstein_uhlenbeck().passed


def test_gibbs_converges() -> None:
    assert gibbs().passed


def test_mass_and_sign() -> None:
    assert mass().passed


def test_a_first_order_scheme_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upwinding every edge costs an order: the case must notice."""
    exact_rates = solver_module.edge_rates

    def upwinded(*arguments) -> float:
        fastest = exact_rates(*arguments)
        rates = arguments[-2]
        upwind = 0.5 * np.abs(rates[:, 0] - rates[:, 1])
        rates += upwind[:, None]
        return 2 * fastest

    monkeypatch.setattr(solver_module, "edge_rates", upwinded)
    report = ornstein_uhlenbeck(sizes=(0.1, 0.05))
    orders = [row for row in report.rows if row.name.startswith("order")]
    assert not report.passed
    assert len(orders) == 1
    assert not orders[0].ok


def test_an_unstable_time_step_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver_module, "SAFETY", 4.0)
    assert not ornstein_uhlenbeck(sizes=(0.05, 0.025)).passed


def test_scheme_study_prefers_ours() -> None:
    report = compare_schemes(cells=40)
    values = {row.name: row.measured for row in report.rows}
    ours = values["donor-limited theta=2: L1 error of a moving bump"]
    assert ours < 0.5 * values["upwind: L1 error of a moving bump"]
    assert ours < 0.5 * values["scharfetter-gummel: L1 error of a moving bump"]
    assert values["galerkin: lowest density at a wall"] < -1.0
    assert values["donor-limited theta=2: lowest density at a wall"] >= -1e-12


def test_report_needs_rows_and_refuses_nan() -> None:
    report = Report("empty")
    assert not report.passed
    report.at_most("x", 1.0, 2.0)
    assert report.passed
    report.at_least("y", np.nan, 0.0)
    assert not report.passed
    assert set(CASES) >= {"ou", "gibbs", "mass"}
