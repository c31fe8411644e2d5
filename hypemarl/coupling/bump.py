"""The densities that episodes start from and aim at."""

from __future__ import annotations

import numpy as np

SHARPNESS = 10.0  # of the bump exp(-10 |x - c|^2)


def bump(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(10/pi)^(d/2) exp(-10 |x - c|^2) at points (m, d): density of unit mass. Local."""
    distance = ((points - centre) ** 2).sum(axis=1)
    return (SHARPNESS / np.pi) ** (points.shape[1] / 2) * np.exp(-SHARPNESS * distance)
