"""Small agents that the tests of this room share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch

from hypemarl.agents.replay import Experience, Replay
from hypemarl.coupling.neighbourhood import grid_stencil
from hypemarl.coupling.spec import AgentSpec


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks are fastest on one thread, and timings and sums repeat."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def spec() -> AgentSpec:
    """3 x 4 agents with two actions of different bounds."""
    return make_spec((3, 4))


@pytest.fixture
def build_spec() -> Callable[..., AgentSpec]:
    return make_spec


@pytest.fixture
def fill() -> Callable[..., Replay]:
    return fill_replay


def make_spec(grid: tuple[int, ...], observation_size: int = 5) -> AgentSpec:
    axes = [np.linspace(-0.8, 0.8, size) for size in grid]
    positions = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(grid))
    return AgentSpec(
        observation_size=observation_size,
        action_size=2,
        action_low=np.array([-1.0, 0.0]),
        action_high=np.array([1.0, 10.0]),
        positions=positions,
        spacing=1.6 / (max(grid) - 1),
        mu_low=np.array([0.0, -2.0]),
        mu_high=np.array([0.5, 2.0]),
        own_features=(1,),
        stencil=partial(grid_stencil, grid),
        grid=grid,
    )


def fill_replay(spec: AgentSpec, lengths: tuple[int, ...], max_steps: int = 4) -> Replay:
    """Episodes of random numbers; one shorter than max_steps ends terminated."""
    generator = np.random.default_rng(0)
    n, k = spec.n_agents, spec.observation_size
    replay = Replay(spec, 20, max_steps, seed=0)
    for length in lengths:
        mu = generator.uniform(spec.mu_low, spec.mu_high)
        start = mu, generator.normal(size=(n, 1)), generator.normal(size=(n, k))
        steps = []
        for step in range(length):
            actions = generator.uniform(spec.action_low, spec.action_high, (n, spec.action_size))
            ends = step == length - 1 and length < max_steps
            steps.append((actions, generator.normal(size=n), generator.normal(size=(n, k)), ends))
        replay.append(Experience.of_steps(*start, steps))
    return replay
