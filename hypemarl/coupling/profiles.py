"""Profiles over time and space that plants share."""

import numpy as np


def smoothstep(t: np.ndarray | float) -> np.ndarray:
    """t^2 (3 - 2 t) on [0, 1], constant outside: C1, and s(t) + s(1 - t) = 1."""
    clipped = np.clip(t, 0.0, 1.0)
    return clipped * clipped * (3.0 - 2.0 * clipped)
