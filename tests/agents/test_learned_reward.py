from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import torch

from hypemarl.agents.replay import Experience, Replay
from hypemarl.algorithms.imitation import IRLOptions
from hypemarl.algorithms.imitation.learned_reward import BOUND, RewardLearner
from hypemarl.config import AgentConfig
from hypemarl.coupling.spec import AgentSpec

SMALL = AgentConfig(
    credit="local",
    encoding_size=8,
    hyper_width=16,
    actor_hidden=(16,),
    critic_hidden=(16,),
    actor_rate=1e-3,
    critic_rate=1e-3,
    algorithms={"irl": IRLOptions(rate=3e-3)},
    average_rate=0.05,
    gamma=0.3,
)
STEPS = 4


def demonstrated(observations: np.ndarray) -> np.ndarray:
    """Actions of a demonstrator: half the range, with the sign of the first number that it sees."""
    return 0.5 * np.sign(observations[..., :1])


def learner(spec: AgentSpec, **changes: Any) -> tuple[RewardLearner, Replay]:
    config = dataclasses.replace(SMALL, **changes)
    agent, replay = RewardLearner(spec, config, seed=0), Replay(spec, 20, STEPS, seed=0)
    generator = np.random.default_rng(0)
    shape = (STEPS, spec.n_agents, spec.observation_size)
    for _ in range(6):
        seen = generator.normal(size=shape)
        wanted = np.repeat(demonstrated(seen), spec.action_size, axis=-1)
        wanted = spec.action_middle + spec.action_half_range * wanted
        agent.show(seen, np.zeros(spec.mu_size), wanted)
    for _ in range(6):  # the cost that comes with what the policy does is of no interest
        seen = generator.normal(size=shape)
        start, steps = (np.zeros(spec.mu_size), np.zeros((spec.n_agents, 1)), seen[0]), []
        for row in seen:
            actions = generator.uniform(
                spec.action_low, spec.action_high, (len(row), spec.action_size)
            )
            steps.append((actions, generator.normal(size=len(row)), row, False))
        replay.append(Experience.of_steps(*start, steps))
    return agent, replay


def test_the_reward_is_high_where_demonstrators_would_have_done_so(spec: AgentSpec) -> None:
    agent, replay = learner(spec)
    for _ in range(100):
        agent.prepare(replay.sample(3, 0))
    seen = np.random.default_rng(1).normal(size=(1, spec.n_agents, 20, spec.observation_size))
    wanted = torch.from_numpy(np.repeat(demonstrated(seen), spec.action_size, axis=-1)).float()
    observations, mu = torch.from_numpy(seen).float(), torch.zeros(1, spec.mu_size)
    with torch.no_grad():
        good, bad = (agent._judge(observations, s * wanted, mu) for s in (1.0, -1.0))
    assert float((good > bad).float().mean()) > 0.7


def test_given_rewards_are_not_looked_at(spec: AgentSpec) -> None:
    agent, replay = learner(spec)
    other = copy.deepcopy(agent)
    sample = replay.sample(3, 0)
    rewards = agent.prepare(sample)["rewards"]
    assert float(rewards.abs().max()) <= BOUND
    assert float(rewards.std()) > 0.0
    changed = other.prepare(sample._replace(rewards=100.0 * sample.rewards))["rewards"]
    assert torch.equal(rewards, changed)


def test_its_state_decides_all_that_follows(spec: AgentSpec) -> None:
    agent, replay = learner(spec)
    agent.update(replay)
    state, stored = copy.deepcopy(agent.state_dict()), copy.deepcopy(replay.state_dict())
    losses = agent.update(replay)
    other, _ = learner(spec)
    other.load_state_dict(state)
    replay.load_state_dict(stored)
    assert other.update(replay) == losses
    assert "reward_loss" in losses
