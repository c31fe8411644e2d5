from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test, parallel_seed_test

from hypemarl import config as settings
from hypemarl.config import EnvConfig, MeshConfig
from hypemarl.coupling.plant import ActionError
from hypemarl.envs import PDEEnv, make
from hypemarl.meshing import MeshError
from hypemarl.systems.density.options import DensityOptions

SMALL = EnvConfig(
    mesh=MeshConfig(shape="interval", element_size=0.05),
    agents=(5,),
    horizon=0.5,
    control_steps=3,
    options=DensityOptions(
        initial_low=(-0.5,), initial_high=(0.0,), target_low=(0.0,), target_high=(0.5,)
    ),
)


@pytest.fixture
def env() -> PDEEnv:
    return make(SMALL)


@pytest.mark.parametrize("scenario", ["density-1d", "density-vacuum"])
def test_pettingzoo_api(scenario: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(make(settings.load(scenario).env), num_cycles=30)


@pytest.mark.parametrize("scenario", ["density-1d", "density-vacuum"])
def test_pettingzoo_seeds(scenario: str) -> None:
    """Its seed test, which compares infos too."""
    parallel_seed_test(lambda: make(settings.load(scenario).env), num_cycles=1)


def test_sizes_of_the_registered_scenarios() -> None:
    line, square = (make(settings.load(s).env) for s in ("density-1d", "density-vacuum"))
    assert (line.n_agents, line.action_size, line.mu_low.shape) == (10, 1, (1,))
    assert (square.n_agents, square.action_size, square.mu_low.shape) == (64, 2, (2,))


def test_seed_fixes_the_whole_episode(env: PDEEnv) -> None:
    """Two seeded episodes agree at every step, and another seed differs."""
    actions = {a: np.full(1, 0.1 * k) for k, a in enumerate(env.possible_agents)}

    def run(seed: int) -> list[np.ndarray]:
        start, infos = env.reset(seed=seed)
        rows = [np.array(list(start.values())), infos["agent_0"]["mu"]]
        while env.agents:
            rows.append(np.array(list(env.step(actions)[0].values())))
        return rows

    first, second, other = run(3), run(3), run(4)
    assert len(first) == 5
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])


def test_horizon_truncates_and_does_not_terminate(env: PDEEnv) -> None:
    env.reset_arrays(np.array([-0.2, 0.3]))
    flags = []
    for _ in range(3):
        step = env.step_arrays(np.zeros((5, 1)))
        flags.append((step.terminated, step.truncated))
    assert flags == [(False, False), (False, False), (False, True)]


@pytest.mark.parametrize("kind", ["own", "neighbourhood", "global", "mixed"])
def test_reward_kinds(kind: str) -> None:
    env = make(replace(SMALL, reward=kind, reward_radius=1, reward_mix=0.25))
    env.reset_arrays(np.array([-0.2, 0.3]))
    step = env.step_arrays(np.full((5, 1), 0.3))
    own = -step.info["local_costs"]
    assert own.sum() == pytest.approx(-step.info["cost"], rel=1e-14)
    expected = {
        "own": own,
        "global": np.full(5, own.mean()),
        "mixed": 0.25 * own.mean() + 0.75 * own,
        "neighbourhood": [
            own[:2].mean(),
            *(own[i - 1 : i + 2].mean() for i in (1, 2, 3)),
            own[3:].mean(),
        ],
    }[kind]
    np.testing.assert_allclose(step.rewards, expected, rtol=1e-13)


def test_context_holds_what_is_named() -> None:
    env = make(replace(SMALL, context=("target", "initial")))
    np.testing.assert_array_equal(env.reset_arrays(np.array([-0.2, 0.3])).mu, [-0.2, 0.3])
    target = make(SMALL)
    np.testing.assert_array_equal(target.reset_arrays(np.array([-0.2, 0.3])).mu, [0.3])
    with pytest.raises(ValueError, match=r"context: expected names out of"):
        make(replace(SMALL, context=("wind",)))


def test_target_can_be_observed(env: PDEEnv) -> None:
    both = make(replace(SMALL, options=replace(SMALL.options, observe_target=True)))
    assert both.observation_size == 2 * env.observation_size
    episode = both.reset_arrays(np.array([-0.2, 0.3]))
    np.testing.assert_array_equal(
        episode.observations[:, list(both.own_features)[1]], episode.targets[:, 0]
    )


def test_divergence_ends_the_episode_with_a_record() -> None:
    env = make(replace(SMALL, divergence_limit=1e-9))
    start = env.reset_arrays(np.array([-0.2, 0.3])).observations
    step = env.step_arrays(np.zeros((5, 1)))
    assert step.terminated
    assert not step.truncated
    assert "cost of the interval" in step.info["failure"]
    np.testing.assert_array_equal(step.observations, start)
    assert np.all(np.isfinite(step.rewards))


