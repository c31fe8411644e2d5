"""The encoding separates agents, is smooth, and has entries of order one."""

from __future__ import annotations

import numpy as np
import pytest

from hypemarl.agents.encoding import position_encoding

GRID = np.stack(np.meshgrid(*[np.linspace(-1, 1, 8)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
LINE = np.linspace(-0.9, 0.9, 10)[:, None]
CUBE = np.random.default_rng(0).uniform(size=(20, 3))


@pytest.mark.parametrize("positions", [LINE, GRID, CUBE], ids=["1d", "2d", "3d"])
@pytest.mark.parametrize("size", [3, 4, 5, 16, 37, 2048])
def test_every_agent_has_its_own_row(positions: np.ndarray, size: int) -> None:
    encoding = position_encoding(positions, size, 0.25, 8.0)
    assert encoding.shape == (len(positions), size)
    distances = np.linalg.norm(encoding[:, None] - encoding[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert distances.min() > 1e-3


@pytest.mark.parametrize("size", [16, 2048])
def test_rows_have_mean_square_one(size: int) -> None:
    encoding = position_encoding(GRID, size, 2 / 7, 8.0)
    np.testing.assert_allclose((encoding**2).mean(axis=1), 1.0, rtol=1e-12)


def test_entries_that_do_not_fill_a_pair_are_zero() -> None:
    encoding = position_encoding(GRID, 11, 2 / 7, 8.0)
    used = np.any(encoding != 0, axis=0)
    assert used.sum() == 8


def test_frequencies_run_from_half_a_period_to_the_highest() -> None:
    encoding = position_encoding(LINE, 8, 0.2, 1.5)
    np.testing.assert_allclose(encoding[:, 0], np.sqrt(2) * np.sin(np.pi / 1.8 * LINE[:, 0]))
    np.testing.assert_allclose(encoding[:, 3], np.sqrt(2) * np.sin(1.5 / 0.2 * LINE[:, 0]))


def test_the_encoding_is_smooth() -> None:
    """Its change over a step h is at most h times the highest frequency."""
    fine = np.linspace(-0.9, 0.9, 1001)[:, None]
    encoding = position_encoding(fine, 64, 0.2, 1.5)
    slope = np.linalg.norm(np.diff(encoding, axis=0), axis=1) / 1.8e-3 / np.sqrt(64)
    assert slope.max() <= 1.5 / 0.2
    assert slope.min() > 0.1


def test_a_shift_of_the_domain_changes_nothing() -> None:
    shifted = position_encoding(LINE + 7.0, 32, 0.2, 1.5)
    np.testing.assert_allclose(shifted, position_encoding(LINE, 32, 0.2, 1.5), atol=1e-12)


def test_one_agent_alone_is_encoded() -> None:
    encoding = position_encoding(np.zeros((1, 2)), 8, 1.0, 8.0)
    assert np.all(np.isfinite(encoding))


def test_too_few_entries_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 entries, got 1"):
        position_encoding(GRID, 1, 0.25, 8.0)
