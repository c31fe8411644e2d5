"""The densities that episodes start from and aim at."""

from __future__ import annotations

from math import comb, pi, sqrt

import numpy as np

SHARPNESS = 10.0  # of the bump exp(-10 |x - c|^2)


def bump(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(10/pi)^(d/2) exp(-10 |x - c|^2) at points (m, d): density of unit mass. Local."""
    distance = ((points - centre) ** 2).sum(axis=1)
    return (SHARPNESS / np.pi) ** (points.shape[1] / 2) * np.exp(-SHARPNESS * distance)


def mass_bound(gdim: int, edge: float) -> float:
    """Upper bound of the mass of a bump's nodal values, wherever its centre is. Local.

    ``edge``: the longest of the mesh. A P1 field has at a point at most the bump's largest value
    within an edge of it, whose integral over the whole space is known.
    """
    ball = {1: 2.0, 2: pi, 3: 4.0 / 3.0 * pi}[gdim]
    a = SHARPNESS
    moments = (0.5 * sqrt(pi / a), 0.5 / a, 0.25 * sqrt(pi / a**3))  # of exp(-a s^2), s > 0
    shell = sum(comb(gdim - 1, k) * moments[k] * edge ** (gdim - 1 - k) for k in range(gdim))
    return float((a / pi) ** (gdim / 2) * ball * (edge**gdim + gdim * shell))
