"""Neighbours of a problem's agents, and what their amplitudes become."""

from __future__ import annotations

import numpy as np
import pytest

from hypemarl import Bumps, Hats
from hypemarl.coupling.layout import LayoutError
from hypemarl.systems.problem.agents import Places


def columns(periodic: tuple[int, ...]) -> Places:
    return Places(np.zeros((4, 2)), np.zeros(0, int), (4, 1), periodic)


def test_columns_side_by_side_have_two_neighbours() -> None:
    assert columns((0,)).stencil(1).tolist() == [[3, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 0]]
    assert columns(()).stencil(1).tolist() == [[-1, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, -1]]


def test_the_periodic_axis_may_be_the_second() -> None:
    rows = Places(np.zeros((3, 2)), np.zeros(0, int), (1, 3), (1,))
    assert rows.stencil(1).tolist() == [[2, 0, 1], [0, 1, 2], [1, 2, 0]]


def test_a_single_agent_sees_itself() -> None:
    assert Places(np.zeros((1, 2)), np.zeros(0, int), (1, 1)).stencil(1).tolist() == [[-1, 0, -1]]


def test_amplitudes_are_freed_of_their_mean_and_limited_together() -> None:
    hats = Hats(width=1.0, mean_free=True, limit=0.5)
    small = np.array([[0.2], [-0.1], [0.2]])
    np.testing.assert_allclose(hats.acting(small), small - 0.1)
    large = hats.acting(np.array([[3.0], [0.0], [0.0]]))
    np.testing.assert_allclose(large, [[0.5], [-0.25], [-0.25]])


def test_a_limit_is_positive() -> None:
    with pytest.raises(LayoutError, match="positive limit, got 0"):
        Bumps(width=1.0, limit=0.0)
