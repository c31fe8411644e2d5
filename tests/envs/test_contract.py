"""Breaches of PettingZoo's interface by other people's environments, and values not finite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from test_external import make as make_points

from hypemarl import config as configuration
from hypemarl import envs
from hypemarl.envs import EpisodeError
from hypemarl.envs.external.contract import ContractError
from hypemarl.training import evaluation


def make(factory: str, **settings: Any) -> Any:
    overrides = [f"env.external.source=pettingzoo:broken:{factory}", "env.control_steps=6"]
    overrides += [f"env.external.{name}={value}" for name, value in settings.items()]
    return envs.make(configuration.load("external", [*overrides, "agent.batch_steps=0"]).env)


@pytest.fixture(autouse=True)
def trust() -> Iterator[None]:
    """Let the environments of this file be imported."""
    with configuration.trusted(everything=True):
        yield


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("RewardArray", r"reward of agent 'point_1': expected a number, got an array of shape \(1"),
        ("RewardNone", "reward of agent 'point_1': expected a number, got None"),
        ("RewardMissing", "expected a reward of agent 'point_1', which acted, got none"),
        ("ObservationMissing", "expected an observation of the live agent 'point_1', got those of"),
        ("FirstObservationMissing", "expected an observation of the live agent 'point_1'"),
        ("WrongShape", r"'point_1': expected an array of numbers of shape \(1,\), got an array of"),
        ("WrongType", "'point_1': expected an array of numbers .* type <U1"),
        ("ObservationsOnly", r"reset\(\): expected \(observations, infos\).* got a dict"),
        ("FourOfFive", r"step\(\): expected \(observations, rewards.*a tuple of dict, dict, dict"),
        ("Nobody", "possible_agents: expected a list of one agent or more, got none"),
        ("NoList", "possible_agents: expected a list of one agent or more, got none"),
        ("Seedless", r"expected reset\(seed=None, options=None\).* got reset\(\)"),
        ("NobodyLives", r"reset\(\): expected live agents in `agents`, got none"),
        ("Stranger", r"expected some of its possible_agents, got \['stranger'\] too"),
        ("NoSpace", "observation_space of agent 'point_0': expected a space that flattens"),
        ("Raises", r"step\(\) raised KeyError: 'b' \(broken.py, line \d+\)"),
        ("PlaceMissing", r"agent_positions: expected all agents, \['point_2'\] missing"),
        ("PlaceNan", r"agent_positions of agent 'point_2': expected finite coordinates.*nan"),
        ("PlaceFlat", r"agent_positions of agent 'point_2': expected finite coordinates"),
    ],
)
def test_a_breach_is_named_at_the_start(factory: str, message: str) -> None:
    with pytest.raises(ContractError, match=f"^pettingzoo:broken:{factory}: .*{message}") as caught:
        make(factory)
    assert "\n" not in str(caught.value)


def test_an_environment_that_cannot_be_made_is_named_with_the_reason() -> None:
    expected = "^pettingzoo:broken:FileMissing cannot be made .*FileNotFoundError: .*nowhere"
    with pytest.raises(configuration.ConfigError, match=expected):
        make("FileMissing")


def test_a_later_breach_has_the_same_words() -> None:
    env = make("LateBreach")
    env.reset_arrays(np.array([1.0]))
    for _ in range(2):  # one was made in the trial
        env.step_arrays(np.zeros((4, 1)))
    with pytest.raises(ContractError, match="reward of agent 'point_1': expected a number"):
        env.step_arrays(np.zeros((4, 1)))


def test_what_is_unusual_but_right_runs_to_the_same_costs() -> None:
    env, plain = make("Sound"), make_points("PointAgents")
    seeds = np.array([[1.0], [2.0]])
    one, other = (
        evaluation.evaluate_policy(e, evaluation.uncontrolled(e), seeds) for e in (env, plain)
    )
    np.testing.assert_allclose(one.costs, other.costs, rtol=1e-6)
    assert make("Somewhere").positions.tolist() == [[0, 0], [1, 0], [2, 0], [3, 0]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("scaling", [0, 3])
def test_values_that_are_not_finite_fail_the_episode(value: float, scaling: int) -> None:
    options = f"['first=[7]', 'second=[8]', 'value=.{str(value)}']"
    env = make("NotFinite", options=options, scaling_episodes=scaling)
    where = f"expected finite numbers, got {value} from agent 'point_1', entry 0 (1 such in all)"
    episode = env.reset_arrays(np.array([7.0]))
    assert episode.fault == f"first observations: {where}"
    with pytest.raises(EpisodeError, match="no episode is running"):
        env.step_arrays(np.zeros((4, 1)))
    env.reset_arrays(np.array([8.0]))
    good = env.step_arrays(np.zeros((4, 1)))
    bad = env.step_arrays(np.zeros((4, 1)))
    assert good.fault is None
    assert bad.fault == f"control step 2, observations: {where}"
    np.testing.assert_array_equal(bad.observations, good.observations)
    seeds = np.array([[6.0], [7.0], [8.0], [9.0]])
    result = evaluation.evaluate_policy(env, evaluation.uncontrolled(env), seeds)
    assert result.failures == 2
    assert np.isfinite(result.costs).tolist() == [True, False, False, True]


def test_failed_scaling_episodes_are_left_out() -> None:
    broken = "['first=[500001]', 'second=[500003]']"
    with pytest.warns(UserWarning, match="2 of 4 scaling episodes failed: .*agent 'point_1'"):
        env = make("NotFinite", options=broken, scaling_episodes=4)
    observations = env.reset_arrays(np.array([3.0])).observations
    assert np.isfinite(observations).all()
    with pytest.warns(UserWarning, match="1 of 2"):
        env = make("NotFinite", options="['first=[500001]']", scaling_episodes=2)
    alone = make("NotFinite", scaling_episodes=1)
    np.testing.assert_array_equal(
        env.reset_arrays(np.array([3.0])).observations,
        alone.reset_arrays(np.array([3.0])).observations,
    )
    with pytest.raises(ContractError, match="2 of 2 scaling episodes failed"):
        make("NotFinite", options="['first=[500000, 500001]']", scaling_episodes=2)


def test_it_says_what_it_is() -> None:
    env = make_points("PointAgents")
    assert repr(env) == "ExternalEnv(pettingzoo:point_agents:PointAgents, 4 agents)"
    with pytest.raises(AttributeError, match="no 'reset': it has the array calls.*parallel_env"):
        env.reset(seed=0)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = env.nothing
    observations, _ = env.parallel_env.reset(seed=3)
    expected = env.reset_arrays(np.array([3.0])).observations[:, 0]
    np.testing.assert_array_equal([*np.ravel(list(observations.values()))], expected)
    env.close()
    env.close()
