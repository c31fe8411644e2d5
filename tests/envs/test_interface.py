"""Demands of other libraries on an environment: infos, bounds, copies, seeds, options, order."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from infos_form import signature
from mpi4py import MPI
from test_parallel import SMALL

from hypemarl import cli
from hypemarl import config as configuration
from hypemarl.coupling.plant import ActionError, Plant, StepCosts
from hypemarl.envs import EpisodeError, PDEEnv, make
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.systems.density.mesh_checks import bump, mass_bound
from hypemarl.training import evaluation

MIDDLE = {"parameters": np.array([-0.25, 0.25])}


@pytest.fixture
def env() -> PDEEnv:
    return make(SMALL)


def nothing(env: PDEEnv) -> dict[str, np.ndarray]:
    return {agent: np.zeros(env.action_size) for agent in env.possible_agents}


def test_infos_have_equal_keys_types_and_shapes_at_every_step(env: PDEEnv) -> None:
    _, infos = env.reset(seed=0)
    first = signature(infos)
    assert {key for _, key, _, _ in first} == {
        *("mu", "position", "cost", "local_cost", "failed", "time_steps"),
        *("cost_tracking", "cost_boundary", "cost_control", "cost_control_gradient"),
    }
    while env.agents:
        infos = env.step(nothing(env))[4]
        assert signature(infos) == first
    info = infos["agent_1"]
    assert info["cost"] == pytest.approx(sum(i["local_cost"] for i in infos.values()))
    terms = [value for key, value in info.items() if key.startswith("cost_")]
    assert info["cost"] == pytest.approx(sum(terms))
    assert info["cost"] > 0.0
    np.testing.assert_array_equal(info["position"], env.positions[1])


def test_infos_of_what_a_plant_measures_keep_their_shape_too(env: PDEEnv) -> None:
    plant, step = env.plant, env.plant.step
    plant.measured = {"time_steps": 0, "drag": np.zeros(4), "limited": False}
    more = {"drag": np.arange(4.0), "limited": np.bool_(True), "limit": "a text stays outside"}
    plant.step = lambda actions: (lambda o, r, i: (o, r, i | more))(*step(actions))
    env = PDEEnv(plant, SMALL)
    _, infos = env.reset(options=MIDDLE)
    first = signature(infos)
    assert not infos["agent_0"]["drag"].any()
    infos = env.step(nothing(env))[4]
    assert signature(infos) == first
    infos["agent_0"]["drag"][:] = 7.0
    np.testing.assert_array_equal(infos["agent_1"]["drag"], np.arange(4.0))
    assert infos["agent_1"]["limited"] is True


class Shed(Plant):
    """Temperatures of two rooms, each with a heater: a user's plant of what must be there only."""

    comm = MPI.COMM_SELF
    observation_size = 1
    action_low, action_high = np.zeros(1), np.ones(1)
    positions, time = np.array([[0.0], [1.0]]), 0.0
    parameter_names = ("initial_x",)
    parameter_low, parameter_high = np.array([0.0]), np.array([1.0])

    def reset(self, parameters: np.ndarray, seed: int | None = None) -> np.ndarray:
        self.heat = np.full((2, 1), parameters[0])
        return self.heat.copy()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        self.heat = 0.5 * self.heat + actions
        shares = self.heat[:, 0] ** 2
        costs = StepCosts({"heat": float(shares.sum())}, shares)
        return self.heat.copy(), -shares, {"costs": costs, "time_steps": 1}

    def snapshot(self) -> Any:
        return self.heat.copy()

    def restore(self, state: Any) -> np.ndarray:
        self.heat = state.copy()
        return self.heat.copy()


