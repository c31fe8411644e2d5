"""The adjoint of the shape plant: Taylor tests, bounds, remeshing, ranks, and a known optimum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shape_gradient import CASES, PARAMETERS, Functional, shape_config, shape_plant

from hypemarl.coupling.adjoint import require_adjoint
from hypemarl.envs import make
from hypemarl.optimal.open_loop import OpenLoop


@pytest.fixture(scope="module")
def drag() -> Functional:
    return Functional("drag")


@pytest.mark.parametrize("case", CASES)
def test_taylor(case: str) -> None:
    """Costs and observations: the remainder of first order falls with the square of the step."""
    functional = Functional(case)
    functional.value(functional.actions)
    assert (case == "bounded") == ("curvature" in functional.limits)
    slope, difference, orders = functional.taylor()
    assert slope == pytest.approx(difference, rel=1e-3)
    assert orders.min() >= 1.95


@pytest.mark.parametrize("case", ["drag", "dissipation", "free-form"])
@pytest.mark.parametrize("what", ["observations_bar", "shares_bar"])
def test_each_cotangent_alone(case: str, what: str) -> None:
    functional = Functional(case)
    slope, difference = functional.slopes_by(what)
    assert slope == pytest.approx(difference, rel=1e-4)


def test_step_is_the_plants_own(drag: Functional) -> None:
    """To the last bit, and the way back leaves the plant where it was."""
    plant, actions = drag.plant, drag.actions
    plant.reset(PARAMETERS)
    expected = [plant.step(wanted) for wanted in actions]
    plant.reset(PARAMETERS)
    tapes = []
    for wanted, (observations, rewards, _) in zip(actions, expected, strict=True):
        found = drag.adjoint.step(wanted)
        np.testing.assert_array_equal(found[0], observations)
        np.testing.assert_array_equal(found[1], rewards)
        assert found[3].nbytes >= 32 * plant.present.space.n_velocity_local
        tapes.append(found[3])
        if len(tapes) == 2:
            mesh = plant.moving.tagged.mesh.geometry.x.copy()
            drag.adjoint.pull(tapes[0], np.zeros(8), None, np.ones(8))
            np.testing.assert_array_equal(plant.moving.tagged.mesh.geometry.x, mesh)


def test_gradients_repeat_to_the_last_bit(drag: Functional) -> None:
    first = drag.gradient(drag.actions)
    drag.gradient(0.5 * drag.actions)
    np.testing.assert_array_equal(drag.gradient(drag.actions), first)


def test_actions_beyond_their_bounds_have_no_derivative(drag: Functional) -> None:
    actions = drag.actions.copy()
    actions[1, 2], actions[1, 3], actions[1, 4] = 1.2, 1.0, -1.2
    gradient = drag.gradient(actions)
    assert gradient[1, 2] == gradient[1, 4] == 0.0
    assert gradient[1, 3] != 0.0


def test_a_plant_that_remeshes_has_none() -> None:
    plant = shape_plant(shape_config(remesh=True))
    assert "remesh" in plant.adjoint_fault
    with pytest.raises(TypeError, match="remesh"):
        require_adjoint(plant)


def test_a_symmetric_problem_has_a_symmetric_optimum(tmp_path: Path) -> None:
    """A circle on the centre line, stream along x: longer than wide, and the same above and below.

    Up to the mesh, which gmsh does not make symmetric.
    """
    search = OpenLoop(make(shape_config(flow={"angle_low": 0.0, "angle_high": 0.0})), tmp_path)
    best = search.solve(np.array([30.0, 0.0]), tolerance=1e-2, max_evaluations=40)
    assert best.converged(1e-2)
    assert best.cost < 0.93 * best.uncontrolled
    a = best.actions[..., 0]
    mirrored = a[:, -np.arange(8) % 8]
    np.testing.assert_allclose(a, mirrored, atol=0.05 * np.abs(a).max())
    plant = search.plant
    for wanted in best.actions:
        plant.step(wanted)
    outline = plant.moving.feasible.space.points(plant.shape.q)
    length, width = np.ptp(outline, axis=0)
    assert length > 1.25 * width
