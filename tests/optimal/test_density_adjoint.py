from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hypemarl.config import EnvConfig, MeshConfig
from hypemarl.coupling.adjoint import require_adjoint
from hypemarl.coupling.plant import Plant
from hypemarl.meshing import build
from hypemarl.mpi import world
from hypemarl.optimal.trajectory import EpisodeAdjoint
from hypemarl.systems.density.adjoint import DensityAdjoint
from hypemarl.systems.density.in_fluid import DensityFluidPlant
from hypemarl.systems.density.options import DensityOptions, InFluidOptions
from hypemarl.systems.density.plant import DensityPlant

PLANE = EnvConfig(
    mesh=MeshConfig(element_size=0.15),
    agents=(3, 3),
    horizon=0.3,
    control_steps=3,
    options=DensityOptions(observe_target=True),
)
FLUID = EnvConfig(
    system="density-fluid",
    mesh=MeshConfig(shape="square-with-disc", element_size=0.15, disc_radius=0.15),
    options=InFluidOptions(
        flow_viscosity=0.05, speed_low=0.2, speed_high=0.6, angle_low=-1.0, angle_high=1.0
    ),
    agents=(3, 3),
    horizon=0.2,
    control_steps=2,
)
PLACES = [-0.3, 0.2, 0.25, -0.1]
CASES = {
    "plane": (DensityPlant, PLANE, np.array(PLACES)),
    "fluid": (DensityFluidPlant, FLUID, np.array([*PLACES, 0.4, 0.5])),
}


@pytest.fixture(scope="module", params=list(CASES))
def case(request: Any) -> tuple[DensityAdjoint, np.ndarray]:
    make, config, parameters = CASES[request.param]
    return DensityAdjoint(make(config, build(config.mesh, world()))), parameters


def drawn(adjoint: DensityAdjoint, seed: int, size: float = 0.6) -> np.ndarray:
    plant = adjoint.plant
    shape = (plant.config.control_steps, plant.n_agents, plant.action_size)
    return size * np.random.default_rng(seed).uniform(-1, 1, shape)


def order(sizes: np.ndarray, remainders: list[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(remainders), 1)[0])


def test_taylor_remainder_of_the_cost_is_of_second_order(case: Any) -> None:
    adjoint, parameters = case
    episode = EpisodeAdjoint(adjoint)
    actions, direction = drawn(adjoint, 0), drawn(adjoint, 1)
    found = episode.gradient(parameters, actions)
    assert found.cost == pytest.approx(episode.cost(parameters, actions), rel=1e-14)
    assert sum(found.terms.values()) == pytest.approx(found.cost, rel=1e-12)
    slope = float((found.gradient * direction).sum())
    sizes = 0.5 ** np.arange(7, 13)
    remainders = [
        abs(episode.cost(parameters, actions + h * direction) - found.cost - h * slope)
        for h in sizes
    ]
    assert order(sizes, remainders) >= 1.95


def test_cotangents_of_observations_and_single_shares(case: Any) -> None:
    """A random functional of all that steps return, in one episode, by central differences."""
    adjoint, parameters = case
    plant, generator = adjoint.plant, np.random.default_rng(2)
    actions, direction = drawn(adjoint, 0), drawn(adjoint, 1)
    seen = generator.normal(size=(len(actions), plant.n_agents, plant.observation_size))
    shares = generator.normal(size=(len(actions), plant.n_agents))

    def functional(rows: np.ndarray) -> float:
        plant.reset(parameters)
        total = 0.0
        for k, row in enumerate(rows):
            observations, rewards, _ = plant.step(row)
            total += (seen[k] * observations).sum() - (shares[k] * rewards).sum()
        return float(total)

    plant.reset(parameters)
    tapes = [adjoint.step(row)[3] for row in actions]
    bar, slope = np.zeros(adjoint.state_size), 0.0
    for k in reversed(range(len(actions))):
        bar, actions_bar = adjoint.pull(tapes[k], bar, seen[k], shares[k])
        slope += float((actions_bar * direction[k]).sum())
    h = 1e-5
    central = (functional(actions + h * direction) - functional(actions - h * direction)) / (2 * h)
    assert slope == pytest.approx(central, rel=1e-5)


def test_the_taped_step_is_the_plants_own(case: Any) -> None:
    adjoint, parameters = case
    actions = drawn(adjoint, 3)[0]
    adjoint.plant.reset(parameters)
    plain = adjoint.plant.step(actions)
    adjoint.plant.reset(parameters)
    observations, rewards, _, tape = adjoint.step(actions)
    assert np.array_equal(observations, plain[0])
    assert np.array_equal(rewards, plain[1])
    assert tape.nbytes > 2 * len(tape.levels) * observations.nbytes
    assert adjoint.plant.record is None


def test_the_initial_densitys_cotangent(case: Any) -> None:
    adjoint, parameters = case
    plant, actions = adjoint.plant, drawn(adjoint, 4)[0]
    plant.reset(parameters)
    start = plant.solver.density.copy()
    direction = start * np.random.default_rng(5).uniform(-1, 1, len(start))

    def cost(density: np.ndarray) -> float:
        plant.reset(parameters)
        plant.solver.density[:] = density
        return float(plant.step(actions)[2]["costs"].total)

    plant.reset(parameters)
    tape = adjoint.step(actions)[3]
    bar, _ = adjoint.pull(tape, np.zeros(adjoint.state_size), None, np.ones(plant.n_agents))
    h = 1e-4
    central = (cost(start + h * direction) - cost(start - h * direction)) / (2 * h)
    assert float(bar @ direction) == pytest.approx(central, rel=1e-6)


def test_actions_beyond_their_bounds_have_no_derivative(case: Any) -> None:
    adjoint, parameters = case
    actions = drawn(adjoint, 6)
    actions[0, 4, 0], actions[0, 4, 1] = 1.5, 1.0
    gradient = EpisodeAdjoint(adjoint).gradient(parameters, actions).gradient
    assert gradient[0, 4, 0] == 0.0
    assert gradient[0, 4, 1] != 0.0


def test_little_memory_changes_nothing_but_time(case: Any) -> None:
    adjoint, parameters = case
    actions = drawn(adjoint, 7)
    ample = EpisodeAdjoint(adjoint).gradient(parameters, actions)
    one_tape = EpisodeAdjoint(adjoint, memory=1).gradient(parameters, actions)
    none = EpisodeAdjoint(adjoint, memory=0).gradient(parameters, actions)
    for other in (one_tape, none):
        assert other.cost == ample.cost
        assert np.array_equal(other.gradient, ample.gradient)


def test_a_plant_without_an_adjoint_is_named() -> None:
    class Other(DensityPlant):
        adjoint = Plant.adjoint  # type: ignore[assignment]

    plant = object.__new__(Other)
    assert plant.adjoint_fault
    with pytest.raises(TypeError, match="no adjoint of Other: expected a plant whose adjoint"):
        require_adjoint(plant)