def test_a_plant_may_leave_out_what_has_a_default() -> None:
    plant = Shed()
    assert (plant.n_agents, plant.action_size, plant.spacing, plant.own_features) == (2, 1, 1, (0,))
    env = PDEEnv(plant, replace(SMALL, context=("initial",)))
    box = env.observation_space("agent_0")
    assert (box.shape, box.low[0], box.high[0]) == ((1,), -np.inf, np.inf)
    observations, infos = env.reset(options={"parameters": [0.5]})
    first = signature(infos)
    assert observations["agent_1"] == 0.5
    while env.agents:
        _, rewards, _, _, infos = env.step(nothing(env))
        assert signature(infos) == first
    assert infos["agent_0"]["cost"] == pytest.approx(2 * 0.0625**2)
    plant.cost_terms, plant.observation_low = ("heat",), np.zeros(1)
    told = PDEEnv(plant, replace(SMALL, context=("initial",)))
    assert told.observation_space("agent_1").low[0] == 0.0
    told.reset(seed=0)
    assert told.step(nothing(told))[4]["agent_0"]["cost_heat"] > 0.0


def test_a_failed_step_keeps_the_form_of_infos_and_says_why_apart() -> None:
    env = make(replace(SMALL, divergence_limit=1e-9))
    first = signature(env.reset(seed=0)[1])
    *_, terminations, truncations, infos = env.step(nothing(env))
    assert signature(infos) == first
    assert all(info["failed"] for info in infos.values())
    assert (all(terminations.values()), any(truncations.values())) == (True, False)
    assert env.failure is not None
    assert "cost of the interval" in env.failure
    assert not any(info["failed"] for info in env.reset(seed=1)[1].values())
    assert env.failure is None


def test_what_is_written_into_results_changes_nothing(env: PDEEnv) -> None:
    twin, positions = make(SMALL), env.positions.copy()
    for one in (env, twin):
        one.reset(options=MIDDLE)
    observations, infos = env.reset(options=MIDDLE)
    for info in infos.values():
        info["position"][:], info["mu"][:] = 99.0, 7.0
        break
    assert infos["agent_1"]["mu"][0] == 0.25
    for values in observations.values():
        values[:] = -1.0
    np.testing.assert_array_equal(env.positions, positions)
    np.testing.assert_array_equal(env.state(), twin.state())
    episode = env.reset_arrays(MIDDLE["parameters"])
    for values in (episode.observations, episode.mu, episode.targets):
        values[:] = 99.0
    step, expected = env.step(nothing(env)), twin.step(nothing(twin))
    np.testing.assert_array_equal(step[0]["agent_2"], expected[0]["agent_2"])
    assert step[4]["agent_2"]["mu"][0] == 0.25
    arrays = env.step_arrays(np.zeros((5, 1)))
    arrays.observations[:] = 99.0
    twin.step_arrays(np.zeros((5, 1)))
    np.testing.assert_array_equal(env.state(), twin.state())


def first_observations(env: PDEEnv, seed: int) -> np.ndarray:
    """For another process: the pickled environment's episode of this seed."""
    return np.array(list(env.reset(seed=seed)[0].values()))


def test_copies_come_from_the_configuration(env: PDEEnv) -> None:
    env.reset(seed=3)
    env.step(nothing(env))
    expected = first_observations(make(SMALL), 5)
    copies = [pickle.loads(pickle.dumps(env)), copy.deepcopy(env)]
    for one in copies:
        assert one.config == env.config
        assert not one.agents  # of a running episode nothing is taken along
        np.testing.assert_array_equal(first_observations(one, 5), expected)
    assert env.agents  # the original goes on
    env.step(nothing(env))


def test_a_pickled_environment_finds_its_mesh_from_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["mesh", "density-1d", "--output", "line.msh"]) == 0
    on_file = make(configuration.load("density-1d", ["env.mesh.file=line.msh"]).env)
    content = pickle.dumps(on_file)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    expected = first_observations(on_file, 5)
    np.testing.assert_array_equal(first_observations(pickle.loads(content), 5), expected)


@pytest.mark.slow
def test_an_environment_goes_to_a_process_of_its_own(env: PDEEnv) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(first_observations, env, 5).result(timeout=100)
    np.testing.assert_array_equal(found, first_observations(env, 5))


def test_a_plant_of_ones_own_is_not_copied(env: PDEEnv) -> None:
    with pytest.raises(TypeError, match="made from a plant"):
        pickle.dumps(PDEEnv(env.plant, SMALL))


