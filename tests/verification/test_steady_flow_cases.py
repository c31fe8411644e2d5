from __future__ import annotations

from dataclasses import replace

import pytest

from hypemarl.solvers import steady_flow as solver
from hypemarl.verification import CASES
from hypemarl.verification.report import Report
from hypemarl.verification.steady_flow import DFG_MESH, dfg_2d_1, poiseuille


def failed(report: Report) -> list[str]:
    return [row.name for row in report.rows if not row.ok]


def test_poiseuille_is_exact_and_kovasznay_converges() -> None:
    report = poiseuille(sizes=(0.16, 0.08))
    assert failed(report) == []
    orders = {row.name: row.measured for row in report.rows if "order" in row.name}
    assert len(orders) == 2
    assert CASES["poiseuille"] is poiseuille


def test_a_loose_solve_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver, "TOLERANCE", 3e-2)
    assert any("order" in name for name in failed(poiseuille(sizes=(0.16, 0.08))))


def test_cylinder_matches_the_benchmark() -> None:
    report = dfg_2d_1()
    assert failed(report) == []
    assert sum(row.expected != "-" for row in report.rows) == 5
    assert CASES["dfg-2d-1"] is dfg_2d_1


def test_a_coarse_cylinder_misses_the_benchmark() -> None:
    """A polygon with few corners has the wrong drag."""
    report = dfg_2d_1(replace(DFG_MESH, element_size=0.08, disc_element_size=0.02))
    assert failed(report)
    drag = next(row.measured for row in report.rows if row.name == "drag coefficient")
    assert drag == pytest.approx(5.58, rel=0.03)
