"""The cases behind `hypemarl validate feasible` and `transfer`, and that they can fail."""

from __future__ import annotations

import numpy as np
import pytest

from hypemarl.meshing.morphing import DensityTransfer, FeasibleMap
from hypemarl.solvers.velocity_transfer import VelocityTransfer
from hypemarl.verification.morphing import feasible, transfer

SIZES = (0.1, 0.05)


def failed(report) -> set[str]:  # type: ignore[no-untyped-def]
    return {row.name.split(", ")[-1] for row in report.rows if not row.ok}


def test_shapes_are_feasible() -> None:
    assert feasible(count=4, element_size=0.1).passed


def test_fields_are_transferred() -> None:
    assert transfer(SIZES).passed


def test_a_map_without_bounds_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FeasibleMap, "_largest_share", lambda self, q: 1.0)
    assert "least margin of all bounds" in failed(feasible(count=4, element_size=0.1))


def test_a_density_that_gains_mass_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = DensityTransfer.__call__

    def grown(self: DensityTransfer, field: np.ndarray) -> np.ndarray:
        return 1.001 * exact(self, field)

    monkeypatch.setattr(DensityTransfer, "__call__", grown)
    assert "mass error" in failed(transfer(SIZES))


def test_interpolation_of_a_velocity_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VelocityTransfer, "__call__", VelocityTransfer.interpolate)
    assert "corrected" in failed(transfer(SIZES))