def test_without_a_seed_no_two_environments_are_alike(env: PDEEnv) -> None:
    env.reset(seed=4)
    every = [env, make(SMALL), make(SMALL), copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    starts = [tuple(one.reset()[1]["agent_0"]["mu"]) for one in every]
    assert len(set(starts)) == len(every)


def test_a_seed_decides_all_episodes_that_follow(env: PDEEnv) -> None:
    def draws(one: PDEEnv) -> list[float]:
        first = one.reset(seed=11)[1]
        return [float(infos["agent_0"]["mu"][0]) for infos in (first, *(one.reset()[1],) * 2)]

    assert draws(env) == draws(make(SMALL)) == draws(env)
    assert len(set(draws(env))) > 1
    with pytest.raises(ValueError, match="non-negative integer, got -1"):
        env.reset(seed=-1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parametres": [0.0, 0.2]}, "got 'parametres'; did you mean 'parameters'?"),
        ({"options": {"parameters": [0.0, 0.2]}}, "expected parameters only, got 'options'"),
        ({"parameters": [0.0, 5.0]}, r"target_x in \[0, 0.5\]; got target_x = 5"),
        ({"parameters": [np.nan, 0.2]}, "initial_x = nan"),
        ({"parameters": [0.1]}, r"expected 2 numbers, .*got shape \(1,\)"),
        ({"parameters": "middle"}, "got no numbers"),
    ],
)
def test_reset_options_are_checked(env: PDEEnv, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        env.reset(options=options)


@pytest.mark.parametrize("values", [[-0.5, 0.0], [0.0, 0.5], np.float32([-0.1, 0.1])])
def test_parameters_in_the_box_are_taken(env: PDEEnv, values: Any) -> None:
    observations, infos = env.reset(options={"parameters": values})
    expected = env.reset_arrays(np.asarray(values, np.float64))
    np.testing.assert_array_equal(list(observations.values()), expected.observations)
    np.testing.assert_array_equal(infos["agent_0"]["mu"], expected.mu)
    beyond = env.reset_arrays(np.array([0.2, 0.7]))  # arrays may leave the training box
    assert beyond.mu == 0.7


def test_a_step_needs_a_running_episode(env: PDEEnv) -> None:
    for step in (lambda: env.step(nothing(env)), lambda: env.step_arrays(np.zeros((5, 1)))):
        with pytest.raises(EpisodeError, match=r"no episode is running \(none was started\)"):
            step()
    env.reset(options=MIDDLE)
    while env.agents:
        env.step(nothing(env))
    with pytest.raises(EpisodeError, match="ended after its 3 control steps"):
        env.step(nothing(env))
    env.reset(options=MIDDLE)
    env.plant.solver.density[4] = np.nan
    env.step(nothing(env))
    with pytest.raises(EpisodeError, match="the last one failed: control step 0"):
        env.step(nothing(env))
    env.reset(options=MIDDLE)
    assert len(env.step(nothing(env))[0]) == 5


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (
            np.zeros(2),
            r"of shape \(1,\) .*got an array of shape \(2,\).* from agent 'agent_3'",
        ),
        (np.array([np.inf]), "got inf from agent 'agent_3', component 0"),
        (None, "expected numbers of shape .*got None from agent 'agent_3'"),
        ("left", "got a str from agent 'agent_3'"),
    ],
)
def test_wrong_actions_are_named(env: PDEEnv, action: Any, message: str) -> None:
    env.reset(options=MIDDLE)
    with pytest.raises(ActionError, match=message):
        env.step(nothing(env) | {"agent_3": action})
    with pytest.raises(ActionError, match=r"missing agents \[\], unknown agents \['agent_9'\]"):
        env.step(nothing(env) | {"agent_9": np.zeros(1)})
    with pytest.raises(ActionError, match="expected a dictionary.*got an array of"):
        env.step(np.zeros((5, 1)))  # type: ignore[arg-type]
    lists = env.step({agent: [0.1] for agent in env.agents})  # type: ignore[dict-item]
    assert np.isfinite(list(lists[1].values())).all()


