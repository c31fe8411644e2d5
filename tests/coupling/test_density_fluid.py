from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from infos_form import check_interface

from hypemarl.config import ConfigError, EnvConfig, MeshConfig, load
from hypemarl.coupling.recent import Recent
from hypemarl.envs import make
from hypemarl.meshing import MeshError, TaggedMesh, build
from hypemarl.mpi import world
from hypemarl.systems.density.background_flow import BackgroundFlow
from hypemarl.systems.density.in_fluid import DensityFluidPlant
from hypemarl.systems.density.options import InFluidOptions
from hypemarl.systems.density.plant import DensityPlant

CONFIG = EnvConfig(
    system="density-fluid",
    mesh=MeshConfig(shape="square-with-disc", element_size=0.14),
    options=InFluidOptions(
        angle_low=-1.0,
        angle_high=1.0,
        initial_low=(-0.5, -0.5),
        initial_high=(-0.5, 0.5),
        target_low=(0.5, -0.5),
        target_high=(0.5, 0.5),
    ),
    agents=(4, 3),
    horizon=0.4,
    control_steps=4,
    context=("target", "speed", "angle"),
)
PARAMETERS = np.array([-0.5, 0.2, 0.5, -0.1, 0.8, 0.4])


@pytest.fixture(scope="module")
def tagged() -> TaggedMesh:
    return build(CONFIG.mesh, world())


@pytest.fixture(scope="module")
def plant(tagged: TaggedMesh) -> DensityFluidPlant:
    return DensityFluidPlant(CONFIG, tagged)


@pytest.fixture
def actions() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (12, 2))


def test_sizes_and_parameters(plant: DensityFluidPlant) -> None:
    assert plant.parameter_names[2:] == ("target_x", "target_y", "speed", "angle")
    np.testing.assert_array_equal(plant.parameter_low, [-0.5, -0.5, 0.5, -0.5, 0.1, -1.0])
    np.testing.assert_array_equal(plant.parameter_high, [-0.5, 0.5, 0.5, 0.5, 1.0, 1.0])
    assert plant.reset(PARAMETERS).shape == (12, plant.observation_size) == (12, 11)
    assert plant.own_features == (4, 9, 10)


def test_rewards_sum_and_only_the_control_is_paid_for(
    plant: DensityFluidPlant, actions: np.ndarray
) -> None:
    plant.reset(PARAMETERS)
    for sign in (1.0, -1.0):
        _, rewards, info = plant.step(sign * actions)
        assert rewards.sum() == pytest.approx(-sum(info["costs"].terms.values()), rel=1e-14)
    plant.reset(PARAMETERS)
    terms = plant.step(np.zeros((12, 2)))[2]["costs"].terms
    assert terms["control"] == terms["control_gradient"] == 0.0
    assert terms["tracking"] > 0.0


def test_mass_and_sign_in_a_flow_through_the_boundary(plant: DensityFluidPlant) -> None:
    """No density leaves with the flow: it gathers at the outflow."""
    plant.reset(np.array([-0.5, 0.4, 0.5, 0.0, 1.0, 0.5]))
    mass = plant.solver.mass()
    for _ in range(12):
        plant.step(np.zeros((12, 2)))
    assert plant.solver.mass() == pytest.approx(mass, rel=1e-12)
    assert plant.solver.minimum() >= -1e-12
    top = plant.space.points[:, 1] > 0.99
    assert plant.solver.density[top].max() > 1.0


def test_flow_has_the_boundary_values_of_its_parameters(plant: DensityFluidPlant) -> None:
    speed, angle = 0.7, -0.8
    v, x = plant.flow.velocity(speed, angle), plant.space.points
    bottom, side = x[:, 1] < -1 + 1e-9, np.abs(np.abs(x[:, 0]) - 1) < 1e-9
    expected = np.sin(angle) * speed * (1 + x[bottom, 0]) * (1 - x[bottom, 0])
    np.testing.assert_allclose(v[bottom, 0], expected, atol=1e-12)
    np.testing.assert_allclose(v[bottom, 1], speed * np.cos(angle), atol=1e-12)
    np.testing.assert_allclose(v[side, 0], 0.0, atol=1e-12)
    assert np.abs(v[side, 1]).min() > 0.1 * speed  # free slip
    disc = np.hypot(*x.T) < 0.15 + 1e-6
    assert disc.sum() >= 12
    np.testing.assert_allclose(v[disc], 0.0, atol=1e-12)
    assert v[:, 1].max() > 1.2 * speed * np.cos(angle)  # faster beside the disc


def test_agents_see_the_flow_over_their_patch(plant: DensityFluidPlant) -> None:
    observations = plant.reset(PARAMETERS)
    v = plant.flow.velocity(0.8, 0.4)
    plain = plant.sensors.means(plant.solver.density)
    np.testing.assert_array_equal(observations[:, 4], plain)
    np.testing.assert_allclose(observations[:, 9:], plant.sensors.matrix @ v, atol=1e-14)
    assert np.all(plant.reset(np.array([-0.5, 0, 0.5, 0, 0.1, 0.0]))[:, 10] < 0.2)


