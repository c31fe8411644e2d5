from __future__ import annotations

import numpy as np
import pytest

from hypemarl.bench import BENCHES
from hypemarl.bench.density import CONFIG, TIME_STEP, _Implicit
from hypemarl.envs import make
from hypemarl.systems.density.plant import DensityPlant


def test_peer_solves_the_same_equation() -> None:
    """The peer's step moves mass where ours does, so that the times compare."""
    plant = make(CONFIG).plant
    assert isinstance(plant, DensityPlant)
    amplitudes = np.tile([1.0, 0.5], (plant.n_agents, 1))
    implicit = _Implicit(plant)
    implicit.set_velocity(plant, amplitudes)
    before = implicit.old.x.array.copy()
    after = implicit.problem().solve().x.array
    plant.reset(np.zeros(4))
    plant.solver.reset(before)
    plant.solver.set_velocity(plant.actuators.field(amplitudes))
    plant.solver.advance(TIME_STEP)
    change = plant.solver.density - before
    assert np.abs(after - before - change).max() < 0.1 * np.abs(change).max()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "bound"), [("density-step", 3.5), ("reset", 2.0)])
def test_hot_paths_meet_their_bounds(name: str, bound: float) -> None:
    result = BENCHES[name]()
    assert result["ms"] < bound or result.get("ratio_reused", 0.0) >= 15
