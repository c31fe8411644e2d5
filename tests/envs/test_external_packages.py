"""VMAS, multi-agent MuJoCo and PettingZoo's own environments, where they are installed."""

from __future__ import annotations

import importlib.util
import random
from typing import Any

import numpy as np
import pytest
import torch
from pettingzoo.test import parallel_api_test

from hypemarl import config as configuration
from hypemarl import envs
from hypemarl.config.external import ExternalConfig
from hypemarl.envs.external.sources import open_source
from hypemarl.training import evaluation


def needs(package: str, remedy: str = "pip install hypemarl[external]") -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed: {remedy}")


def make(source: str, **settings: Any) -> Any:
    overrides = [f"env.external.{key}={value}" for key, value in settings.items()]
    scenario = configuration.scenario_of(source)
    return envs.make(
        configuration.load(scenario, [f"env.external.source={source}", *overrides]).env
    )


@needs("vmas")
def test_vmas_speaks_pettingzoo(capsys: pytest.CaptureFixture[str]) -> None:
    parallel_api_test(open_source(ExternalConfig("vmas:dispersion", ("max_steps=7",))), 20)


@needs("vmas")
def test_vmas_repeats_by_seed_and_leaves_global_generators_alone() -> None:
    env = make("vmas:navigation")
    before = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[2]  # noqa: NPY002

    def episode(seed: float) -> np.ndarray:
        first = env.reset_arrays(np.array([seed])).observations
        steps = [env.step_arrays(np.full((4, 2), 0.3)).observations for _ in range(5)]
        return np.stack([first, *steps])

    one, other, again = episode(1.0), episode(2.0), episode(1.0)
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.1
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[2] == before[2]  # noqa: NPY002


@needs("vmas")
def test_dispersion_by_everyone_to_its_own_food_reaches_the_known_best_return() -> None:
    env = make("vmas:dispersion")

    def own_food(observations: np.ndarray, mu: np.ndarray) -> np.ndarray:
        way = np.stack([row[4 + 3 * i : 6 + 3 * i] for i, row in enumerate(observations)])
        return np.clip(5.0 * way - 3.0 * observations[:, 2:4], -1.0, 1.0)

    seeds = evaluation.fixed_set(env, 4, "held-out")
    result = evaluation.evaluate_policy(env, own_food, seeds)
    np.testing.assert_allclose(result.costs, -4.0, atol=1e-5)  # one for each of 4 foods
    np.testing.assert_allclose(result.returns, 1.0, atol=1e-5)
    episode, count, done = env.reset_arrays(seeds[0]), 0, False
    observations = episode.observations
    while not done:
        step = env.step_arrays(own_food(observations, episode.mu))
        observations, done, count = step.observations, step.terminated or step.truncated, count + 1
    assert step.terminated
    assert count < env.control_steps


@needs("gymnasium_robotics")
def test_humanoid_has_an_agent_for_each_actuator_and_one_reward() -> None:
    import gymnasium

    env = make("mamujoco:Humanoid", scaling_episodes=0)
    assert (env.n_agents, env.action_size) == (17, 1)
    whole = gymnasium.make("Humanoid-v5")
    unit = np.random.default_rng(0).uniform(-1.0, 1.0, (4, 17, 1))
    env.reset_arrays(np.array([3.0]))
    whole.reset(seed=3)
    for actions in unit:
        step = env.step_arrays(actions)
        _, reward, terminated, _, _ = whole.step((0.4 * actions[:, 0]).astype(np.float32))
        np.testing.assert_allclose(step.rewards, reward, rtol=1e-6)
        assert step.info["cost"] == pytest.approx(-17 * reward, rel=1e-6)
        assert step.terminated == terminated


@needs("gymnasium_robotics")
def test_partitions_of_the_package_are_there_too() -> None:
    env = make("'mamujoco:Humanoid:9|8'")
    assert (env.n_agents, env.action_size) == (2, 9)
    step = env.step_arrays(env.reset_arrays(np.array([1.0])).observations[:, :9] * 0.0)
    assert np.isfinite(step.observations).all()


@needs("Box2D", "pip install 'pettingzoo[sisl]'")
def test_multiwalker_of_pettingzoo() -> None:
    env = make("pettingzoo:pettingzoo.sisl.multiwalker_v9:parallel_env")
    assert (env.n_agents, env.action_size) == (3, 4)
    seeds = evaluation.fixed_set(env, 2, "held-out")
    result = evaluation.evaluate_policy(env, evaluation.random(env), seeds)
    assert np.isfinite(result.costs).all()


@needs("mpe2")
def test_a_speaker_and_a_listener_of_mpe2() -> None:
    """Agents with observations and actions of different lengths, and no places."""
    env = envs.make(configuration.load("speaker-listener").env)
    assert (env.n_agents, env.observation_size, env.action_size) == (2, 12, 5)
    seeds = evaluation.fixed_set(env, 2, "held-out")
    one, again = (
        evaluation.evaluate_policy(env, evaluation.random(env), seeds).costs for _ in range(2)
    )
    np.testing.assert_array_equal(one, again)
    assert (one > 0.0).all()
