"""The surrogate's networks: what they conserve, which symmetry they have, what they can learn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import local_case
import numpy as np
import pytest
import torch
from local_case import Local

from hypemarl.agents.replay import Experience, Replay
from hypemarl.algorithms.model_based import SurrogateOptions
from hypemarl.algorithms.model_based.surrogate import Design, Fixed, Surrogate
from hypemarl.algorithms.model_based.world_model import WorldModel
from hypemarl.coupling.spec import AgentSpec

SMALL = SurrogateOptions(hidden=(16,), memory=0, batch=16, rollout=2, rate=5e-3)


def surrogate(spec: AgentSpec, local: Local, **changes: object) -> Surrogate:
    config = dataclasses.replace(SMALL, **changes)
    return Surrogate(Design(local, spec, config, torch.Generator().manual_seed(0)))


def inputs(spec: AgentSpec, local: Local, members: int = 1, memory: int = 0) -> tuple:
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(members, 3, *shape, generator=generator)

    n = spec.n_agents
    fixed = Fixed(draw(spec.mu_size), draw(n, 1), draw(n, len(local.background_flow)))
    return draw(n, memory + 1, len(local.state)), 2 * draw(n, spec.action_size) - 1, fixed


@pytest.mark.parametrize("grid", [(7,), (3, 4)])
@pytest.mark.parametrize("background_flow", [(), (9, 10)])
def test_fluxes_conserve_mass_whatever_they_are(
    build_spec: Callable[..., AgentSpec], grid: tuple[int, ...], background_flow: tuple[int, ...]
) -> None:
    spec = build_spec(grid, 11)
    if len(grid) == 1:
        spec = dataclasses.replace(
            spec, action_size=1, action_low=np.array([-1.0]), action_high=np.array([2.0])
        )
        background_flow = background_flow[:1]
    local = dataclasses.replace(local_case.density(spec), background_flow=background_flow)
    model = surrogate(spec, local, ensemble=2, memory=1)
    history, actions, fixed = inputs(spec, local, 2, 1)
    following = model.dynamics(history, actions, fixed)
    moved = following - history[..., -1, :]
    assert moved.abs().mean() > 0.01
    measures = torch.as_tensor(local.density.measures, dtype=torch.float32)
    mass = (moved[..., 0] * measures).sum(dim=-1)
    np.testing.assert_allclose(mass.detach(), 0.0, atol=1e-5)


def test_turning_the_square_turns_the_fluxes(build_spec: Callable[..., AgentSpec]) -> None:
    spec = build_spec((4, 4), 9)
    local = local_case.density(spec)
    form = dataclasses.replace(local.density, measures=np.ones(16))
    local = dataclasses.replace(local, density=form)
    model = surrogate(spec, local)
    history, actions, fixed = inputs(spec, local)
    turn = torch.arange(16).view(4, 4).T.reshape(-1)  # x_1 and x_2 change places
    turned = Fixed(fixed.mu, fixed.targets[:, :, turn], fixed.flow[:, :, turn])
    straight = model.dynamics(history, actions, fixed)[:, :, turn]
    other = model.dynamics(history[:, :, turn], actions[:, :, turn].flip(-1), turned)
    torch.testing.assert_close(straight, other, atol=1e-5, rtol=1e-5)
    unturned = model.dynamics(history[:, :, turn], actions[:, :, turn], turned)
    assert (straight - unturned).abs().max() > 1e-3


def test_a_flux_depends_on_its_stencil_only(build_spec: Callable[..., AgentSpec]) -> None:
    spec = build_spec((5, 6), 9)
    local = local_case.density(spec)
    model = surrogate(spec, local)
    history, actions, fixed = inputs(spec, local)
    changed = history.clone()
    changed[:, :, 0] += 1.0  # the corner
    apart = model.dynamics(changed, actions, fixed) - model.dynamics(history, actions, fixed)
    reached = (apart[0, 0, :, 0].abs() > 1e-7).view(5, 6)
    reached[0, 0] = False
    expected = torch.zeros(5, 6, dtype=torch.bool)
    # two faces along an axis and one row aside, and the patches behind these faces
    expected[:3, :2] = expected[:2, :3] = True
    assert reached[~expected].sum() == 0
    assert reached[expected].sum() >= 6


def test_the_formula_is_the_plants_cost(build_spec: Callable[..., AgentSpec]) -> None:
    spec = build_spec((3, 4), 9)
    local = local_case.density(spec)
    form = local.density
    model = surrogate(spec, local, cost="formula")
    assert not list(model.cost.parameters())
    history, actions, fixed = inputs(spec, local)
    following = history[..., 0, :] + 0.1
    found = model.cost(history[..., 0, :], following, actions, fixed)[0, 1].numpy()
    m, target = history[0, 1, :, 0, 0].numpy(), fixed.targets[0, 1, :, 0].numpy()
    amplitudes = spec.action_middle + spec.action_half_range * actions[0, 1].numpy()
    for i in range(spec.n_agents):
        expected = 0.0
        for shift in (0.0, 0.1):
            missing = m + shift - target
            square = missing[i] ** 2
            for weights in form.slopes[:, i]:
                reached = [
                    w * missing[j] for w, j in zip(weights, form.near[i], strict=True) if j >= 0
                ]
                square += sum(reached) ** 2 / 12.0
            expected += 0.25 * form.measures[i] * square
            expected += 0.25 * form.boundary[i] * (m[i] + shift) ** 2
        for a, near_a in enumerate(form.near[i]):
            for b, near_b in enumerate(form.near[i]):
                if near_a >= 0 and near_b >= 0:
                    expected += form.control[i, a, b] * (amplitudes[near_a] @ amplitudes[near_b])
        assert found[i] == pytest.approx(form.interval * expected, rel=1e-4)


def advect(local: Local, grid: tuple[int, int]) -> Callable:
    """Upwind exchange through the faces of a grid, by the mean amplitude of both sides."""
    measures = local.density.measures.reshape(grid)

    def step(states: np.ndarray, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        m, a = states[:, 0].reshape(grid), unit.reshape(*grid, 2)
        change = np.zeros(grid)
        for axis in (0, 1):
            low = [slice(None)] * 2
            high = [slice(None)] * 2
            low[axis], high[axis] = slice(None, -1), slice(1, None)
            low, high = tuple(low), tuple(high)
            speed = 0.5 * (a[(*low, axis)] + a[(*high, axis)])
            flux = 0.2 * (np.maximum(speed, 0) * m[low] + np.minimum(speed, 0) * m[high])
            change[low] -= flux / measures[low]
            change[high] += flux / measures[high]
        following = (m + change).reshape(-1, 1)
        return following, local.density.measures * following[:, 0] ** 2

    return step


@pytest.mark.parametrize("form", ["flux", "local"])
def test_an_exchange_between_patches_is_learned(
    build_spec: Callable[..., AgentSpec], form: str
) -> None:
    spec = build_spec((3, 4), 9)
    local = local_case.density(spec)
    replay = local_case.fill(spec, local, advect(local, (3, 4)), episodes=60, steps=6)
    config = dataclasses.replace(SMALL, form=form, cost="corrected", hidden=(32,), radius=1)
    world = WorldModel(local, spec, config, 0, torch.device("cpu"))
    new = local_case.fill(spec, local, advect(local, (3, 4)), episodes=4, steps=6, seed=5)
    rows = new.latest_slots(4)
    world.fit(replay, 1)
    before = world.errors(new, rows)
    losses = world.fit(replay, 400)
    after = world.errors(new, rows)
    assert losses["surrogate_loss"] < 0.1
    assert after["surrogate_error"] < (0.25 if form == "flux" else 0.6)
    for name in ("surrogate_error", "surrogate_rollout_error", "surrogate_cost_error"):
        assert after[name] < 0.6 * before[name]


def test_memory_is_used_where_states_hide_something(build_spec: Callable[..., AgentSpec]) -> None:
    """The state repeats its last change, which the present one does not tell."""
    spec = build_spec((12,), 3)
    local = local_case.pairs(spec)
    generator = np.random.default_rng(3)

    def fill(episodes: int) -> object:
        replay = Replay(spec, episodes, 4, seed=0)
        for _ in range(episodes):
            state, speed = generator.normal(size=(12, 2)), generator.normal(size=(12, 2))
            first, steps = np.pad(state, ((0, 0), (0, 1))), []
            for _ in range(4):
                state = state + speed
                seen = np.pad(state, ((0, 0), (0, 1)))
                steps.append((np.ones((12, 2)), np.zeros(12), seen, False))
            start, costs = (np.zeros(2), np.zeros((12, 1)), first), np.zeros((4, 12)) + 0.1
            replay.append(Experience.of_steps(*start, steps, costs=costs))
        return replay

    replay, errors = fill(20), {}
    for memory in (0, 1):
        config = dataclasses.replace(SMALL, memory=memory, radius=0, rollout=1)
        world = WorldModel(local, spec, config, 0, torch.device("cpu"))
        world.fit(replay, 1)
        views = world.views
        rows = np.zeros((1, 8), dtype=int) + np.arange(8)
        piece = views.cut(replay, rows, np.full((1, 8), 2), 1)
        assert piece.history.shape == (1, 8, 12, memory + 1, 2)
        losses = [world._fit(replay)[0] for _ in range(300)]
        errors[memory] = float(np.mean(losses[-50:]))
    # at an episode's first step the past is not known to either
    assert errors[1] < 0.6 * errors[0]


def test_what_does_not_fit_is_named(build_spec: Callable[..., AgentSpec]) -> None:
    spec = build_spec((12,), 3)
    local = local_case.pairs(spec)
    with pytest.raises(ValueError, match="form=flux of the surrogate needs a density"):
        surrogate(spec, local, form="flux")
    with pytest.raises(ValueError, match="cost=formula of the surrogate needs a formula"):
        surrogate(spec, local, cost="formula")
