"""Exploration noise: its deviation, its smoothness, its restart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hypemarl.agents.noise import Noise
from hypemarl.coupling.spec import AgentSpec


def draw(spec: AgentSpec, smoothing: float, count: int = 4000) -> np.ndarray:
    noise = Noise(spec, smoothing, seed=0)
    return np.stack([noise.sample() for _ in range(count)])


@pytest.mark.parametrize("smoothing", [0.0, 0.5, 0.9])
def test_deviation_is_one_for_every_agent(spec: AgentSpec, smoothing: float) -> None:
    deviation = draw(spec, smoothing, 20000).std(axis=0)
    np.testing.assert_allclose(deviation, 1.0, atol=0.08)


@pytest.mark.parametrize("smoothing", [0.0, 0.5, 0.9])
def test_correlation_in_time_is_the_smoothing(spec: AgentSpec, smoothing: float) -> None:
    samples = draw(spec, smoothing)
    assert np.mean(samples[1:] * samples[:-1]) == pytest.approx(smoothing, abs=0.06)


def test_near_agents_are_alike_and_far_ones_are_not(
    build_spec: Callable[..., AgentSpec],
) -> None:
    samples = draw(build_spec((10,)), 0.5)[..., 0]
    correlation = np.corrcoef(samples.T)
    assert correlation[4, 5] > 0.5
    assert abs(correlation[1, 8]) < 0.15
    white = np.corrcoef(draw(build_spec((10,)), 0.0)[..., 0].T)
    assert abs(white[4, 5]) < 0.06


def test_a_new_episode_forgets_and_a_restored_one_does_not(spec: AgentSpec) -> None:
    noise = Noise(spec, 0.99, seed=0)
    before = noise.sample()
    state = noise.state_dict()
    following = noise.sample()
    assert np.corrcoef(before.ravel(), following.ravel())[0, 1] > 0.9
    other = Noise(spec, 0.99, seed=1)
    other.load_state_dict(state)
    np.testing.assert_array_equal(other.sample(), following)
    noise.start_episode()
    assert abs(np.corrcoef(before.ravel(), noise.sample().ravel())[0, 1]) < 0.6


def test_a_smoothing_of_one_is_refused(spec: AgentSpec) -> None:
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        Noise(spec, 1.0, seed=0)