def test_agents_need_not_see_the_flow(tagged: TaggedMesh, plant: DensityFluidPlant) -> None:
    options = replace(CONFIG.options, observe_flow=False)
    blind = DensityFluidPlant(replace(CONFIG, options=options), tagged)
    seen = blind.reset(PARAMETERS)
    assert seen.shape == (12, blind.observation_size) == (12, 9)
    assert max(blind.own_features) < 9
    np.testing.assert_array_equal(seen, plant.reset(PARAMETERS)[:, :9])


def test_density_is_carried_by_flow_and_control(
    plant: DensityFluidPlant, actions: np.ndarray
) -> None:
    plant.reset(PARAMETERS)
    v = plant.flow.velocity(0.8, 0.4)
    np.testing.assert_array_equal(plant.solver.velocity, v)
    plant.step(actions)
    np.testing.assert_array_equal(plant.solver.velocity, plant.actuators.field(actions) + v)
    record = plant.fields()
    assert record is not None
    np.testing.assert_array_equal(record["flow"], v[: plant.space.n_owned])


def test_without_a_background_flow_it_is_the_density_plant(
    plant: DensityFluidPlant, tagged: TaggedMesh, actions: np.ndarray
) -> None:
    still = DensityPlant(CONFIG, tagged)
    outcomes = []
    for each, parameters in ((still, PARAMETERS[:4]), (plant, PARAMETERS)):
        each.reset(parameters)
        each._background, each._time_steps = None, 20
        outcomes.append(each.step(actions))
    np.testing.assert_array_equal(outcomes[1][0][:, :9], outcomes[0][0])
    np.testing.assert_array_equal(outcomes[1][1], outcomes[0][1])


def test_snapshot_restores_the_episode_and_its_flow(
    plant: DensityFluidPlant, actions: np.ndarray
) -> None:
    plant.reset(PARAMETERS)
    plant.step(actions)
    state = plant.snapshot()
    first = plant.step(-actions)
    plant.reset(np.array([-0.5, -0.3, 0.5, 0.3, 0.2, -0.9]))
    plant.restore(state)
    second = plant.step(-actions)
    np.testing.assert_array_equal(second[0], first[0])
    np.testing.assert_array_equal(second[1], first[1])
    assert plant.time == pytest.approx(0.2)


def test_reset_does_not_depend_on_what_came_before(tagged: TaggedMesh) -> None:
    """Two plants that meet the parameters in different order start alike, to the last bit."""
    generator = np.random.default_rng(3)
    plants = [DensityFluidPlant(CONFIG, tagged) for _ in range(2)]
    low, high = plants[0].parameter_low, plants[0].parameter_high
    cases = [generator.uniform(low, high) for _ in range(4)]
    starts = [
        [plant.reset(p) for p in order]
        for plant, order in zip(plants, (cases, cases[::-1]), strict=True)
    ]
    for first, second in zip(starts[0], starts[1][::-1], strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_known_flow_is_not_solved_again(plant: DensityFluidPlant) -> None:
    plant.reset(PARAMETERS)
    solves = plant.flow.flow.counters.solves
    plant.reset(PARAMETERS)
    assert plant.flow.flow.counters.solves == solves
    plant.reset(PARAMETERS + np.array([0, 0, 0, 0, 1e-3, 0]))
    assert plant.flow.flow.counters.solves == solves + 1


def test_memory_of_flows_is_bounded(
    plant: DensityFluidPlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plant.flow, "_known", Recent(2))
    for angle in (0.0, 0.1, 0.0, 0.2):
        plant.flow.velocity(0.5, angle)
    known = [angle for angle in (0.0, 0.1, 0.2) if (0.5, angle) in plant.flow._known]
    assert known == [0.0, 0.2]


def test_unfit_meshes_and_settings_are_refused(tagged: TaggedMesh) -> None:
    square = build(MeshConfig(element_size=0.3), world())
    with pytest.raises(MeshError, match="lacks disc"):
        DensityFluidPlant(CONFIG, square)
    wide = build(replace(CONFIG.mesh, disc_radius=0.6, element_size=0.2), world())
    with pytest.raises(MeshError, match=r"lie outside the mesh.*drop_agents_outside"):
        DensityFluidPlant(replace(CONFIG, agents=(8, 8)), wide)
    thin, plant = replace(CONFIG.options, flow_viscosity=0.005), DensityPlant(CONFIG, tagged)
    with pytest.warns(UserWarning, match=r"Reynolds number up to 60.*raise flow_viscosity"):
        BackgroundFlow(tagged, plant.space, thin, plant.boundary)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("env.mesh.shape=square", "no disc in a square; .* needs square-with-disc"),
        ("env.density-fluid.speed_high=0.05", "speed_low .0.1. exceeds speed_high"),
        ("env.density-fluid.angle_low=1.2", "angle_low .1.2. exceeds angle_high"),
        ("env.density-fluid.linear_solver=iterative", "expected one of auto, lu"),
    ],
)
def test_settings_that_cannot_work_are_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load("density-fluid", [override])


def test_scenario_builds_an_environment() -> None:
    env = make(load("density-fluid", ["env.mesh.element_size=0.1"]).env)
    episode = env.reset_arrays(env.sample_parameters(np.random.default_rng(0)))
    assert episode.observations.shape == (64, 9)
    assert len(episode.mu) == 4  # where the target lies, speed, angle
    assert env.step_arrays(np.zeros((64, 2))).info["cost"] > 0.0
    check_interface(env)
    bounded = np.isfinite(env.observation_space("agent_0").high)
    assert bounded.tolist() == [True] * 9
