"""One loop runs every episode of a policy; environments keep to one typed contract."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy import N, ToyEnv, toy_config

from hypemarl.envs import Episode, Step
from hypemarl.envs.array_env import plant_of
from hypemarl.training.episodes import Rollout

PUSH = np.full((N, 1), 0.5)
MU = np.array([0.2])


def toy() -> ToyEnv:
    return ToyEnv(toy_config().env)


def test_intervals_have_what_was_seen_done_and_got() -> None:
    seen: list[np.ndarray] = []

    def policy(observations: np.ndarray, mu: np.ndarray) -> np.ndarray:
        np.testing.assert_array_equal(mu, MU)
        seen.append(observations)
        return PUSH

    rollout = Rollout(toy(), policy, MU)
    intervals = list(rollout)
    assert len(intervals) == 5
    assert rollout.failure is None
    np.testing.assert_array_equal(rollout.episode.observations, np.zeros((N, 3)))
    for k, (observations, actions, step) in enumerate(intervals):
        np.testing.assert_array_equal(observations, seen[k])
        np.testing.assert_array_equal(observations[:, 1], np.full(N, 0.125 * k))  # before it
        np.testing.assert_array_equal(step.observations[:, 1], np.full(N, 0.125 * (k + 1)))
        np.testing.assert_array_equal(actions, PUSH)
        assert step.done == (k == 4)


def test_a_failed_step_is_dropped_and_ends_the_rollout() -> None:
    env = toy()
    env.fail_at = lambda episode, step: step == 3
    rollout = Rollout(env, lambda observations, mu: PUSH, MU)
    assert len(list(rollout)) == 2
    assert rollout.failure == "toy diverged"


def test_an_episode_that_cannot_begin_makes_no_step() -> None:
    class Broken(ToyEnv):
        def reset_arrays(self, parameters: np.ndarray) -> Episode:
            return replace(super().reset_arrays(parameters), failure="no state to start from")

    def policy(observations: np.ndarray, mu: np.ndarray) -> np.ndarray:
        raise AssertionError("asked")

    rollout = Rollout(Broken(toy_config().env), policy, MU)
    assert list(rollout) == []
    assert rollout.failure == "no state to start from"


def test_faults_are_failures_and_numbers_that_are_not_finite() -> None:
    sound, holed = np.zeros((2, 1)), np.array([[0.0], [np.nan]])
    assert Episode(sound, MU, sound).fault is None
    assert Episode(sound, MU, sound, "why").fault == "why"
    assert "first observations" in str(Episode(holed, MU, sound).fault)
    assert Step(sound, np.zeros(2), False, False, {}).fault is None
    assert Step(holed, np.zeros(2), True, False, {"failure": "why"}).fault == "why"
    assert str(Step(sound, holed[:, 0], False, False, {}).fault).startswith("rewards: ")


def test_an_environment_inherits_the_optional_part_of_the_contract() -> None:
    env = toy()
    np.testing.assert_array_equal(env.idle_actions, np.zeros((N, 1)))
    assert env.fixed_parameters(3, "held-out") is None
    assert not env.indexed
    with pytest.raises(TypeError, match="expected an environment with a plant, got ToyEnv"):
        plant_of(env)
    with pytest.raises(TypeError, match="ToyEnv cannot keep the state"):
        env.snapshot()
