"""Neighbours on a closed ring of agents."""

from __future__ import annotations

import numpy as np


def ring_stencil(n: int, radius: int) -> np.ndarray:
    """Agents within ``radius`` places to either side on a ring of n, shape (n, 2 radius + 1).

    The middle column is the agent itself; -1 stands for what another column already holds. Local.

    Raises:
        ValueError: the radius is negative.
    """
    if radius < 0:
        raise ValueError(f"radius: expected 0 or more places, got {radius}")
    offsets = np.arange(-radius, radius + 1)
    near = (np.arange(n)[:, None] + offsets) % n
    # offset -n/2 is the agent at +n/2
    return np.where((2 * offsets > -n) & (2 * offsets <= n), near, -1).astype(np.int64)
