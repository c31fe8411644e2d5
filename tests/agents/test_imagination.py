"""Imagined episodes: what they start from, how they look, and gradients through them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import local_case
import numpy as np
import pytest
import torch
from local_case import Local
from torch import Tensor

from hypemarl.agents.policy import Actor
from hypemarl.agents.replay import Experience, Replay
from hypemarl.algorithms.model_based import MBPGOptions
from hypemarl.algorithms.model_based.imagination import Views, imagine, predict
from hypemarl.algorithms.model_based.world_model import WorldModel
from hypemarl.config import AgentConfig
from hypemarl.coupling.spec import AgentSpec

CPU = torch.device("cpu")
SMALL = AgentConfig(
    encoding_size=8,
    hyper_width=16,
    actor_hidden=(8,),
    output_gain=1.0,
    algorithms={"mbpg": MBPGOptions(hidden=(16,), batch=8, rollout=2)},
)


def drift(states: np.ndarray, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    following = 0.9 * states + 0.1 * unit[:, :1]
    return following, following[:, 0] ** 2


def case(
    build_spec: Callable[..., AgentSpec], kind: str = "density", **changes: object
) -> tuple[AgentSpec, Local, Replay, WorldModel]:
    spec = build_spec((3, 4), 10 if kind == "density" else 3)
    local = local_case.density(spec) if kind == "density" else local_case.pairs(spec)
    replay = local_case.fill(spec, local, drift)
    config = dataclasses.replace(SMALL.of(MBPGOptions), **changes)
    world = WorldModel(local, spec, config, 0, CPU)
    world.fit(replay, 2)
    return spec, local, replay, world


@pytest.mark.parametrize("kind", ["density", "pairs"])
def test_pieces_are_what_the_replay_holds(build_spec: Callable[..., AgentSpec], kind: str) -> None:
    spec, local, replay, _ = case(build_spec, kind)
    views = Views(local, spec, 2, 1, CPU)
    rows, first = np.array([[0, 3], [2, 1]]), np.array([[0, 2], [1, 3]])
    piece = views.cut(replay, rows, first, 2)
    for c, b in np.ndindex(2, 2):
        episode, start = rows[c, b], first[c, b]
        seen = replay.observations[episode]
        np.testing.assert_array_equal(piece.history[c, b, :, 1], seen[:, start, local.state])
        before = max(start - 1, 0)
        np.testing.assert_array_equal(piece.history[c, b, :, 0], seen[:, before, local.state])
        after = seen[:, start + 1 : start + 3, local.state]
        np.testing.assert_array_equal(piece.states[c, b], after)
        units = spec.action_middle + spec.action_half_range * piece.actions[c, b].numpy()
        done = replay.actions[episode, :, start : start + 2]
        np.testing.assert_allclose(units, done, atol=1e-5)
        costs = replay.costs[episode, :, start : start + 2]
        np.testing.assert_array_equal(piece.costs[c, b], costs)
        shown = views.observe(piece.history[..., -1, :], piece.constants)[c, b]
        np.testing.assert_array_equal(shown, seen[:, start])


def test_pieces_lie_within_their_episodes(build_spec: Callable[..., AgentSpec]) -> None:
    spec, local, replay, _ = case(build_spec)
    seen = np.full((12, 10), 7.0)
    short = [(np.zeros((12, 2)), np.zeros(12), seen, True)]  # for what is drawn
    costs = np.ones((1, 12))
    replay.append(Experience.of_steps(np.zeros(2), np.zeros((12, 1)), seen, short, costs=costs))
    views = Views(local, spec, 1, 0, CPU)
    piece = views.draw(replay, np.random.default_rng(0), 400, 3)
    assert piece.history.max() < 7.0
    assert piece.states.shape[3] == 3
    firsts = piece.history[0, :, 0, 0, 0].unique()
    assert len(firsts) == 6 * 3  # every start of every long episode


def test_free_starts_mix_states_and_parameters(build_spec: Callable[..., AgentSpec]) -> None:
    spec, local, replay, _ = case(build_spec)
    for free in (True, False):
        views = Views(dataclasses.replace(local, free_start=free), spec, 1, 0, CPU)
        start = views.starts(replay, np.random.default_rng(0), 300, False)
        firsts = replay.observations[:6, :, 0, local.state[0]]
        state = start.history[0, :, :, 0, 0].numpy()
        own = np.array([np.flatnonzero((firsts == row).all(axis=1))[0] for row in state])
        other = np.array([np.flatnonzero((replay.mu[:6] == mu).all(axis=1))[0] for mu in start.mu])
        assert len({*zip(own, other, strict=True)}) == (36 if free else 6)
        np.testing.assert_array_equal(start.fixed.targets[0].numpy(), replay.targets[other])


def test_an_imagined_episode_is_the_prediction_of_its_actions(
    build_spec: Callable[..., AgentSpec],
) -> None:
    spec, _, replay, world = case(build_spec, ensemble=2, memory=1)
    actor = Actor(spec, SMALL, torch.Generator().manual_seed(0))
    start, found = world.imagine(replay, actor, 3, 4)
    assert found.observations.shape == (2, 3, 12, 5, 10)
    piece = start._replace(actions=found.actions)
    states, costs = predict(world.surrogate, piece)
    torch.testing.assert_close(costs, found.costs)
    shown = world.views.observe(states[..., -1, :], start.constants)
    torch.testing.assert_close(shown, found.observations[..., -1, :])
    first = found.observations[1, 2, :, 0]
    acted = actor(first[None, :, None], start.fixed.mu[1, 2][None])[0, :, 0]
    torch.testing.assert_close(acted, found.actions[1, 2, :, 0])


def test_gradients_of_the_policy_are_those_of_the_imagined_cost(
    build_spec: Callable[..., AgentSpec],
) -> None:
    spec, _, replay, world = case(build_spec, memory=1)
    world.surrogate.double()
    world.views._tensor = lambda array: torch.as_tensor(np.ascontiguousarray(array)).double()
    actor = Actor(spec, SMALL, torch.Generator().manual_seed(0)).double()
    actor.network.hypernetwork.encoding = actor.network.hypernetwork.encoding.double()
    state = world.generator.bit_generator.state

    def cost() -> Tensor:
        world.generator.bit_generator.state = state  # the same starts
        return world.imagine(replay, actor, 2, 3)[1].costs.sum()

    slopes = torch.autograd.grad(cost(), list(actor.parameters()), materialize_grads=True)
    generator = torch.Generator().manual_seed(1)
    directions = [torch.randn(p.shape, generator=generator).double() for p in actor.parameters()]
    expected = sum(float((s * d).sum()) for s, d in zip(slopes, directions, strict=True))
    step, values = 1e-6, []  # small, since the networks have kinks
    for sign in (1.0, -2.0):  # forth, then back beyond the middle
        with torch.no_grad():
            for parameter, direction in zip(actor.parameters(), directions, strict=True):
                parameter += sign * step * direction
        values.append(float(cost().detach()))
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(expected, rel=1e-5)


def test_gains_are_discounted_derivatives(build_spec: Callable[..., AgentSpec]) -> None:
    spec, _, replay, world = case(build_spec)
    actor = Actor(spec, SMALL, torch.Generator().manual_seed(0))
    start, found = world.imagine(replay, actor, 2, 3)
    actions = found.actions.detach()
    gamma = 0.7
    gradients = world.action_gradients(start, actions, gamma)
    leaf = actions.clone().requires_grad_()
    costs = predict_with_states(world, start._replace(actions=leaf))
    for step in range(3):
        # the costs of this interval and of later ones, each discounted once more
        value = sum(gamma ** (k - step) * costs[..., k].sum() for k in range(step, 3))
        slope = torch.autograd.grad(value, leaf, retain_graph=True)[0]
        torch.testing.assert_close(gradients[..., step, :], -slope[..., step, :])


def predict_with_states(world: WorldModel, piece: object) -> Tensor:
    found = iter(piece.actions.unbind(dim=3))
    steps = piece.actions.shape[3]
    return imagine(world.surrogate, world.views, piece, lambda _: next(found), steps).costs


def test_imagination_ends_where_the_ensemble_disagrees(
    build_spec: Callable[..., AgentSpec],
) -> None:
    spec, _, replay, world = case(build_spec, ensemble=3, cutoff=1e6)
    actor = Actor(spec, SMALL, torch.Generator().manual_seed(0))
    assert world.imagine(replay, actor, 4, 5)[1].weight.min() == 1.0
    world.config = dataclasses.replace(world.config, cutoff=1e-6)
    assert world.imagine(replay, actor, 4, 5)[1].weight.max() == 0.0
    with torch.no_grad():  # members that are one and the same agree
        for parameter in world.surrogate.parameters():
            parameter[1:] = parameter[:1]
    assert world.imagine(replay, actor, 4, 5)[1].weight.min() == 1.0


def test_a_replay_without_costs_is_named(build_spec: Callable[..., AgentSpec]) -> None:
    spec, local, _, world = case(build_spec)
    replay = Replay(spec, 2, 3, seed=0)
    seen = np.zeros((12, 10))
    steps = [(np.zeros((12, 2)), np.zeros(12), seen, False)]
    replay.append(Experience.of_steps(np.zeros(2), np.zeros((12, 1)), seen, steps))
    with pytest.raises(RuntimeError, match="needs the cost shares"):
        world.fit(replay, 1)
