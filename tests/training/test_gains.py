"""The gains that credit ``adjoint`` learns from: derivatives of the discounted costs to come."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hypemarl import envs, mpi
from hypemarl.algorithms.td3.learner import action_gradients
from hypemarl.config import load
from hypemarl.coupling.adjoint import require_adjoint
from hypemarl.envs.array_env import plant_of
from hypemarl.optimal.trajectory import EpisodeAdjoint
from hypemarl.training import loop
from hypemarl.training.groups import Groups
from hypemarl.training.records import read_metrics

SMALL = ["env.mesh.element_size=0.1", "env.agents=[4]", "env.control_steps=3", "env.horizon=0.6"]
LEARN = ["agent.credit=adjoint", "agent.cloning=10", "training.episodes=6", "agent.hyper_width=8"]
RECORD = ["training.random_episodes=2", "training.validation_every=0", "training.tensorboard=false"]
GAMMA = 0.7


def test_gains_are_derivatives_of_the_discounted_costs_to_come() -> None:
    env = envs.make(load("density-1d", SMALL).env)
    parameters = np.array([-0.3, 0.2])
    actions = 0.5 * np.random.default_rng(0).uniform(-1, 1, (3, 4, 1))

    def to_come(first: int, changed: np.ndarray) -> float:
        env.reset_arrays(parameters)
        costs = [env.step_arrays(row).info["cost"] for row in changed]
        return float(sum(GAMMA ** (k - first) * costs[k] for k in range(first, 3)))

    adjoint = EpisodeAdjoint(require_adjoint(plant_of(env)))
    groups = Groups(mpi.world())
    (found,) = action_gradients(adjoint, groups, [parameters], {0: actions}, GAMMA)
    for k, agent in ((0, 1), (1, 2), (2, 0)):
        step = np.zeros_like(actions)
        step[k, agent] = 1e-5
        slope = (to_come(k, actions + step) - to_come(k, actions - step)) / 2e-5
        np.testing.assert_allclose(found[k, agent, 0], -slope, rtol=1e-4)


def test_td3_trains_on_them(tmp_path: Path) -> None:
    config = load("density-1d", [*SMALL, *LEARN, *RECORD])
    loop.train(config, tmp_path / "run", progress=False)
    updates = [line for line in read_metrics(tmp_path / "run") if line["kind"] == "update"]
    assert len(updates) == 4
    assert all(np.isfinite(line["actor_loss"]) for line in updates)
