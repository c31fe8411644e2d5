from __future__ import annotations

import numpy as np
import pytest

from hypemarl.config import MeshConfig
from hypemarl.coupling.layout import LayoutError, grid_layout, own_cells
from hypemarl.coupling.neighbourhood import grid_stencil
from hypemarl.meshing import build
from hypemarl.mpi import world
from hypemarl.solvers.p1 import P1Space


@pytest.fixture(scope="module")
def space() -> P1Space:
    return P1Space(build(MeshConfig(element_size=0.2), world()).mesh)


def test_grid_owns_every_cell_once(space: P1Space) -> None:
    layout = grid_layout(space, (2, 3), -np.ones(2), np.ones(2))
    assert layout.n_agents == 6
    assert set(layout.owners) == set(range(6))
    # C order: the last axis runs fastest
    np.testing.assert_allclose(layout.positions[1] - layout.positions[0], [0.0, 2 / 3])
    nearest = np.abs(space.midpoints[:, None] - layout.positions[None]) <= [[[0.5, 1 / 3]]]
    assert nearest.all(axis=2)[np.arange(len(layout.owners)), layout.owners].all()


def test_overlap_is_refused_with_the_agents(space: P1Space) -> None:
    def left(x: np.ndarray) -> np.ndarray:
        return x[:, 0] < 0.1

    def right(x: np.ndarray) -> np.ndarray:
        return x[:, 0] > -0.1

    with pytest.raises(LayoutError, match=r"overlap.*one at \[.*claimed by agents \[0, 1\]"):
        own_cells(space, [left, right])


def test_gap_and_empty_subdomain_are_refused(space: P1Space) -> None:
    def low(x: np.ndarray) -> np.ndarray:
        return x[:, 0] < -0.5

    with pytest.raises(LayoutError, match="leave a gap"):
        own_cells(space, [low])
    with pytest.raises(LayoutError, match=r"agents \[1\] own no cell"):
        own_cells(space, [lambda x: np.ones(len(x), bool), lambda x: np.zeros(len(x), bool)])
    with pytest.raises(LayoutError, match=r"own no cell.*lower env.mesh.element_size"):
        grid_layout(space, (40, 40), -np.ones(2), np.ones(2))
    with pytest.raises(LayoutError, match="one number per axis of the 2D mesh"):
        grid_layout(space, (10,), -np.ones(2), np.ones(2))


def test_stencil_is_aligned_by_relative_place() -> None:
    line = grid_stencil((4,), 1)
    np.testing.assert_array_equal(line, [[-1, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, -1]])
    plane = grid_stencil((3, 3), 1)
    np.testing.assert_array_equal(plane[4], np.arange(9))
    np.testing.assert_array_equal(plane[0], [-1, -1, -1, -1, 0, 1, -1, 3, 4])
    oblong = grid_stencil((3, 4), 1)
    np.testing.assert_array_equal(oblong[5], [0, 1, 2, 4, 5, 6, 8, 9, 10])
    with pytest.raises(ValueError, match="radius: expected 0 or more"):
        grid_stencil((3,), -1)
