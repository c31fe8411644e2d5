"""Neighbours of a problem's agents."""

from __future__ import annotations

import numpy as np

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