def test_diverged_solver_ends_the_episode(env: PDEEnv) -> None:
    env.reset_arrays(np.array([-0.2, 0.3]))
    env.plant.solver.density[4] = np.nan
    step = env.step_arrays(np.zeros((5, 1)))
    assert step.terminated
    assert "density: expected finite values" in step.info["failure"]


def test_bad_actions_name_the_agent(env: PDEEnv) -> None:
    env.reset(seed=0)
    good = {a: np.zeros(1) for a in env.agents}
    with pytest.raises(ActionError, match=r"missing agents \['agent_2'\]"):
        env.step({a: v for a, v in good.items() if a != "agent_2"})
    with pytest.raises(
        ActionError, match=r"shape \(1,\).*got an array of shape \(2,\).*from agent 'agent_3'"
    ):
        env.step(good | {"agent_3": np.zeros(2)})
    with pytest.raises(ActionError, match="got nan from agent 'agent_1', component 0"):
        env.step(good | {"agent_1": np.array([np.nan])})


def test_snapshot_restores_time_and_rewards(env: PDEEnv) -> None:
    env.reset_arrays(np.array([-0.2, 0.3]))
    env.step_arrays(np.full((5, 1), 0.5))
    state = env.snapshot()
    first = [env.step_arrays(np.full((5, 1), -0.5)) for _ in range(2)]
    env.restore(state)
    second = [env.step_arrays(np.full((5, 1), -0.5)) for _ in range(2)]
    assert [s.truncated for s in second] == [False, True]
    np.testing.assert_array_equal(first[1].rewards, second[1].rewards)


def test_record_holds_the_fields(env: PDEEnv) -> None:
    env.reset_arrays(np.array([-0.2, 0.3]))
    env.step_arrays(np.full((5, 1), 0.5))
    record = env.record()
    assert record is not None
    nodes = len(record["points"])
    assert record["cells"].max() == nodes - 1
    assert record["density"].shape == record["target"].shape == (nodes,)
    assert record["velocity"].shape == (nodes, 1)
    assert record["time"] == pytest.approx(0.5 / 3)


def test_a_users_mesh_replaces_the_shape_by_one_key(tmp_path: Path) -> None:
    """Here a rectangle from a file; the agents' grid spans its bounding box."""
    gmsh = pytest.importorskip("gmsh")
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.option.setNumber("Mesh.MeshSizeMax", 0.2)
        gmsh.model.occ.addRectangle(0, 0, 0, 2, 1)
        gmsh.model.occ.synchronize()
        gmsh.model.addPhysicalGroup(2, [1], name="domain")
        gmsh.model.mesh.generate(2)
        gmsh.write(str(tmp_path / "mine.msh"))
    finally:
        gmsh.finalize()
    key = f"env.mesh.file={tmp_path / 'mine.msh'}"
    boxes = {"initial": ([0.4, 0.4], [0.6, 0.6]), "target": ([0.9, 0.4], [1.1, 0.6])}
    ends = [
        f"env.{n}_{end}={box[k]}"
        for n, box in boxes.items()
        for k, end in enumerate(("low", "high"))
    ]
    env = make(settings.load("density-vacuum", [key, "env.agents=[4, 2]", *ends]).env)
    np.testing.assert_allclose(env.positions[0], [0.25, 0.25])
    np.testing.assert_allclose(env.positions[-1], [1.75, 0.75])
    env.reset_arrays(np.array([0.5, 0.5, 1.0, 0.5]))
    assert env.step_arrays(np.zeros((8, 2))).info["cost"] > 0


def test_a_mesh_without_the_tag_is_refused(tmp_path: Path) -> None:
    meshio = pytest.importorskip("meshio")
    points = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    meshio.write_points_cells(tmp_path / "bare.vtu", points, [("triangle", np.array([[0, 1, 2]]))])
    key = f"env.mesh.file={tmp_path / 'bare.vtu'}"
    with pytest.raises(MeshError, match="domain"):
        make(settings.load("density-vacuum", [key]).env)


def test_density_flows_around_a_disc() -> None:
    env = make(settings.load("density-vacuum", ["env.mesh.shape=square-with-disc"]).env)
    env.reset_arrays(np.array([-0.4, 0.0, 0.4, 0.0]))
    plant = env.plant
    before = plant.sensors.means(plant.solver.density) @ plant.sensors.measures
    for _ in range(3):
        env.step_arrays(np.tile([1.0, 0.0], (64, 1)))
    after = plant.sensors.means(plant.solver.density) @ plant.sensors.measures
    assert after == pytest.approx(before, rel=1e-12)
    assert plant.sensors.measures.sum() == pytest.approx(4 - np.pi * 0.15**2, rel=1e-2)
