from __future__ import annotations

import numpy as np
import pytest

from hypemarl.solvers import momentum
from hypemarl.solvers.navier_stokes import UnsteadyFlow
from hypemarl.verification import CASES
from hypemarl.verification.flow import dfg_2d_2, taylor_green


def test_taylor_green_converges() -> None:
    report = taylor_green()
    assert [row.name for row in report.rows if not row.ok] == []
    assert sum("order" in row.name for row in report.rows) == 4
    assert CASES["taylor-green"] is taylor_green


def test_a_first_order_extrapolation_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """With w = v^n in place of 2 v^n - v^{n-1} the scheme is of first order.

    Convection of these vortices is the gradient of a pressure, so that is where it shows.
    """
    extrapolate = UnsteadyFlow._extrapolate

    def constant(self: UnsteadyFlow) -> float:
        inertia = extrapolate(self)
        self._w[:] = self._v
        return inertia

    monkeypatch.setattr(UnsteadyFlow, "_extrapolate", constant)
    failed = [row.name for row in taylor_green().rows if not row.ok]
    assert failed == ["order in time, pressure (L2)"]


def test_convection_of_half_the_strength_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = momentum.kernels.reference_convection
    monkeypatch.setattr(momentum.kernels, "reference_convection", lambda: 0.5 * exact())
    assert not taylor_green().passed


@pytest.mark.slow
def test_vortex_shedding_matches_the_benchmark() -> None:
    report = dfg_2d_2()
    assert [row.name for row in report.rows if not row.ok] == []
    assert len(report.rows) == 4
    assert all(np.isfinite(row.measured) for row in report.rows)
