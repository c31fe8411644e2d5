"""Control intervals of a flow that take shorter time steps, and time steps that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flow_case import PARAMETERS, flow_config, flow_plant

from hypemarl.solvers.errors import SolverDiverged
from hypemarl.systems.flow.plant import FlowPlant

ACTIONS = np.random.default_rng(0).uniform(-0.5, 0.5, (6, 1))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("states")


@pytest.fixture(scope="module")
def plant(cache: Path) -> FlowPlant:
    return flow_plant(cache)


PUSHED = np.array([0.0, 0.0, 0.5, 0.15, 0.0])
"""Of six agents' jets, up above and down below, in five control intervals."""


def pushed(plant: FlowPlant) -> tuple[list[dict], list[float]]:
    """Infos of the intervals of PUSHED, and the Courant number of every time step tried."""
    courant: list[float] = []
    plant.record = lambda: courant.append(plant.solver.courant)
    plant.reset(PARAMETERS)
    try:
        jets = np.sign(plant.positions[:, 1:] - 0.2)
        infos = [plant.step(size * jets)[2] for size in PUSHED]
    finally:
        plant.record = None
    return infos, courant


def limited(plant: FlowPlant, limit: float) -> tuple[list[dict], list[float]]:
    """:func:`pushed` under another Courant limit."""
    usual, plant.solver.cfl_limit = plant.solver.cfl_limit, limit
    try:
        return pushed(plant)
    finally:
        plant.solver.cfl_limit = usual


def test_intervals_beyond_the_courant_limit_take_shorter_time_steps(plant: FlowPlant) -> None:
    """Only these do, within the limit; the flow goes on from them to second order."""
    free, courant = pushed(plant)
    each = np.reshape(courant, (5, 4)).max(axis=1)
    limit = 0.5 * (each[3] + max(each[[0, 1, 2, 4]]))
    assert each.argmax() == 3
    found, courant = limited(plant, limit)
    assert [info["time_steps"] for info in found] == [4, 4, 4, 8, 4]
    assert max(courant) <= limit
    assert plant.solver.dt == 0.002
    for name in ("drag", "lift"):
        assert all(info[name].shape == (4,) for info in found)
        for one, other in zip(found[:3], free[:3], strict=True):
            np.testing.assert_array_equal(one[name], other[name])
    assert plant.time == pytest.approx(5 * 0.008, rel=1e-12)
    assert found[4]["dissipation"] == pytest.approx(free[4]["dissipation"], rel=5e-3)


def test_a_quiet_flow_does_not_notice_shorter_time_steps(plant: FlowPlant) -> None:
    """Without control, drag goes on through a refined interval as if there had been none."""
    still, start = np.zeros((6, 1)), plant.reset(PARAMETERS)
    usual = [plant.step(still)[2]["drag"] for _ in range(3)]
    np.testing.assert_array_equal(plant.reset(PARAMETERS), start)
    drags = [plant.step(still)[2]["drag"]]
    limit, plant.solver.cfl_limit = plant.solver.cfl_limit, 0.6 * plant.solver.courant
    try:
        info = plant.step(still)[2]
    finally:
        plant.solver.cfl_limit = limit
    assert info["time_steps"] == 8
    drags += [info["drag"], plant.step(still)[2]["drag"]]
    change = abs(usual[2][-1] - usual[0][0])
    np.testing.assert_allclose(np.ravel(drags), np.ravel(usual), rtol=0, atol=0.1 * change)


def test_too_fast_for_the_shortest_time_steps(plant: FlowPlant) -> None:
    """It says so with the settings that bear on it, and leaves the plant as it was."""
    start = plant.reset(PARAMETERS)
    message = r"Courant number .* above the limit 0\.01.*env\.flow\.time_step, env\.u_max"
    usual, plant.solver.cfl_limit = plant.solver.cfl_limit, 0.01
    try:
        with pytest.raises(SolverDiverged, match=message):
            plant.step(ACTIONS)
    finally:
        plant.solver.cfl_limit = usual
    assert plant.solver.dt == 0.002
    np.testing.assert_array_equal(plant.restore(plant.snapshot()), start)


def test_a_large_time_step_is_refused(cache: Path) -> None:
    config = flow_config(time_step=0.008, develop_time=1.0)
    with pytest.raises(
        SolverDiverged, match=r"developing the flow at Re 100.*Courant number.*env\.flow\.time_step"
    ):
        flow_plant(cache, config).reset(PARAMETERS)