def test_restore_returns_to_a_running_and_to_an_ended_episode(env: PDEEnv) -> None:
    env.reset(options=MIDDLE)
    env.step(nothing(env))
    running = env.snapshot()
    last = [env.step(nothing(env)) for _ in range(2)][-1]
    ended = env.snapshot()
    env.restore(running)
    assert env.agents == env.possible_agents
    again = [env.step(nothing(env)) for _ in range(2)][-1]
    assert again[1] == last[1]
    env.reset(seed=0)
    env.restore(ended)
    assert env.agents == []
    with pytest.raises(EpisodeError, match="ended after"):
        env.step(nothing(env))
    env.restore(running)
    assert env.step(nothing(env))[4]["agent_0"]["mu"][0] == 0.25


def test_a_plant_without_a_first_state_fails_the_episode(
    env: PDEEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*arguments: Any) -> None:
        raise SolverDiverged("no steady flow")

    reset = env.plant.reset
    monkeypatch.setattr(env.plant, "reset", diverge)
    episode = env.reset_arrays(MIDDLE["parameters"])
    assert episode.fault == "no state to start from: no steady flow"
    with pytest.raises(EpisodeError, match="no steady flow"):
        env.step_arrays(np.zeros((5, 1)))
    with pytest.raises(SolverDiverged, match=r"reset at parameters \[-0.25, 0.25\]"):
        env.reset(options=MIDDLE)
    result = evaluation.evaluate_policy(env, evaluation.uncontrolled(env), np.array([[-0.2, 0.3]]))
    assert (result.failures, result.costs[0]) == (1, np.inf)
    with pytest.raises(RuntimeError, match="no steady flow"):
        evaluation.record_trajectory(env, evaluation.uncontrolled(env), np.zeros(2), None, "x")
    monkeypatch.setattr(env.plant, "reset", reset)
    assert env.reset_arrays(MIDDLE["parameters"]).fault is None


def test_render_and_close(env: PDEEnv) -> None:
    assert env.metadata["render_modes"] == []
    with pytest.raises(NotImplementedError, match="hypemarl render"):
        env.render()
    env.close()
    env.close()


def test_observations_of_densities_stay_in_their_finite_bounds() -> None:
    """Bang-bang towards a wall, where the density piles up, and at random."""
    options = replace(SMALL.options, observe_target=True)
    env = make(replace(SMALL, horizon=2.0, control_steps=12, options=options))
    box = env.observation_space("agent_0")
    assert np.isfinite(box.high).all()
    assert not box.low.any()
    rng = np.random.default_rng(0)
    for push in (lambda: 1.0, lambda: rng.choice([-1.0, 1.0])):
        observations, _ = env.reset(options={"parameters": [0.0, 0.5]})
        seen = [observations]
        while env.agents:
            seen.append(env.step({agent: np.array([push()]) for agent in env.agents})[0])
        assert all(box.contains(values) for one in seen for values in one.values())
        largest = max(values.max() for one in seen for values in one.values())
        assert largest > 0.4 * box.high[0]


@pytest.mark.parametrize("size", [0.02, 0.2, 0.5])
def test_the_bound_of_the_mass_holds_wherever_the_bump_is(size: float) -> None:
    """Of nodal values integrated on a grid of lines, squares and cubes cut into simplices."""
    axis = np.arange(-1.0, 1.0 + 1e-9, size)
    for gdim in (1, 2) if size < 0.1 else (1, 2, 3):
        points = np.stack(np.meshgrid(*[axis] * gdim, indexing="ij"), axis=-1).reshape(-1, gdim)
        edge = size * np.sqrt(gdim)
        masses = [
            size**gdim * bump(points, shift * np.ones(gdim)).sum()
            for shift in np.linspace(0.0, size, 5)
        ]
        assert max(masses) <= mass_bound(gdim, edge)
        assert mass_bound(gdim, 1e-9) == pytest.approx(1.0, rel=1e-6)
