"""Write points files of NACA 4-digit aerofoils: ``python meshes/naca.py 0012 2412``.

Thickness and camber: E. N. Jacobs, K. E. Ward, R. M. Pinkerton, The characteristics of 78 related
airfoil sections from tests in the variable-density wind tunnel, NACA Report 460 (1933), with the
last coefficient of the thickness changed so that the trailing edge closes. A sharp edge has no
curvature, so a circle of radius ROUNDING chords that touches both sides takes its place.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.optimize import brentq

COEFFICIENTS = (0.2969, -0.1260, -0.3516, 0.2843, -0.1036)
"""Coefficients of sqrt(x), x, x^2, x^3, x^4, in units of 5 times the thickness."""
ROUNDING = 0.008
SIDE, TAIL = 60, 12
"""Number of points on each side and on half of the tail's arc."""


def half_thickness(x: np.ndarray, thickness: float) -> np.ndarray:
    """Half thickness y_t at 0 <= x <= 1, in chords."""
    powers = np.stack([np.sqrt(x), x, x**2, x**3, x**4])
    return 5.0 * thickness * np.tensordot(COEFFICIENTS, powers, axes=1)


def slope(x: float, thickness: float) -> float:
    """Derivative of y_t at 0 < x < 1."""
    a, b, c, d, e = COEFFICIENTS
    return float(
        5.0 * thickness * (0.5 * a / np.sqrt(x) + b + 2 * c * x + 3 * d * x**2 + 4 * e * x**3)
    )


def section(thickness: float) -> np.ndarray:
    """Uncambered section with a round tail: (n + 1, 2), from the tail along the upper side."""

    def excess(x: float) -> float:
        return (
            float(half_thickness(np.array(x), thickness)) * np.hypot(1.0, slope(x, thickness))
            - ROUNDING
        )

    end = brentq(excess, 0.5, 1.0 - 1e-9)  # where that circle touches the side
    x = 0.5 * end * (1.0 - np.cos(np.linspace(np.pi, 0.0, SIDE)))  # from the end to the nose
    upper = np.column_stack([x, half_thickness(x, thickness)])
    upper[-1] = 0.0
    centre = end + upper[0, 1] * slope(end, thickness)
    angle = np.linspace(0.0, np.arctan2(upper[0, 1], end - centre), TAIL)[:-1]
    tail = np.column_stack([centre + ROUNDING * np.cos(angle), ROUNDING * np.sin(angle)])
    half = np.concatenate([tail, upper])
    return np.concatenate([half, half[-2::-1] * [1.0, -1.0]])


def aerofoil(digits: str) -> np.ndarray:
    """Points of NACA ``digits``: (n + 1, 2) in chords, anticlockwise, ending with the first one."""
    camber, place, thickness = int(digits[0]) / 100, int(digits[1]) / 10, int(digits[2:]) / 100
    x, y = section(thickness).T
    if camber == 0.0:
        return np.column_stack([x, y])
    front = x < place
    scale = np.where(front, camber / place**2, camber / (1.0 - place) ** 2)
    line = scale * np.where(front, 2 * place * x - x**2, 1 - 2 * place + 2 * place * x - x**2)
    angle = np.arctan(2.0 * scale * (place - x))
    return np.column_stack([x - y * np.sin(angle), line + y * np.cos(angle)])


if __name__ == "__main__":
    for digits in sys.argv[1:] or ["0012"]:
        path = Path(__file__).parent / f"naca{digits}.dat"
        header = f"NACA {digits}, trailing edge rounded to {ROUNDING} chords (meshes/naca.py)"
        np.savetxt(path, aerofoil(digits), fmt="%.9f", header=header)
        print(path)
