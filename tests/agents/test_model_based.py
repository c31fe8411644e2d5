"""Policies that learn in a surrogate: descent of imagined costs, and TD3 on imagined episodes."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import local_case
import numpy as np
import pytest
import torch
from local_case import Local
from test_imagination import drift

from hypemarl.agents.policy import PolicyAgent
from hypemarl.agents.replay import Replay
from hypemarl.algorithms.model_based import DynaOptions, MBPGOptions
from hypemarl.algorithms.model_based.agent import Dyna, ModelPolicyGradient
from hypemarl.config import AgentConfig
from hypemarl.coupling.spec import AgentSpec

STEPS = 4
FITS: dict[str, Any] = {
    "hidden": (16,),
    "form": "local",
    "batch": 16,
    "rollout": 2,
    "first_fits": 150,
    "fits": 5,
}
SMALL = AgentConfig(
    encoding_size=8,
    encoding_frequency=1.5,
    hyper_width=16,
    actor_hidden=(8,),
    critic_hidden=(8,),
    actor_rate=1e-3,
    critic_rate=1e-3,
    credit_radius=1,
    batch_episodes=2,
    algorithms={
        "mbpg": MBPGOptions(**FITS, first_updates=40, updates=3, imagine=4, policy_rate=2e-2),
        "dyna": DynaOptions(**FITS, imagined_per_real=2),
    },
)


@pytest.fixture
def spec(build_spec: Callable[..., AgentSpec]) -> AgentSpec:
    return build_spec((3, 4), 3)


def make_replay(spec: AgentSpec) -> tuple[Local, Replay]:
    local = local_case.pairs(spec)
    return local, local_case.fill(spec, local, drift, episodes=20, steps=STEPS)


def gradient_agent(spec: AgentSpec, local: Local, **changes: Any) -> ModelPolicyGradient:
    options = dataclasses.replace(SMALL.of(MBPGOptions), **changes)
    config = dataclasses.replace(SMALL, algorithms={"mbpg": options})
    return ModelPolicyGradient(local, STEPS, spec, config, 0)


def dyna_agent(
    spec: AgentSpec, local: Local, shape: Callable = lambda r: r, **changes: Any
) -> Dyna:
    return Dyna(local, STEPS, shape, spec, dataclasses.replace(SMALL, **changes), 0)


def real_cost(agent: PolicyAgent, spec: AgentSpec, averaged: bool = True) -> float:
    """Cost of the true system under the policy; nothing to do but to reach zero."""
    generator, total = np.random.default_rng(9), 0.0
    states, mu = generator.uniform(0, 1, (12, 2)), np.zeros(2)
    for _ in range(STEPS):
        seen = np.concatenate([states, np.full((12, 1), 0.5)], axis=1)
        action = agent.act(seen, mu, averaged=averaged)
        unit = (action - spec.action_middle) / spec.action_half_range
        states, shares = drift(states, unit)
        total += shares.sum()
    return total


@pytest.mark.parametrize("window", [0, 2])
def test_the_gradient_through_the_surrogate_lowers_the_real_cost(
    spec: AgentSpec, window: int
) -> None:
    local, replay = make_replay(spec)
    agent = gradient_agent(spec, local, window=window)
    before = real_cost(agent, spec)
    losses, updates = agent.improve(replay, first=True, episodes=20)
    assert updates == 40
    assert {"surrogate_loss", "surrogate_cost_loss", "imagined_cost"} == losses.keys()
    assert real_cost(agent, spec) < 0.8 * before
    assert agent.improve(replay, first=False, episodes=4)[1] == 3


def test_dyna_learns_from_imagined_episodes_in_proportion(spec: AgentSpec) -> None:
    local, replay = make_replay(spec)
    agent = dyna_agent(spec, local)
    losses, updates = agent.improve(replay, first=True, episodes=3)
    assert updates == agent.updates == STEPS * 3 * (1 + 2)
    assert {"surrogate_loss", "critic_loss", "actor_loss"} <= losses.keys()


def test_imagined_episodes_stand_in_a_replay_with_their_rewards(spec: AgentSpec) -> None:
    local, replay = make_replay(spec)
    agent = dyna_agent(spec, local, shape=lambda own: np.full_like(own, own.mean()))
    agent.model.fit(replay, 5)
    imagined = agent._imagined(replay, 6)
    assert len(imagined) == 6
    batch = imagined.sample(6, 0)
    assert batch.mask.min() == 1.0
    assert np.ptp(batch.rewards, axis=1).max() < 1e-6  # all agents share them
    assert np.all(batch.terminated == 0)
    assert np.all(batch.actions >= spec.action_low - 1e-5)
    assert np.all(batch.actions <= spec.action_high + 1e-5)
    # the column that never changes
    np.testing.assert_array_equal(batch.observations[..., 2], batch.next_observations[..., 2])
    again = agent._imagined(replay, 6)
    assert np.abs(again.observations - imagined.observations).max() > 1e-3


def test_credit_adjoint_takes_gains_from_the_surrogate(spec: AgentSpec) -> None:
    local, replay = make_replay(spec)
    agent = dyna_agent(spec, local, credit="adjoint", cloning=10.0)
    agent.model.fit(replay, 300)
    imagined = agent._imagined(replay, 4)
    batch = imagined.sample(4, 0)
    assert batch.gradients.shape == batch.actions.shape
    # more of the first action raises the state, which costs where the state is positive
    along = batch.gradients[..., :-1, 0] * np.sign(batch.next_observations[..., :-1, 0])
    assert np.mean(along < 0) > 0.9
    assert agent.improve(replay, first=False, episodes=1)[1] > 0  # real episodes have none
    # in the environment's units: the second action's bounds are wide, and it does nothing
    assert np.abs(batch.gradients[..., 1]).mean() < 0.05 * np.abs(batch.gradients[..., 0]).mean()


@pytest.mark.parametrize("kind", ["gradient", "dyna"])
def test_learning_goes_on_bit_for_bit(spec: AgentSpec, kind: str) -> None:
    local, replay = make_replay(spec)
    make = gradient_agent if kind == "gradient" else dyna_agent
    agent, twin = make(spec, local), make(spec, local)
    agent.improve(replay, first=True, episodes=1)
    stream = io.BytesIO()
    torch.save({"agent": agent.state_dict(), "replay": replay.state_dict()}, stream)
    stream.seek(0)
    stored = torch.load(stream, weights_only=True)
    agent.improve(replay, first=False, episodes=1)
    other = Replay(spec, replay.capacity, STEPS, seed=0)
    other.load_state_dict(stored["replay"])
    twin.load_state_dict(stored["agent"])
    twin.improve(other, first=False, episodes=1)
    seen, mu = np.random.default_rng(0).normal(size=(12, 3)), np.zeros(2)
    np.testing.assert_array_equal(agent.act(seen, mu), twin.act(seen, mu))
    np.testing.assert_array_equal(agent.explore(seen, mu), twin.explore(seen, mu))
    states = [a.model.surrogate.state_dict() for a in (agent, twin)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_policy_alone_is_read_from_a_checkpoint(spec: AgentSpec) -> None:
    local, replay = make_replay(spec)
    agent = gradient_agent(spec, local)
    agent.improve(replay, first=False, episodes=1)
    reader = PolicyAgent(spec, agent.config, 1)
    reader.load_state_dict(agent.state_dict())
    seen, mu = np.random.default_rng(0).normal(size=(12, 3)), np.zeros(2)
    np.testing.assert_array_equal(agent.act(seen, mu), reader.act(seen, mu))


def test_a_gradient_that_is_not_finite_is_named(spec: AgentSpec) -> None:
    local, replay = make_replay(spec)
    agent = gradient_agent(spec, local, first_updates=1)
    agent.model.fit(replay, 1)
    with torch.no_grad():
        next(agent.model.surrogate.dynamics.network.parameters()).fill_(float("nan"))
    agent.model.fit = lambda *_: {}
    with pytest.raises(FloatingPointError, match=r"agent\.mbpg\.window"):
        agent.improve(replay, first=True, episodes=1)
