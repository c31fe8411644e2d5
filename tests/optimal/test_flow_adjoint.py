"""The adjoint of the flow plants: Taylor tests, bounds, ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flow_gradient import CASES, PARAMETERS, Functional

from hypemarl.solvers.errors import SolverDiverged, TimeStepTooLong


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("states")


@pytest.fixture(scope="module")
def drag(cache: Path) -> Functional:
    return Functional("drag", cache)


@pytest.mark.parametrize("case", [case for case in CASES if case != "drag-limit"])
def test_taylor(case: str, cache: Path) -> None:
    """Costs and observations: the remainder of first order falls with the square of the step."""
    functional = Functional(case, cache)
    slope, difference, orders = functional.taylor()
    # gross power has a kink wherever a pump's power is zero, which differences cross
    kinks = functional.plant.options.power_weight and functional.plant.options.power == "gross"
    assert slope == pytest.approx(difference, rel=5e-4 if kinks else 1e-4)
    assert orders.min() >= 1.95


@pytest.mark.parametrize("case", ["drag", "dissipation-tangential"])
@pytest.mark.parametrize("parts", [2, 4])
def test_taylor_where_time_steps_are_divided(case: str, parts: int, cache: Path) -> None:
    """Into an interval of shorter time steps, through it and out of it, the gradient is exact."""
    functional = Functional(case, cache)
    plant, wanted = functional.plant, [1, parts, 1]
    ended: list[int] = []
    attempt = plant._attempt

    def planned(before: np.ndarray, after: np.ndarray, tried: int) -> Any:
        """As if the Courant number had asked for ``wanted``, whatever the perturbation."""
        if tried < wanted[len(ended) % 3]:
            raise TimeStepTooLong("planned")
        ended.append(tried)
        return attempt(before, after, tried)

    plant._attempt = planned
    slope, difference, orders = functional.taylor()
    assert [info["time_steps"] for info in functional.infos] == [4, 4 * parts, 4]
    assert slope == pytest.approx(difference, rel=1e-4)
    assert orders.min() >= 1.95


@pytest.mark.parametrize("case", ["drag", "drag-limit", "dissipation"])
@pytest.mark.parametrize("what", ["observations_bar", "shares_bar"])
def test_each_cotangent_alone(case: str, what: str, cache: Path) -> None:
    functional = Functional(case, cache)
    acting = [functional.plant.actuators.acting(wanted) for wanted in functional.actions]
    if case == "drag-limit":  # other cases have no kinks by it
        assert np.abs(acting).max() == pytest.approx(0.3)
        functional.actions *= 0.99  # within the bounds
    slope, difference = functional.slopes_by(what)
    assert slope == pytest.approx(difference, rel=1e-5)


def test_step_is_the_plants_own(drag: Functional) -> None:
    """To the last bit, and the plant keeps nothing of the tape's making."""
    plant, actions = drag.plant, drag.actions
    plant.reset(PARAMETERS)
    expected = [plant.step(wanted) for wanted in actions]
    plant.reset(PARAMETERS)
    for wanted, (observations, rewards, info) in zip(actions, expected, strict=True):
        found = drag.adjoint.step(wanted)
        np.testing.assert_array_equal(found[0], observations)
        np.testing.assert_array_equal(found[1], rewards)
        np.testing.assert_array_equal(found[2]["lift"], info["lift"])
        assert found[3].nbytes >= 6 * 16 * plant.space.n_velocity_local
    assert plant.record is None


def test_gradients_repeat_to_the_last_bit(drag: Functional) -> None:
    """Guesses of an earlier gradient must not leak into the next one."""
    first = drag.gradient(drag.actions)
    drag.gradient(0.5 * drag.actions)
    np.testing.assert_array_equal(drag.gradient(drag.actions), first)


def test_actions_beyond_their_bounds_have_no_derivative(drag: Functional) -> None:
    actions, bound = drag.actions.copy(), drag.plant.action_high[0]
    actions[1, 2], actions[1, 3], actions[1, 4] = 1.2 * bound, bound, -1.2 * bound
    gradient = drag.gradient(actions)
    assert gradient[1, 2] == gradient[1, 4] == 0.0
    assert gradient[1, 3] != 0.0
    clipped = np.clip(actions, -bound, bound)
    kept = gradient != 0.0
    np.testing.assert_array_equal(gradient[kept], drag.gradient(clipped)[kept])


def test_a_diverged_step_leaves_no_recorder(drag: Functional) -> None:
    plant, limit = drag.plant, drag.plant.solver.cfl_limit
    plant.reset(PARAMETERS)
    plant.solver.cfl_limit = 1e-3
    try:
        with pytest.raises(SolverDiverged, match="Courant"):
            drag.adjoint.step(drag.actions[0])
    finally:
        plant.solver.cfl_limit = limit
    assert plant.record is None
