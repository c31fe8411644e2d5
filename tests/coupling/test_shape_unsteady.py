"""An obstacle that agents move in an unsteady flow, beside the steady plant of its settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from shape_case import PARAMETERS, shape_config, shape_plant

from hypemarl import config as configuration
from hypemarl.config import ConfigError, EnvConfig
from hypemarl.coupling.adjoint import require_adjoint
from hypemarl.envs import make
from hypemarl.meshing.raw import MeshError, measures
from hypemarl.mpi import world
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.solvers.moving_flow import MovingFlow
from hypemarl.systems.shape.unsteady import MovingSolution, UnsteadyShapePlant

ACTIONS = np.random.default_rng(2).uniform(-1.0, 1.0, (4, 8, 1))


def unsteady_config(flow: dict[str, Any] | None = None, **shape: Any) -> EnvConfig:
    return shape_config(flow={"time_step": 0.02} | (flow or {}), mode="unsteady", **shape)


@pytest.fixture(scope="module")
def plant() -> UnsteadyShapePlant:
    return UnsteadyShapePlant(unsteady_config(), world())


def solution(plant: UnsteadyShapePlant) -> MovingSolution:
    flow = plant.snapshot().flow
    assert isinstance(flow, MovingSolution)
    return flow


def test_an_obstacle_at_rest_keeps_the_steady_flow(plant: UnsteadyShapePlant) -> None:
    steady = shape_plant()
    np.testing.assert_array_equal(plant.reset(PARAMETERS), steady.reset(PARAMETERS))
    np.testing.assert_array_equal(plant.baseline, steady.baseline)
    for _ in range(2):
        observations, rewards, info = plant.step(np.zeros((8, 1)))
    np.testing.assert_allclose(rewards, -steady.baseline, atol=2e-4)
    np.testing.assert_allclose(observations, steady.reset(PARAMETERS), atol=2e-3)
    assert info["limit"] is None
    assert plant.time == 1.0


def test_a_shape_that_is_held_comes_to_the_steady_costs(plant: UnsteadyShapePlant) -> None:
    """On the way they differ: the obstacle must set fluid in motion."""
    steady, gaps = shape_plant(), []
    for each in (plant, steady):
        each.reset(PARAMETERS)
    for _ in range(12):
        rewards, expected = (each.step(ACTIONS[0])[1].sum() for each in (plant, steady))
        gaps.append(abs(rewards / expected - 1.0))
    assert gaps[0] > 2e-3
    assert gaps[-1] < 1e-3
    np.testing.assert_allclose(plant.shape.q, steady.shape.q, atol=1e-12)


def test_every_shape_on_the_way_is_feasible(plant: UnsteadyShapePlant) -> None:
    """Area within 0.1%, cells as good as their bound, and the mesh ends at the shape."""
    plant.reset(PARAMETERS)
    paths, advance = [], plant.present.advance
    bounds, motion = plant.moving.feasible.bounds, plant.present.motion
    whole = measures(motion.raw.points, motion.raw.cells).sum()
    plant.present.advance = lambda start, path: (paths.append(path), advance(start, path))[1]  # type: ignore[method-assign]
    for sign in (1.0, -1.0):
        plant.step(sign * np.sign(ACTIONS[1]))
        np.testing.assert_allclose(paths[-1][-1], plant.shape.q, atol=1e-15)
    del plant.present.advance  # type: ignore[method-assign]
    assert paths[0].shape == (25, len(plant.shape.q))
    change = np.abs(np.diff(np.concatenate(paths), axis=0)).max(axis=1)
    assert change[12] > 3.0 * change[0]  # it sets in and ends smoothly
    for q in np.concatenate(paths):
        area = measures(motion.points(q), motion.raw.cells).sum()
        assert abs(area - whole) < 1e-3 * plant.moving.feasible.area
        assert motion.worst_cell(q)[0] > 0.95 * bounds.min_quality
    corner = plant.fields()["points"]
    np.testing.assert_allclose(
        np.sort(corner[:, 0]), np.sort(motion.points(plant.shape.q)[:, 0]), atol=1e-12
    )


def test_costs_and_tractions_are_means_over_the_interval() -> None:
    tested = UnsteadyShapePlant(unsteady_config({"lift_weight": 0.7}), world())
    tested.reset(PARAMETERS)
    observations, rewards, info = tested.step(ACTIONS[2])
    forces = solution(tested).agent_forces
    assert forces.shape == (25, 8, 2)
    along, left = tested.cost.axes(0.3) @ forces.sum(axis=1).T
    assert tested.interval is not None
    terms = tested.interval.costs.terms
    assert terms["drag"] == pytest.approx(0.5 * along.mean(), rel=1e-12)
    assert terms["lift"] == pytest.approx(0.5 * 0.7 * (left**2).mean(), rel=1e-12)
    assert -rewards.sum() == pytest.approx(sum(terms.values()), rel=1e-12)
    assert info["drag"] == pytest.approx(along.mean(), rel=1e-12)
    directions = tested.layout.directions[:, 0]
    tractions = tested.traction * np.einsum("ni,ni->n", directions, forces.mean(axis=0))
    own = observations.reshape(8, 3, 4)[:, 1]
    np.testing.assert_allclose(own[:, 0], tractions, rtol=1e-12)


def test_dissipation_is_taken_in_every_step_where_it_costs() -> None:
    tested = UnsteadyShapePlant(unsteady_config({"objective": "dissipation"}), world())
    tested.reset(PARAMETERS)
    _, _, info = tested.step(ACTIONS[2])
    each = solution(tested).agent_dissipation
    assert each.shape == (25, 8)
    assert np.ptp(each.sum(axis=1)) > 0.1
    assert tested.interval is not None
    found = tested.interval.costs.terms["dissipation"]
    assert found == pytest.approx(0.5 * each.sum(axis=1).mean(), rel=1e-12)
    assert info["dissipation"] == pytest.approx(2.0 * found, rel=1e-12)


def test_episodes_repeat_to_the_last_bit(plant: UnsteadyShapePlant) -> None:
    def run() -> list[np.ndarray]:
        found = [plant.reset(PARAMETERS)]
        for action in ACTIONS:
            found += plant.step(action)[:2]
        return found

    first = run()
    plant.reset(np.array([21.0, -0.4]))
    plant.step(-ACTIONS[0])
    for found, expected in zip(run(), first, strict=True):
        np.testing.assert_array_equal(found, expected)
    plant.reset(PARAMETERS)
    plant.step(ACTIONS[0])
    state = plant.snapshot()
    plant.step(ACTIONS[2])
    np.testing.assert_array_equal(plant.restore(state), first[1])
    np.testing.assert_array_equal(plant.step(ACTIONS[1])[1], first[4])


def test_a_flow_that_diverges_leaves_the_state(
    plant: UnsteadyShapePlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.reset(PARAMETERS)
    plant.step(ACTIONS[0])
    before, pictured = plant.snapshot(), plant.fields()

    def fail(self: MovingFlow) -> None:
        raise SolverDiverged("no step")

    with monkeypatch.context() as patch:
        patch.setattr(MovingFlow, "step", fail)
        with pytest.raises(
            SolverDiverged, match=r"shape at Re 30, angle 0\.3: no step .env\.shape\.time_step"
        ):
            plant.step(ACTIONS[1])
    assert plant.snapshot() is before
    np.testing.assert_array_equal(plant.fields()["points"], pictured["points"])
    rewards = plant.step(ACTIONS[1])[1]
    plant.restore(before)
    np.testing.assert_array_equal(plant.step(ACTIONS[1])[1], rewards)


def test_a_mesh_that_is_turned_over_fails_the_step(
    plant: UnsteadyShapePlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a flow that diverges does, and with the settings that bear on it."""
    plant.reset(PARAMETERS)
    before = plant.snapshot()

    def turned(self: MovingFlow, points: np.ndarray) -> None:
        raise MeshError("a cell has the signed area -1")

    message = r"shape at Re 30, angle 0\.3: no mesh of the shape: a cell.*env\.shape\.amplitude"
    with monkeypatch.context() as patch:
        patch.setattr(MovingFlow, "move", turned)
        with pytest.raises(SolverDiverged, match=message):
            plant.step(ACTIONS[0])
    assert plant.snapshot() is before
    assert np.isfinite(plant.step(ACTIONS[0])[1]).all()


def test_the_environment_of_an_unsteady_shape() -> None:
    settings = ["env.shape.mode=unsteady", "env.shape.time_step=0.01"]
    env = make(configuration.load("shape-morphing", settings).env)
    assert isinstance(env.plant, UnsteadyShapePlant)
    env.reset_arrays(PARAMETERS)
    step = env.step_arrays(0.3 * np.ones((12, 1)))
    assert not step.terminated
    assert env.plant.adjoint_fault
    with pytest.raises(TypeError, match="no adjoint of UnsteadyShapePlant"):
        require_adjoint(env.plant)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (["env.shape.time_step=0.3"], "must divide the control interval"),
        (["env.shape.time_step=2"], "must divide the control interval"),
        (["env.shape.remesh=true"], "keeps it"),
    ],
)
def test_settings_that_do_not_fit(override: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configuration.load("shape-morphing", ["env.shape.mode=unsteady", *override])
