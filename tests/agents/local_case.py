"""Local models that the tests of this room share: patches on a grid, and states of any kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hypemarl.agents.replay import Experience, Replay
from hypemarl.coupling.neighbourhood import grid_stencil
from hypemarl.coupling.spec import AgentSpec


@dataclass(frozen=True, eq=False)
class Form:
    interval: float
    measures: np.ndarray
    boundary: np.ndarray
    near: np.ndarray
    slopes: np.ndarray
    control: np.ndarray


@dataclass(frozen=True, eq=False)
class Local:
    state: tuple[int, ...]
    shown: np.ndarray
    seen: np.ndarray
    background_flow: tuple[int, ...] = ()
    density: Any = None
    free_start: bool = False


def density(spec: AgentSpec, seed: int = 0) -> Local:
    """Patches of different measures; an observation shows the own patch, then its neighbours."""
    assert spec.grid is not None
    generator = np.random.default_rng(seed)
    n, near = spec.n_agents, grid_stencil(spec.grid, 1)
    width = near.shape[1]
    half = generator.normal(size=(n, width, width))
    form = Form(
        interval=0.2,
        measures=generator.uniform(0.5, 1.0, n),
        boundary=generator.uniform(0.0, 0.3, n),
        near=near,
        slopes=generator.normal(size=(len(spec.grid), n, width)),
        control=0.01 * half @ np.swapaxes(half, 1, 2),
    )
    shown = np.full((spec.observation_size, 2), -1)
    shown[:width] = np.stack([np.arange(width), np.zeros(width, dtype=int)], axis=1)
    return Local((width // 2,), shown, near, density=form, free_start=True)


def pairs(spec: AgentSpec) -> Local:
    """Two numbers of its own, which is all that an agent sees, and a third that never changes."""
    seen = np.arange(spec.n_agents)[:, None]
    return Local((0, 1), np.array([[0, 0], [0, 1], [-1, -1]]), seen)


def fill(
    spec: AgentSpec, local: Local, step: Any, episodes: int = 6, steps: int = 5, seed: int = 0
) -> Replay:
    """Episodes of ``step(states (n, s), unit actions (n, m)) -> next states, shares (n,)``."""
    generator = np.random.default_rng(seed)
    replay = Replay(spec, episodes + 2, steps, seed=0)
    for _ in range(episodes):
        states = generator.uniform(0.0, 1.0, (spec.n_agents, len(local.state)))
        still = generator.uniform(size=(spec.n_agents, spec.observation_size))
        mu = generator.uniform(spec.mu_low, spec.mu_high)
        targets, first = generator.uniform(0, 1, (spec.n_agents, 1)), observe(local, states, still)
        shares, taken = [], []
        for _ in range(steps):
            unit = generator.uniform(-1.0, 1.0, (spec.n_agents, spec.action_size))
            states, cost = step(states, unit)
            actions = spec.action_middle + spec.action_half_range * unit
            taken.append((actions, -cost, observe(local, states, still), False))
            shares.append(cost)
        replay.append(Experience.of_steps(mu, targets, first, taken, costs=np.stack(shares)))
    return replay


def observe(local: Local, states: np.ndarray, still: np.ndarray) -> np.ndarray:
    result = still.copy()
    for column, (agent, number) in enumerate(local.shown):
        if agent >= 0:
            near = local.seen[:, agent]
            result[:, column] = np.where(near >= 0, states[near, number], 0.0)
    return result
