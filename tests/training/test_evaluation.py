from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import N, ToyEnv, toy_config

from hypemarl.training import evaluation, setup
from hypemarl.training.records import read_trajectory

LOW, HIGH = np.array([-0.5, 0.0, 1.0]), np.array([0.5, 2.0, 1.0])


def test_sets_are_fixed_nested_disjoint_and_inside_the_box() -> None:
    held_out = evaluation.parameter_set(LOW, HIGH, 64, "held-out")
    validation = evaluation.parameter_set(LOW, HIGH, 64, "validation")
    np.testing.assert_array_equal(
        held_out[:32], evaluation.parameter_set(LOW, HIGH, 32, "held-out")
    )
    # Halton: index 1 in bases 2, 3, 5 is (1/2, 1/3, 1/5)
    np.testing.assert_allclose(validation[0], [0.0, 2.0 / 3.0, 1.0])
    for points in (held_out, validation):
        assert ((points >= LOW) & (points <= HIGH)).all()
    assert not {tuple(row) for row in held_out} & {tuple(row) for row in validation}


def test_sets_cover_the_box_evenly() -> None:
    points = evaluation.parameter_set(np.zeros(2), np.ones(2), 32, "held-out")
    quadrants = np.histogram2d(*points.T, bins=2)[0]
    assert quadrants.min() >= 6
    assert quadrants.max() <= 10


def test_the_validation_set_may_not_reach_the_held_out_one() -> None:
    with pytest.raises(ValueError, match="must be below 1000"):
        evaluation.parameter_set(LOW, HIGH, 1000, "validation")


def test_a_box_that_is_a_point_gives_one_episode() -> None:
    assert evaluation.parameter_set(np.zeros(0), np.zeros(0), 3, "held-out").shape == (1, 0)
    point = np.array([100.0, 0.0])
    np.testing.assert_array_equal(evaluation.parameter_set(point, point, 3, "held-out"), [point])


def toy() -> ToyEnv:
    return ToyEnv(toy_config().env)


def test_costs_and_returns_of_a_known_policy() -> None:
    env = toy()
    result = evaluation.evaluate_policy(
        env, evaluation.uncontrolled(env), np.array([[0.4], [-0.2]])
    )
    # x stays 0: five steps of N/2 target^2, the return is per agent
    expected = 5 * N / 2 * np.array([0.16, 0.04])
    np.testing.assert_allclose(result.costs, expected)
    np.testing.assert_allclose(result.returns, -expected / N)
    np.testing.assert_allclose(result.terms["tracking"], expected)
    assert list(result.terms) == ["tracking", "control"]  # as the environment names them
    assert result.metrics == {}
    assert result.cost == pytest.approx(expected.mean())
    assert result.cost_std == pytest.approx(expected.std())
    assert result.failures == 0


def test_a_failed_episode_costs_infinity() -> None:
    env = toy()
    env.fail_at = lambda episode, step: episode == 2 and step == 3
    result = evaluation.evaluate_policy(env, evaluation.hand_made(env), np.zeros((3, 1)))
    assert np.isinf(result.costs).tolist() == [False, True, False]
    assert result.failures == 1
    assert np.isinf(result.terms["control"]).tolist() == [False, True, False]
    assert result.cost_std == float("inf")


class WithForces(ToyEnv):
    """Also tells drag and lift at two instants of every interval."""

    def step_arrays(self, actions: np.ndarray) -> Any:
        step = super().step_arrays(actions)
        step.info["drag"] = self.time + np.array([-0.5, 0.0])
        step.info["lift"] = np.array([1.0, -1.0]) if self.time > 2 else np.array([9.0, 0.0])
        return step


def test_forces_of_an_episode_become_metrics() -> None:
    env = WithForces(toy_config().env)
    env.fail_at = lambda episode, step: episode == 2
    result = evaluation.evaluate_policy(env, evaluation.uncontrolled(env), np.zeros((2, 1)))
    assert list(result.metrics) == ["drag_mean", "lift_fluctuation"]
    np.testing.assert_allclose(result.metrics["drag_mean"], [2.75, np.nan])
    late = np.std([-1.0, 1.0, -1.0, 1.0, -1.0])  # the last five of ten instants
    np.testing.assert_allclose(result.metrics["lift_fluctuation"], [late, np.nan])
    trajectory = evaluation.record_trajectory(
        env, evaluation.uncontrolled(env), np.zeros(1), None, "x"
    )
    np.testing.assert_allclose(trajectory["drag"], np.arange(0.5, 5.5, 0.5))


def test_rewards_that_are_not_finite_are_failures() -> None:
    env = toy()
    env.reset_arrays(np.array([np.nan]))
    step = env.step_arrays(np.zeros((N, 1)))
    assert step.fault == "rewards: expected finite numbers, got nan from agent 0 (4 such in all)"


def test_simple_policies_stay_in_bounds_and_repeat() -> None:
    env = toy()
    first, second = evaluation.random(env, 1), evaluation.random(env, 1)
    arguments: tuple[Any, Any] = (np.zeros((N, 3)), np.zeros(1))
    actions = first(*arguments)
    assert actions.shape == (N, 1)
    assert np.abs(actions).max() <= 1.0
    np.testing.assert_array_equal(actions, second(*arguments))
    assert np.any(first(*arguments) != actions)
    np.testing.assert_array_equal(evaluation.hand_made(env, -1.0)(*arguments), -1.0)


def test_a_failing_trajectory_ends_where_it_fails(tmp_path: Path) -> None:
    env = toy()
    env.fail_at = lambda episode, step: step == 3
    file = tmp_path / "trajectory.npz"
    evaluation.record_trajectory(env, evaluation.hand_made(env), np.zeros(1), file, "x")
    assert len(read_trajectory(file)["times"]) == 3


def test_devices() -> None:
    import torch

    assert setup.pick_device("cpu") == "cpu"
    assert setup.pick_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device"):
            setup.pick_device("cuda")
