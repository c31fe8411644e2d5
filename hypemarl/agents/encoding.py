"""Sinusoidal encoding of the agents' positions, the part of a context that says *where*."""

from __future__ import annotations

import numpy as np


def position_encoding(
    positions: np.ndarray, size: int, spacing: float, highest: float
) -> np.ndarray:
    """Encode positions (n, gdim) as (n, size) float64, smooth and different for each agent.

    Every coordinate, taken from the middle of the agents' bounding box, gets ``size // gdim``
    entries, half sines and half cosines. Their angular frequencies rise geometrically from half a
    period over the box (whose sine alone already separates all points of it) to ``highest`` rad per
    ``spacing``. Entries that are left over are zero. Rows have mean square 1 whatever ``size`` is
    (over the entries in use), so that what follows sees input of order one.

    After Vaswani et al. 2017, section 3.5, with physical coordinates in place of token indices.

    Raises:
        ValueError: fewer than one entry per coordinate, or a frequency or spacing that is not
        positive.
    """
    positions = np.asarray(positions, dtype=np.float64)
    n, dimensions = positions.shape
    share = size // dimensions
    if share < 1:
        raise ValueError(
            f"an encoding of {dimensions} coordinates needs at least {dimensions} entries, got "
            f"{size}: raise agent.encoding_size"
        )
    if not (spacing > 0 and highest > 0):
        raise ValueError(f"spacing and frequency must be positive, got {spacing} and {highest}")
    middle = 0.5 * (positions.min(axis=0) + positions.max(axis=0))
    extent = np.ptp(positions, axis=0)
    encoding = np.zeros((n, size))
    for axis in range(dimensions):
        lowest = np.pi / max(extent[axis], spacing)
        frequencies = _frequencies(max(share // 2, 1), lowest, highest / spacing)
        phase = (positions[:, axis, None] - middle[axis]) * frequencies
        columns = [np.sin(phase)] if share == 1 else [np.sin(phase), np.cos(phase)]
        block = np.concatenate(columns, axis=1)
        encoding[:, axis * share : axis * share + block.shape[1]] = block
    return np.sqrt(2.0) * encoding


def _frequencies(count: int, lowest: float, highest: float) -> np.ndarray:
    """(count,) geometric frequencies; the lowest stays, so that the encoding remains injective."""
    return np.geomspace(lowest, max(highest, lowest), count) if count > 1 else np.array([lowest])
