"""Shapes of one outline under one parametrisation: coordinates, area, bending, all in few numbers.

Displacements are written in modes that are orthonormal over the outline, D(s) = sum_k Psi_k(s) q_k,
so that |q| is the root mean square of the displacement and the nearest q is the nearest shape.
"""

import numpy as np

from hypemarl.meshing.morphing.outlines import PER_FACET
from hypemarl.meshing.morphing.parametrisation import Parametrisation
from hypemarl.meshing.polygons import signed_area

RANK_TOLERANCE = 1e-3
"""Modes below this share of the strongest are dropped: amplitudes that move nothing."""


class ShapeSpace:
    """The shapes that a parametrisation reaches.

    Args:
        parametrisation: of the agents' amplitudes.

    Attributes:
        size: number of modes, at most the number of amplitudes.
        reference: (n, 2) dense points of the reference outline.
        modes: (n, 2, size) their displacement by each mode.
        to_modes: (size, amplitudes) q = to_modes @ a. to_amplitudes: its pseudo-inverse.
        bending: (size, size) positive definite: |D|^2 + R^4 |D''|^2 = q . bending q, averages over
            the outline, R the radius of the circle of equal area, '' along the arc.
        area_curvature: (size, size) second derivative of the area, constant.
    """

    def __init__(self, parametrisation: Parametrisation) -> None:
        self.parametrisation = parametrisation
        outline = parametrisation.outline
        self.reference = outline.points(outline.dense)
        basis = parametrisation.basis(outline.dense)
        gaps = np.linalg.norm(np.roll(self.reference, -1, axis=0) - self.reference, axis=1)
        weights = 0.5 * (gaps + np.roll(gaps, 1)) / gaps.sum()
        root = np.sqrt(weights)[:, None, None]
        _, strength, right = np.linalg.svd((root * basis).reshape(-1, basis.shape[2]), False)
        kept = strength > RANK_TOLERANCE * strength[0]
        self.size = int(kept.sum())
        self.to_modes = strength[kept, None] * right[kept]
        self.to_amplitudes = right[kept].T / strength[kept]
        self.modes = basis @ self.to_amplitudes
        self._area, self._slope, self.area_curvature = self._area_form()
        slopes = (np.roll(self.modes, -1, axis=0) - self.modes) / gaps[:, None, None]
        bends = (slopes - np.roll(slopes, 1, axis=0)) / (weights * gaps.sum())[:, None, None]
        scaled = (root * outline.radius**2 * bends).reshape(-1, self.size)
        self.bending = np.eye(self.size) + scaled.T @ scaled

    def points(self, q: np.ndarray) -> np.ndarray:
        """Dense points (n, 2) of the shape q."""
        return self.reference + self.modes @ q

    def displacement(self, q: np.ndarray, s: np.ndarray) -> np.ndarray:
        """D (k, 2) at parameters (k,)."""
        return self.parametrisation.basis(s) @ (self.to_amplitudes @ q)

    def area(self, q: np.ndarray) -> float:
        """Area of the polygon of the nodes, the obstacle in the mesh; exactly quadratic in q."""
        return self._area + float(self._slope @ q) + 0.5 * float(q @ self.area_curvature @ q)

    def area_slope(self, q: np.ndarray) -> np.ndarray:
        """Gradient (size,) of the area."""
        return self._slope + self.area_curvature @ q

    def _area_form(self) -> tuple[float, np.ndarray, np.ndarray]:
        """By the shoelace formula, bilinear in the corners."""

        def rolled(array: np.ndarray) -> np.ndarray:
            """sum_i x_i y_(i+1) - y_i x_(i+1) is array . rolled(array)."""
            difference = np.roll(array, -1, axis=0) - np.roll(array, 1, axis=0)
            return np.stack([difference[:, 1], -difference[:, 0]], axis=1)

        corners, modes = self.reference[::PER_FACET], self.modes[::PER_FACET]
        slope = 0.5 * np.einsum("ic,ick->k", rolled(corners), modes)
        twist = 0.5 * np.einsum("icl,ick->lk", rolled(modes), modes)
        return float(signed_area(corners)), slope, 0.5 * (twist + twist.T)
