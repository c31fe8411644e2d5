"""External environments behind the arrays of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from point_agents import SPEED, Uneven, best_return, start

from hypemarl import config as configuration
from hypemarl import envs
from hypemarl.agents.noise import Noise
from hypemarl.config import ConfigError
from hypemarl.coupling.plant import ActionError
from hypemarl.envs.external import env as external
from hypemarl.training import evaluation

UNIT = np.zeros((3, 3))


def make(factory: str, steps: int = 6, **settings: Any) -> Any:
    overrides = [f"env.external.source=pettingzoo:point_agents:{factory}"]
    overrides += [f"env.external.{name}={value}" for name, value in settings.items()]
    overrides += [f"env.control_steps={steps}", "agent.batch_steps=0"]
    return envs.make(configuration.load("external", overrides).env)


@pytest.fixture(autouse=True)
def _trust() -> Iterator[None]:
    with configuration.trusted(everything=True):
        yield


@pytest.fixture
def uneven(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, Uneven]]:
    """The adapter over an Uneven with these ends, and the Uneven itself."""

    def build(repeat: int = 1, **ends: tuple[str, str]) -> tuple[Any, Uneven]:
        inner = Uneven({int(step[1:]): names for step, names in ends.items()})
        monkeypatch.setattr(external, "open_source", lambda config: inner)
        env = make("Uneven", repeat=repeat)
        inner.received.clear()  # of the trial
        return env, inner

    return build


def test_cost_is_minus_the_summed_return_of_the_known_optimum() -> None:
    env, steps = make("PointAgents"), 6
    slots = np.linspace(-1.0, 1.0, 4)

    def straight(observations: np.ndarray, mu: np.ndarray) -> np.ndarray:
        assert mu.shape == (0,)
        return np.clip((slots - observations[:, 0]) / SPEED, -1.0, 1.0)[:, None]

    seeds = evaluation.fixed_set(env, 3, "held-out")
    result = evaluation.evaluate_policy(env, straight, seeds)
    expected = [best_return(int(seed), steps) for seed in seeds[:, 0]]
    np.testing.assert_allclose(-result.costs, expected, rtol=1e-12)
    np.testing.assert_allclose(result.returns, np.array(expected) / 4, rtol=1e-12)
    idle = evaluation.evaluate_policy(env, evaluation.uncontrolled(env), seeds)
    stay = [steps * np.abs(slots - start(int(seed))).sum() for seed in seeds[:, 0]]
    np.testing.assert_allclose(idle.costs, stay, rtol=1e-12)


def test_an_episode_is_a_seed_and_fixed_sets_are_never_trained_on() -> None:
    env = make("PointAgents")
    observations = env.reset_arrays(np.array([7.0])).observations
    np.testing.assert_allclose(observations, [[start(7), 1.0]] * 4)
    sets = {name: evaluation.fixed_set(env, 50, name) for name in ("validation", "held-out")}
    assert sets["validation"][:, 0].tolist() == list(range(1, 51))
    assert sets["held-out"][:, 0].tolist() == list(range(1000, 1050))
    generator = np.random.default_rng(0)
    drawn = np.array([env.sample_parameters(generator)[0] for _ in range(1000)])
    assert drawn.min() >= 1_000_000
    assert len(set(drawn)) > 990


def test_the_horizon_truncates() -> None:
    env = make("PointAgents", steps=2)
    env.reset_arrays(np.array([1.0]))
    steps = [env.step_arrays(np.zeros((4, 1))) for _ in range(2)]
    assert [(s.terminated, s.truncated) for s in steps] == [(False, False), (False, True)]


def test_sizes_are_padded_and_marked(uneven: Any) -> None:
    env, _ = uneven()
    assert (env.n_agents, env.observation_size, env.action_size) == (3, 5, 3)
    expected = [[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 1, 1, 0, 1]]
    np.testing.assert_array_equal(env.reset_arrays(np.array([1.0])).observations, expected)


def test_actions_reach_each_agent_in_its_own_range(uneven: Any) -> None:
    env, inner = uneven()
    env.reset_arrays(np.array([1.0]))
    for unit in (-1.0, 0.0, 1.0):
        env.step_arrays(np.full((3, 3), unit))
    for agent, box in inner.boxes.items():
        low, middle, high = (received[agent] for received in inner.received)
        np.testing.assert_allclose(low, box.low)
        np.testing.assert_allclose(high, box.high)
        np.testing.assert_allclose(middle, 0.5 * (box.low + box.high))


def test_no_control_is_zero_in_the_own_units_or_next_to_it(uneven: Any) -> None:
    env, inner = uneven()
    env.reset_arrays(np.array([1.0]))
    env.step_arrays(evaluation.uncontrolled(env)(np.zeros((3, 5)), np.zeros(0)))
    np.testing.assert_allclose(inner.received[0]["long"], [0.0])
    np.testing.assert_allclose(inner.received[0]["short"], [0.0, 1.0])  # of 1 to 2
    np.testing.assert_allclose(inner.received[0]["wide"], np.zeros((3, 1)))


def test_an_agent_that_terminates_alone_is_absorbed(uneven: Any) -> None:
    env, inner = uneven(s2=("short", ""), s4=("long wide", ""))
    env.reset_arrays(np.array([1.0]))
    steps = [env.step_arrays(UNIT) for _ in range(4)]
    assert [s.terminated for s in steps] == [False, False, False, True]
    assert not any(s.truncated for s in steps)
    np.testing.assert_array_equal([s.observations[1, -1] for s in steps], [1, 0, 0, 0])
    np.testing.assert_array_equal([s.observations[0, -1] for s in steps], [1, 1, 1, 0])
    np.testing.assert_array_equal([s.rewards[1] for s in steps], [1, 1, 0, 0])
    assert not steps[1].observations[1].any()
    assert [s.info["cost"] for s in steps] == [-3.0, -3.0, -2.0, -2.0]
    assert list(inner.received[2]) == ["long", "wide"]
    fresh = env.reset_arrays(np.array([1.0])).observations
    assert fresh[:, -1].all()


def test_a_truncated_agent_ends_the_episode_and_keeps_its_future(uneven: Any) -> None:
    env, _ = uneven(s1=("long", ""), s2=("wide", "short"))
    env.reset_arrays(np.array([1.0]))
    env.step_arrays(UNIT)
    last = env.step_arrays(UNIT)
    assert (last.terminated, last.truncated) == (False, True)
    np.testing.assert_array_equal(last.observations[:, -1], [0, 1, 0])
    np.testing.assert_array_equal(last.observations[1], [3, 0, 0, 0, 1])


def test_a_held_action_sums_rewards_until_the_end(uneven: Any) -> None:
    env, inner = uneven(repeat=3, s4=("short", ""), s5=("long wide", ""))
    env.reset_arrays(np.array([1.0]))
    first, last = (env.step_arrays(UNIT) for _ in range(2))
    np.testing.assert_array_equal(first.rewards, [3, 3, 3])
    np.testing.assert_array_equal(last.rewards, [2, 1, 2])  # one leaves alone before the others
    np.testing.assert_array_equal(first.observations[0], [4, 4, 4, 4, 1])
    assert (first.terminated, last.terminated, len(inner.received)) == (False, True, 5)
    assert first.info["cost"] == -9.0


def test_a_held_action_ends_where_an_agent_is_truncated(uneven: Any) -> None:
    env, inner = uneven(repeat=3, s2=("", "wide"))
    env.reset_arrays(np.array([1.0]))
    step = env.step_arrays(UNIT)
    assert (step.truncated, len(inner.received)) == (True, 2)


def test_wrong_actions_are_refused() -> None:
    env = make("PointAgents")
    env.reset_arrays(np.array([1.0]))
    with pytest.raises(ActionError, match=r"expected shape \(4, 1\)"):
        env.step_arrays(np.zeros((4, 2)))


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_on_the_ring_everyone_is_near_once(count: int) -> None:
    env = make("PointAgents", options=f"[n_agents={count}]")
    near = env.stencil(99)
    assert near.shape == (count, 2 * (count // 2) + 1)
    for i, row in enumerate(near):
        assert row[len(row) // 2] == i
        assert sorted(row[row >= 0]) == list(range(count))
    np.testing.assert_array_equal(env.positions, np.arange(count)[:, None])


def test_exploration_does_not_join_agents_that_only_stand_next_in_a_list() -> None:
    for factory, joined in (("PointAgents", False), ("Placed", True)):
        spec = make(factory).agent_spec
        noise = Noise(spec, 0.9, seed=0)
        samples = np.array([noise.sample()[:, 0] for _ in range(4000)])
        between = np.corrcoef(samples[::10].T)[0]
        assert (np.abs(between[1:]).max() > 0.5) == joined
        assert samples.std() == pytest.approx(1.0, abs=0.2)


def test_near_agents_on_the_ring_stand_at_the_same_distance() -> None:
    near = make("PointAgents", options="[n_agents=5]").stencil(1)
    assert near.tolist() == [[4, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 0]]


def test_places_that_the_environment_offers_are_used() -> None:
    env = make("Placed")
    assert env.positions.shape == (5, 2)
    assert env.spacing == pytest.approx(2 * np.sin(np.pi / 5))
    beside = [set(row) - {i} for i, row in enumerate(env.stencil(1))]
    assert beside == [{2, 3}, {4, 3}, {0, 4}, {0, 1}, {1, 2}]
    assert all(env.stencil(1)[:, 1] == np.arange(5))
    assert sorted(env.stencil(9)[3]) == [0, 1, 2, 3, 4]


def test_observations_are_scaled_once_by_random_episodes_of_fixed_seeds() -> None:
    env, again = make("PointAgents", scaling_episodes=40), make("PointAgents", scaling_episodes=40)
    plain = make("PointAgents")
    first = env.reset_arrays(np.array([3.0])).observations
    np.testing.assert_array_equal(first, again.reset_arrays(np.array([3.0])).observations)
    bare = plain.reset_arrays(np.array([3.0])).observations
    np.testing.assert_array_equal(first[:, -1], bare[:, -1])
    # An agent walks at random from about 0: what it sees has roughly mean 0 and deviation 1.
    generator, seen = np.random.default_rng(1), []
    for seed in range(40):
        env.reset_arrays(np.array([float(seed)]))
        seen += [
            env.step_arrays(generator.uniform(-1, 1, (4, 1))).observations[:, 0] for _ in range(6)
        ]
    assert np.abs(np.mean(seen, axis=0)).max() < 0.5
    assert np.std(seen, axis=0) == pytest.approx(np.ones(4), abs=0.4)
    env.control_steps = 300
    env.reset_arrays(np.array([1.0]))
    far = [env.step_arrays(np.ones((4, 1))).observations[0, 0] for _ in range(200)][-1]
    assert far == 10.0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gym:CartPole", "expected one of pettingzoo:MODULE:FACTORY, .*vmas:SCENARIO"),
        ("'vmas:'", "expected one of"),
        ("''", "expected one of"),
        ("pettingzoo:no_such_module:env", "no_such_module cannot be imported"),
        ("pettingzoo:point_agents:nobody", "has no 'nobody'"),
        ("pettingzoo:point_agents:not_parallel", r"expected a pettingzoo\.ParallelEnv"),
        ("pettingzoo:point_agents:Discretely", r"'point_0' has actions Discrete\(3\)"),
        ("pettingzoo:point_agents:Boundless", "expected finite bounds"),
    ],
)
def test_what_cannot_be_opened_is_named(source: str, message: str) -> None:
    loaded = configuration.load("external", [f"env.external.source={source}"])
    with pytest.raises(ConfigError, match=message):
        envs.make(loaded.env)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.algorithm=apg", "local states"),
        ("training.algorithm=irl", "local states"),
        ("agent.credit=adjoint", "needs the adjoint of the plant"),
        ("agent.credit=central", "agents on a grid"),
        ("env.external.options=[n_agents]", r"expected name=value.*'n_agents'"),
        ("env.external.options=['a={']", "not valid YAML"),
        ("env.system=density", "settings of system external"),
    ],
)
def test_settings_that_need_a_plant_are_refused(override: str, message: str) -> None:
    overrides = ["env.external.source=vmas:dispersion", "agent.cloning=1", override]
    with pytest.raises(ConfigError, match=message):
        configuration.check_training(configuration.load("external", overrides))


def test_a_source_finds_its_own_scenario() -> None:
    assert configuration.scenario_of("vmas:dispersion") == "vmas-dispersion"
    source = "pettingzoo:mpe2.simple_speaker_listener_v4:parallel_env"
    assert configuration.scenario_of(source) == "speaker-listener"
    assert configuration.scenario_of("vmas:balance") == "external"
