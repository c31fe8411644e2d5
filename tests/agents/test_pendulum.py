"""TD3 itself, on a plain single-agent task: Gymnasium's Pendulum-v1."""

from __future__ import annotations

from functools import partial

import gymnasium
import numpy as np
import pytest

from hypemarl.agents.replay import Experience, Replay
from hypemarl.algorithms.td3.agent import TD3
from hypemarl.config import AgentConfig
from hypemarl.coupling.neighbourhood import grid_stencil
from hypemarl.coupling.spec import AgentSpec

STEPS_PER_EPISODE = 200
CONFIG = AgentConfig(
    scheme="marl",
    credit="local",
    actor_hidden=(64, 64),
    critic_hidden=(64, 64),
    actor_rate=1e-3,
    critic_rate=1e-3,
    gamma=0.98,
    tau=0.005,
    exploration_noise=0.1,
    huber=False,
    gradient_clip=0.0,
    reward_scale=0.1,
    average_rate=0.02,
    batch_episodes=8,
    batch_steps=32,
)


def single_agent(environment: gymnasium.Env) -> AgentSpec:
    assert isinstance(environment.action_space, gymnasium.spaces.Box)
    return AgentSpec(
        observation_size=3,
        action_size=1,
        action_low=environment.action_space.low,
        action_high=environment.action_space.high,
        positions=np.zeros((1, 1)),
        spacing=1.0,
        mu_low=np.zeros(0),
        mu_high=np.zeros(0),
        own_features=(0, 1, 2),
        stencil=partial(grid_stencil, (1,)),
    )


def rollout(environment: gymnasium.Env, agent: TD3, seed: int) -> float:
    observation, _ = environment.reset(seed=seed)
    total, done = 0.0, False
    while not done:
        action = agent.act(observation[None], np.zeros(0))[0]
        observation, reward, terminated, truncated, _ = environment.step(action)
        total, done = total + float(reward), terminated or truncated
    return total


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_pendulum_is_solved_within_15000_steps(seed: int) -> None:
    environment = gymnasium.make("Pendulum-v1")
    agent = TD3(single_agent(environment), CONFIG, seed)
    replay = Replay(agent.spec, 100, STEPS_PER_EPISODE, seed)
    mu = np.zeros(0)
    for episode in range(15_000 // STEPS_PER_EPISODE):
        observation, _ = environment.reset(seed=10_000 * seed + episode)
        start, steps = (mu, np.zeros((1, 0)), observation[None]), []
        agent.start_episode()
        for _ in range(STEPS_PER_EPISODE):
            warm = episode < 5
            action = agent.random_actions(1.0) if warm else agent.explore(observation[None], mu)
            observation, reward, terminated, _, _ = environment.step(action[0])
            steps.append((action, np.array([float(reward)]), observation[None], terminated))
            if not warm:
                agent.update(replay)
        replay.append(Experience.of_steps(*start, steps))
    returns = [rollout(environment, agent, 999_000 + trial) for trial in range(20)]
    assert np.mean(returns) > -250.0, f"mean return {np.mean(returns):.0f}"
