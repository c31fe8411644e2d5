"""The case behind `hypemarl validate ale`, part by part, and that each part can fail."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hypemarl.solvers.moving_flow import MovingFlow, kernels
from hypemarl.verification import CASES
from hypemarl.verification import moving_mesh as parts
from hypemarl.verification.report import Report


def run(part: Callable[..., None], **settings: object) -> Report:
    report = Report("part")
    part(report, **settings)
    return report


def failed(report: Report) -> set[str]:
    return {row.name for row in report.rows if not row.ok}


def uniform(steps: int = 40) -> Report:
    return run(parts.uniform_flow, element_size=0.1, steps=steps)


def vortices() -> Report:
    return run(parts.moving_vortices, element_size=0.2, time_steps=(0.05, 0.025, 0.0125))


def test_uniform_flow_stays_uniform() -> None:
    report = uniform()
    assert report.passed
    assert len(report.rows) == 4
    assert min(row.measured for row in report.rows[1::2]) > 1.0  # the mesh is as fast as the flow
    assert CASES["ale"] is parts.ale


def test_uniform_flow_needs_the_divergence_of_the_mesh_velocity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernels, "dilate", lambda *arguments: None)
    assert len(failed(uniform(steps=20))) == 2


def test_vortices_converge_on_a_moving_mesh() -> None:
    report = vortices()
    assert failed(report) <= {"vortices: that, mesh moving"}  # this mesh is too coarse for it
    assert report.rows[-1].measured < 0.01


def test_vortices_need_the_velocity_of_the_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    """With (x^{n+1} - x^n) / dt for w_m the scheme is of first order."""
    extrapolate = MovingFlow._extrapolate

    def backward(self: MovingFlow) -> float:
        inertia = extrapolate(self)
        lagging = (self._x - self._old_x) / self.dt
        self._w[: len(lagging)] += self._mesh_v - lagging
        return inertia

    monkeypatch.setattr(MovingFlow, "_extrapolate", backward)
    assert "vortices: order in time, velocity (L2)" in failed(vortices())


def test_drag_on_a_morphed_mesh_is_that_on_a_new_one() -> None:
    report = run(parts.morphed_drag, element_size=0.06, count=2)
    assert report.passed
    drags = [row.measured for row in report.rows[::2]]
    assert abs(drags[0] - drags[1]) > 0.02  # the shapes differ by more than the meshes


def test_drag_on_a_mesh_of_another_shape_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = parts._fresh

    def flattened(element_size: float, outline: np.ndarray) -> object:
        return fresh(element_size, 0.98 * outline + 0.02 * outline.mean(axis=0))

    monkeypatch.setattr(parts, "_fresh", flattened)
    assert failed(run(parts.morphed_drag, element_size=0.06, count=1))


@pytest.mark.slow
def test_the_oscillating_cylinder_bears_the_published_forces() -> None:
    report = run(parts.oscillating_cylinder, resolutions=((0.16, 100), (0.08, 200)))
    assert report.passed
    assert len(report.rows) == 9


@pytest.mark.slow
def test_forces_without_the_motion_of_the_mesh_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def still(self: MovingFlow) -> np.ndarray:
        return self.walls.evaluate(self._rate, self._v, self.pressure, self.viscosity).T

    monkeypatch.setattr(MovingFlow, "traction", still)
    report = run(parts.oscillating_cylinder, resolutions=((0.16, 100),))
    assert "cylinder: C_D, relative to 2.09" in failed(report)
