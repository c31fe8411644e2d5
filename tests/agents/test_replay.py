"""The replay returns what was stored, leaves out what was dropped, and masks what is not there."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch

from hypemarl.agents.replay import Experience, Replay
from hypemarl.coupling.spec import AgentSpec


def numbered(spec: AgentSpec, episode: int, steps: int) -> Experience:
    """An episode whose every number says where it belongs: 100 * episode + time."""
    n, k, m = spec.n_agents, spec.observation_size, spec.action_size
    values = 100.0 * episode + np.arange(steps + 1)
    observations = np.broadcast_to(values[:, None, None], (steps + 1, n, k)).copy()
    observations[1:] += np.arange(n)[:, None] / 100
    ends = (np.arange(steps) == steps - 1) & (steps < 4)
    rewards = np.broadcast_to(-values[:-1, None], (steps, n))
    actions = np.broadcast_to(values[:-1, None, None], (steps, n, m))
    targets = np.full((n, 1), episode)
    return Experience(np.full(2, episode), targets, observations, actions, rewards, ends)


def test_steps_follow_each_other(spec: AgentSpec) -> None:
    replay = Replay(spec, 5, 4, seed=0)
    for episode in (1, 2, 3):
        replay.append(numbered(spec, episode, 4))
    batch = replay.sample(3, 0)
    assert batch.observations.shape == (3, 12, 4, 5)
    assert batch.actions.shape == (3, 12, 4, 2)
    assert sorted(batch.mu[:, 0]) == [1, 2, 3]
    expected = 100 * batch.mu[:, :1] + np.arange(4)
    np.testing.assert_array_equal(batch.actions[:, 7, :, 1], expected)
    np.testing.assert_array_equal(batch.rewards[:, 7], -expected)
    np.testing.assert_allclose(batch.next_observations[:, 7, :, 2], expected + 1.07, rtol=1e-6)
    np.testing.assert_allclose(
        batch.observations[:, 7, 1:, 2], batch.next_observations[:, 7, :-1, 2]
    )
    np.testing.assert_array_equal(batch.targets[:, 7, 0], batch.mu[:, 0])


def test_an_episode_without_steps_is_dropped(spec: AgentSpec) -> None:
    replay = Replay(spec, 5, 4, seed=0)
    replay.append(numbered(spec, 1, 0))
    assert len(replay) == 0
    with pytest.raises(RuntimeError, match="no complete episode"):
        replay.sample(1, 0)


def test_short_episodes_are_masked_and_their_end_terminates(spec: AgentSpec) -> None:
    replay = Replay(spec, 5, 4, seed=0)
    replay.append(numbered(spec, 1, 2))
    batch = replay.sample(1, 0)
    np.testing.assert_array_equal(batch.mask, [[1, 1, 0, 0]])
    np.testing.assert_array_equal(batch.terminated, [[0, 1, 0, 0]])


def test_drawn_steps_are_distinct_and_exist(spec: AgentSpec) -> None:
    replay = Replay(spec, 5, 4, seed=0)
    replay.append(numbered(spec, 1, 4))
    replay.append(numbered(spec, 2, 2))
    seen = set()
    for _ in range(30):
        batch = replay.sample(2, 3)
        assert batch.actions.shape == (2, 12, 3, 2)
        for row, mask in zip(batch.actions[:, 0, :, 0], batch.mask, strict=True):
            real = row[mask > 0]
            assert len(set(real)) == len(real) == (3 if real[0] < 200 else 2)
            seen |= set(real)
    assert seen == {100, 101, 102, 103, 200, 201}


def test_the_oldest_episode_makes_room(spec: AgentSpec) -> None:
    replay = Replay(spec, 2, 4, seed=0)
    for episode in (1, 2, 3):
        replay.append(numbered(spec, episode, 4 if episode < 3 else 2))
    batch = replay.sample(5, 0)
    assert sorted(batch.mu[:, 0]) == [2, 3]
    assert sorted(batch.mask.sum(axis=1)) == [2, 4]


def test_bad_episodes_are_refused(spec: AgentSpec) -> None:
    replay = Replay(spec, 2, 1, seed=0)
    good = numbered(spec, 1, 1)
    for name in ("actions", "rewards", "observations"):
        values = getattr(good, name).copy()
        values[-1, 3] = np.nan
        with pytest.raises(ValueError, match=f"^{name} .*NaN"):
            replay.append(good._replace(**{name: values}))
    with pytest.raises(ValueError, match="at most 1 steps, got an episode of 2"):
        replay.append(numbered(spec, 1, 2))
    assert len(replay) == 0
    replay.append(good)
    with pytest.raises(ValueError, match="targets of this replay have 1 columns"):
        replay.append(good._replace(targets=np.zeros((spec.n_agents, 2))))
    with pytest.raises(ValueError, match="room for one episode"):
        Replay(spec, 0, 4, seed=0)


def test_a_saved_replay_goes_on_drawing_the_same(spec: AgentSpec, fill: Callable) -> None:
    replay = fill(spec, (4, 2, 4, 3))
    replay.sample(2, 0)
    stream = io.BytesIO()
    torch.save(replay.state_dict(), stream)
    stream.seek(0)
    restored = Replay(spec, 20, 4, seed=99)
    restored.load_state_dict(torch.load(stream, weights_only=True))
    for _ in range(5):
        for ours, theirs in zip(replay.sample(3, 2), restored.sample(3, 2), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="use the config of the run"):
        Replay(spec, 20, 5, seed=0).load_state_dict(replay.state_dict())


def test_gains_stand_beside_the_actions_they_belong_to(spec: AgentSpec) -> None:
    replay = Replay(spec, 2, 4, seed=0)
    replay.append(numbered(spec, 1, 3))
    assert replay.sample(1, 0).gradients.shape == (1, 12, 4, 0)
    for episode in (2, 3):  # the third takes the place of the first, which had none
        gradients = np.broadcast_to(10.0 * episode + np.arange(3.0)[:, None, None], (3, 12, 2))
        replay.append(numbered(spec, episode, 3)._replace(gradients=gradients))
    batch = replay.sample(2, 0)
    np.testing.assert_array_equal(batch.gradients[:, 5, :3, 1], 10 * batch.mu[:, :1] + np.arange(3))
    np.testing.assert_array_equal(batch.gradients[:, :, 3], 0.0)
    restored = Replay(spec, 2, 4, seed=1)
    restored.load_state_dict(replay.state_dict())
    np.testing.assert_array_equal(restored.gradients, replay.gradients)
    with pytest.raises(ValueError, match="gradients of an episode hold NaN"):
        replay.append(numbered(spec, 4, 3)._replace(gradients=np.full((3, 12, 2), np.nan)))


def test_replays_from_before_gains_load(spec: AgentSpec) -> None:
    replay = Replay(spec, 2, 4, seed=0)
    replay.append(numbered(spec, 1, 4))
    state = {name: value for name, value in replay.state_dict().items() if name != "gradients"}
    restored = Replay(spec, 2, 4, seed=0)
    restored.load_state_dict(state)
    np.testing.assert_array_equal(restored.sample(1, 0).actions, replay.sample(1, 0).actions)


def test_a_batch_knows_how_much_of_the_horizon_is_left(spec: AgentSpec) -> None:
    replay = Replay(spec, 2, 4, seed=0)
    replay.append(numbered(spec, 1, 4))
    batch = replay.sample(1, 0)
    np.testing.assert_allclose(batch.remaining, [[1.0, 0.75, 0.5, 0.25]])
    np.testing.assert_allclose(batch.next_remaining, [[0.75, 0.5, 0.25, 0.0]])
