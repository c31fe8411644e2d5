"""What is known of local states: observations out of states, and the cost by patch means."""

from __future__ import annotations

import numpy as np
import pytest
from shape_case import PARAMETERS, shape_config

from hypemarl import config as configuration
from hypemarl.coupling.local_model import LocalModel, require_local_model
from hypemarl.coupling.plant import Plant
from hypemarl.envs import make
from hypemarl.systems.density.plant import DensityPlant


def rebuilt(local: LocalModel, observations: np.ndarray) -> np.ndarray:
    """The moving columns of observations (n, k) put together from the agents' own states."""
    states = observations[:, list(local.state)]
    result = observations.copy()
    for column, (agent, number) in enumerate(local.shown):
        if agent >= 0:
            near = local.seen[:, agent]
            result[:, column] = np.where(near >= 0, states[near, number], 0.0)
    return result


@pytest.mark.parametrize(
    ("scenario", "overrides", "states", "still"),
    [
        ("density-1d", ["env.observation_radius=2"], 1, 0),
        ("density-vacuum", ["env.mesh.element_size=0.2", "env.density.observe_target=true"], 1, 9),
        (
            "density-fluid",
            ["env.mesh.element_size=0.12", "env.density-fluid.observe_flow=true"],
            1,
            2,
        ),
    ],
)
def test_observations_are_made_of_near_states(
    scenario: str, overrides: list[str], states: int, still: int
) -> None:
    env = make(configuration.load(scenario, overrides).env)
    local = require_local_model(env.plant)
    generator = np.random.default_rng(0)
    env.reset_arrays(generator.uniform(env.parameter_low, env.parameter_high))
    actions = generator.uniform(-1.0, 1.0, (env.n_agents, env.action_size))
    observations = env.step_arrays(actions).observations
    assert len(local.state) == states
    assert np.count_nonzero(local.shown[:, 0] < 0) == still
    np.testing.assert_array_equal(rebuilt(local, observations), observations)
    own = observations[:, local.state[0]]
    np.testing.assert_allclose(own, env.plant.sensors.means(env.plant.solver.density), rtol=1e-12)


def test_observations_of_shapes_are_made_of_near_states() -> None:
    env = make(shape_config())
    local = require_local_model(env.plant)
    env.reset_arrays(PARAMETERS)
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (env.n_agents, env.action_size))
    observations = env.step_arrays(actions).observations
    assert len(local.state) == 4  # traction, amplitude, displacement
    np.testing.assert_array_equal(rebuilt(local, observations), observations)
    np.testing.assert_array_equal(observations[:, local.state[2]], env.plant.amplitudes[:, 0])


@pytest.mark.parametrize("size", [0.1, 0.13])
def test_the_form_of_the_control_is_the_plants_own(size: float) -> None:
    config = configuration.load("density-vacuum", [f"env.mesh.element_size={size}"]).env
    plant = make(config).plant
    assert isinstance(plant, DensityPlant)
    form = require_local_model(plant).density
    assert form is not None
    actions = np.random.default_rng(1).uniform(-1.0, 1.0, (plant.n_agents, 2))
    plant.cost.begin(plant.actuators.field(actions), config.control_interval)
    terms = plant.cost.finish()  # without a state: control and its gradient only
    near = np.where((form.near >= 0)[..., None], actions[form.near], 0.0)
    shares = form.interval * np.einsum("nkm,nkl,nlm->n", near, form.control, near)
    np.testing.assert_allclose(shares, terms[2] + terms[3], rtol=1e-10)


def test_measures_are_those_of_the_domain_and_its_boundary() -> None:
    config = configuration.load("density-vacuum", ["env.mesh.element_size=0.1"]).env
    form = require_local_model(make(config).plant).density
    assert form is not None
    assert form.measures.sum() == pytest.approx(4.0)
    assert form.boundary.sum() == pytest.approx(config.options.boundary_weight * 8.0)
    inner = form.boundary.reshape(8, 8)[1:-1, 1:-1]
    np.testing.assert_array_equal(inner, 0.0)


def test_a_linear_density_costs_what_its_means_and_differences_do() -> None:
    """It hardly moves in an interval without control, and its profile in a patch is linear."""
    overrides = [
        "env.mesh.element_size=0.05",
        "env.density.viscosity=1e-9",
        "env.density.boundary_weight=0",
    ]
    config = configuration.load("density-vacuum", overrides).env
    plant = make(config).plant
    assert isinstance(plant, DensityPlant)
    form = require_local_model(plant).density
    assert form is not None
    plant.reset(np.zeros(4))
    snapshot, points = plant.snapshot(), plant.space.points
    snapshot.solver.density[:] = 3.0 + 2.0 * points[:, 0] - points[:, 1]
    snapshot.target[:] = 3.0
    plant.restore(snapshot)
    shares = plant.step(np.zeros((64, 2)))[2]["costs"].shares
    missing = plant.sensors.means(snapshot.solver.density) - 3.0
    near = np.where(form.near >= 0, missing[form.near], 0.0)
    across = np.einsum("ank,nk->an", form.slopes, near)
    # spacing 0.25, at walls too; patches of whole cells are not quite squares
    for axis, slope in ((0, 2.0), (1, -1.0)):
        assert across[axis].mean() == pytest.approx(0.25 * slope, rel=0.02)
        np.testing.assert_allclose(across[axis], 0.25 * slope, rtol=0.25)
    squares = missing**2 + (across**2).sum(axis=0) / 12.0
    expected = form.interval * 0.5 * form.measures * squares
    assert shares.sum() == pytest.approx(expected.sum(), rel=1e-3)
    np.testing.assert_allclose(shares, expected, rtol=0.02, atol=2e-3 * expected.max())
    alone = form.interval * 0.5 * form.measures * missing**2  # without differences
    assert abs(shares.sum() - alone.sum()) > 5 * abs(shares.sum() - expected.sum())


def test_a_plant_of_another_kind_is_named() -> None:
    class Other(DensityPlant):
        local_model = Plant.local_model  # type: ignore[assignment]

    with pytest.raises(TypeError, match="no local model of Other"):
        require_local_model(object.__new__(Other))
