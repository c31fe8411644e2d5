from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import ufl
from dolfinx import fem

from hypemarl.config import EnvConfig, MeshConfig
from hypemarl.coupling.plant import ActionError
from hypemarl.meshing import build
from hypemarl.mpi import world
from hypemarl.systems.density.plant import DensityPlant, bump

CONFIG = EnvConfig(mesh=MeshConfig(element_size=0.12), agents=(4, 3), horizon=0.4, control_steps=4)
PARAMETERS = np.array([-0.3, 0.2, 0.25, -0.1])


@pytest.fixture(scope="module")
def plant() -> DensityPlant:
    return DensityPlant(CONFIG, build(CONFIG.mesh, world()))


@pytest.fixture
def actions() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (12, 2))


def test_rewards_sum_to_the_objective(plant: DensityPlant, actions: np.ndarray) -> None:
    plant.reset(PARAMETERS)
    for _ in range(3):
        _, rewards, info = plant.step(actions)
        total = sum(info["costs"].terms.values())
        assert rewards.shape == (12,)
        assert rewards.sum() == pytest.approx(-total, rel=1e-14)
        assert all(value > 0 for value in info["costs"].terms.values())


def test_cost_terms_match_assembled_forms(plant: DensityPlant, actions: np.ndarray) -> None:
    """Over a short interval each term is its form's value times the duration."""
    plant.reset(PARAMETERS)
    # one step of 1e-6: the state does not move, so the trapezoidal rule is exact to 1e-6
    short = replace(CONFIG, horizon=1e-6, control_steps=1)
    plant.config, original = short, plant.config
    terms = plant.step(actions)[2]["costs"].terms
    plant.config = original
    forms = _forms(plant, actions)
    for name, form in forms.items():
        assert terms[name] / 1e-6 == pytest.approx(form, rel=1e-4), name


def _forms(plant: DensityPlant, actions: np.ndarray) -> dict[str, float]:
    mesh = plant.space.mesh
    scalar = fem.functionspace(mesh, ("Lagrange", 1))
    vector = fem.functionspace(mesh, ("Lagrange", 1, (2,)))
    y, target, u = fem.Function(scalar), fem.Function(scalar), fem.Function(vector)
    y.x.array[:] = bump(plant.space.points, PARAMETERS[:2])
    target.x.array[:] = bump(plant.space.points, PARAMETERS[2:])
    u.x.array[:] = plant.actuators.field(actions).ravel()
    c = plant.options
    parts = {
        "tracking": 0.5 * (y - target) ** 2 * ufl.dx,
        "boundary": 0.5 * c.boundary_weight * y**2 * ufl.ds,
        "control": 0.5 * c.beta * ufl.inner(u, u) * ufl.dx,
        "control_gradient": 0.5 * c.beta_g * ufl.inner(ufl.grad(u), ufl.grad(u)) * ufl.dx,
    }
    return {name: float(fem.assemble_scalar(fem.form(part))) for name, part in parts.items()}


def test_observations_are_patch_means_of_near_patches(plant: DensityPlant) -> None:
    observations = plant.reset(PARAMETERS)
    assert observations.shape == (12, 9)
    area_means = observations[:, 4]
    assert plant.sensors.measures.sum() == pytest.approx(4.0)
    assert area_means @ plant.sensors.measures == pytest.approx(plant.solver.mass(), rel=2e-3)
    # agent 4 sits at grid place (1, 1): its neighbour along the last axis is agent 5
    assert observations[4, 5] == area_means[5]
    assert observations[0, 0] == 0.0  # beyond the wall


def test_amplitudes_saturate(plant: DensityPlant) -> None:
    plant.reset(PARAMETERS)
    state = plant.snapshot()
    large = plant.step(np.full((12, 2), 7.0))[0]
    plant.restore(state)
    np.testing.assert_array_equal(plant.step(np.ones((12, 2)))[0], large)


def test_snapshot_restores_the_episode(plant: DensityPlant, actions: np.ndarray) -> None:
    plant.reset(PARAMETERS)
    plant.step(actions)
    state = plant.snapshot()
    first = plant.step(-actions)
    plant.reset(PARAMETERS[::-1].copy())
    plant.restore(state)
    second = plant.step(-actions)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_bad_actions_are_refused(plant: DensityPlant) -> None:
    plant.reset(PARAMETERS)
    with pytest.raises(ActionError, match=r"expected shape \(12, 2\).*got \(12, 3\)"):
        plant.step(np.zeros((12, 3)))
    bad = np.zeros((12, 2))
    bad[5, 1] = np.nan
    with pytest.raises(ActionError, match="got nan from agent 5, component 1"):
        plant.step(bad)
    with pytest.raises(ValueError, match=r"parameters: expected 4 finite numbers"):
        plant.reset(np.zeros(3))


def test_density_follows_the_target_when_pushed(plant: DensityPlant) -> None:
    """Pushing towards the target costs less tracking than pushing away."""
    toward = np.tile(np.sign(PARAMETERS[2:] - PARAMETERS[:2]), (12, 1))
    costs = []
    for sign in (1.0, -1.0):
        plant.reset(PARAMETERS)
        costs.append(sum(plant.step(sign * toward)[2]["costs"].terms["tracking"] for _ in range(4)))
    assert costs[0] < 0.7 * costs[1]
