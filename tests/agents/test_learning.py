"""Cooperative TD3 learns density control on the numpy stand-in of density-1d."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from stand_in import (
    LEARNING,
    STEPS,
    StandIn,
    bump,
    draw_parameters,
    evaluate,
    patches,
    train,
)

from hypemarl.config import AgentConfig

CONFIG = AgentConfig(**LEARNING)  # type: ignore[arg-type]
HELD_OUT = draw_parameters(np.random.default_rng(99), 16)


def test_the_stand_in_conserves_mass_and_moves_it() -> None:
    world = StandIn()
    world.reset(np.array([[-0.3, 0.3], [-0.3, 0.3]]))
    mass = world.y.sum(axis=1)
    actions = np.stack([np.zeros(10), np.ones(10)])
    for _ in range(STEPS // 2):
        world.step(actions)
    np.testing.assert_allclose(world.y.sum(axis=1), mass, rtol=1e-12)
    assert world.y.min() >= 0
    moved = patches(world.y).argmax(axis=1)
    assert moved[0] == patches(bump(np.array([-0.3])))[0].argmax()
    assert moved[1] >= moved[0] + 4


def test_cooperative_credit_improves_on_no_control_within_100_episodes() -> None:
    uncontrolled = evaluate(None, HELD_OUT).mean()
    assert 1.4 < uncontrolled < 1.9
    agent = train(CONFIG, seed=0, episodes=100)
    assert evaluate(agent, HELD_OUT).mean() < 0.6 * uncontrolled


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_cooperative_credit_reaches_a_fifth_of_uncontrolled(seed: int) -> None:
    """0.23-0.24 of 1.62 on three seeds when written; the prototype had 0.276 of 1.67."""
    agent = train(CONFIG, seed, episodes=400)
    assert evaluate(agent, HELD_OUT).mean() < 0.2 * evaluate(None, HELD_OUT).mean()


@pytest.mark.slow
def test_without_place_and_mu_the_same_training_is_worse() -> None:
    cost = evaluate(train(dataclasses.replace(CONFIG, scheme="marl"), 0, 400), HELD_OUT).mean()
    assert cost > 0.4 * evaluate(None, HELD_OUT).mean()
