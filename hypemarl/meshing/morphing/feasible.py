"""From any amplitudes to a feasible shape, with the gradient of that map.

The target is q_0 = T a. The map yields the shape

    q(t) = argmin t |q - q_0|^2 + (1 - t) q . K q    over all q of the prescribed area,

K the bending of :class:`ShapeSpace`, with the largest t in [0, 1] at which every bound holds:
t = 1 is the nearest shape of that area, less t damps the most bent modes first, t = 0 is the
reference. So the result is the nearest shape of that area and of at most that bending, and no more
bending is lost than the bounds require.

The area is quadratic, A = A_0 + g . q + q . H q / 2, so that the minimiser is the root of one
monotonous function of its multiplier l, as the step of a trust region is (J. Nocedal, S. Wright,
Numerical Optimization, 2006, section 4.3): q = B^-1 (t q_0 + l g), B = t I + (1 - t) K - l H.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from hypemarl.meshing.morphing.bounds import Limits, ShapeBounds
from hypemarl.meshing.morphing.motion import MeshMotion
from hypemarl.meshing.morphing.shape_space import ShapeSpace
from hypemarl.meshing.raw import MeshError

GRID = np.concatenate([[1.0], 1.0 / (1.0 + np.logspace(-5.0, 3.0, 17)), [0.0]])
"""The first t that holds is sought here from 1 down, then refined. K of a bent mode is large, so
that steps even in the logarithm of (1 - t) / t damp it evenly."""
SLACK = 1e-9
"""Bounds hold with this relative margin, so that rounding cannot break them."""
AREA_TOLERANCE = 1e-13
"""Relative tolerance of the area's equation."""
ITERATIONS = 60


@dataclass(frozen=True)
class FeasibleShape:
    """A shape that keeps all bounds.

    Attributes:
        q: (size,) the shape in modes of the space.
        target: (size,) q_0, the shape of the amplitudes themselves.
        amplitudes: (agents, components) the least amplitudes that give q, the area's correction
            included; they may exceed the bound by it.
        share: t, 1 where only the area was corrected.
        limit: name of the bound that was met, None where share is 1.
        margins: every bound's margin: >= 0 holds, relative to the bound.
    """

    q: np.ndarray
    target: np.ndarray
    amplitudes: np.ndarray
    share: float
    limit: str | None
    margins: dict[str, float]
    multiplier: float


class FeasibleMap:
    """The map from amplitudes to feasible shapes.

    Args:
        space: the shapes. bounds: what must hold.
        motion: mesh whose worst cell is bounded, and whose walls keep their clearance.
        limit_quality: whether the mesh limits the shape; otherwise the caller remeshes.

    Raises:
        MeshError: the shape at t = 0 itself breaks a bound, so that no amplitudes can keep it, or
            no shape has the area.
    """

    def __init__(
        self,
        space: ShapeSpace,
        bounds: ShapeBounds,
        motion: MeshMotion | None = None,
        *,
        limit_quality: bool = True,
    ) -> None:
        self.space, self.bounds, self.motion = space, bounds, motion
        self.limits = Limits(space, bounds, motion, limit_quality=limit_quality)
        self.area = space.area(np.zeros(space.size)) if bounds.area is None else bounds.area
        least_bent = self._project(np.zeros(space.size), 0.0)
        if least_bent is None:
            raise MeshError(
                f"shape bounds: no shape of this parametrisation has the area {self.area:g} "
                f"(the reference has {space.area(np.zeros(space.size)):g})"
            )
        margins = self.limits.margins(least_bent[0])
        name = min(margins, key=lambda name: margins[name])
        if margins[name] < SLACK:
            raise MeshError(
                f"shape bounds: the least bent shape of area {self.area:g} already breaks the "
                f"bound on {name} (margin {margins[name]:.3g}, relative): {bounds.describe(name)}; "
                f"relax it or change the obstacle"
            )

    def __call__(self, amplitudes: np.ndarray) -> FeasibleShape:
        """The feasible shape of amplitudes (agents, components) or (agents * components,).

        Raises:
            MeshError: wrong number of amplitudes, one that is not finite or beyond its bound.
        """
        q_0 = self.space.to_modes @ self._checked(amplitudes)
        share = self._largest_share(q_0)
        solution = self._project(q_0, share)
        assert solution is not None, f"no shape of the area at the share {share} that had one"
        q, multiplier = solution
        margins = self.limits.margins(q)
        limit = min(margins, key=lambda name: margins[name]) if share < 1.0 else None
        reached = (self.space.to_amplitudes @ q).reshape(-1, self.space.parametrisation.components)
        return FeasibleShape(q, q_0, reached, share, limit, margins, multiplier)

    def gradient(self, shape: FeasibleShape) -> np.ndarray:
        """dq/da (size, agents * components) at a shape of this map.

        By the implicit function theorem, the bound ``shape.limit`` staying the active one. Where
        two bounds are met at once the map has a kink, and this is one of its one-sided gradients.
        """
        space, q, t = self.space, shape.q, shape.share
        inverse = np.linalg.inv(self._matrix(t, shape.multiplier))
        normal = inverse @ space.area_slope(q)
        along = inverse - np.outer(normal, normal) / (space.area_slope(q) @ normal)
        change = t * along
        if shape.limit is not None:
            slope = self.limits.slope(q, shape.limit)
            path = along @ space.bending @ q  # the direction of dq/dt
            change = change - t * np.outer(path, slope @ along) / (slope @ path)
        return change @ space.to_modes

    def _checked(self, amplitudes: np.ndarray) -> np.ndarray:
        values = np.asarray(amplitudes, dtype=float).ravel()
        expected, bound = self.space.to_modes.shape[1], self.bounds.amplitude
        if len(values) != expected:
            raise MeshError(f"amplitudes: expected {expected} numbers, got {len(values)}")
        wrong = ~(np.abs(values) <= bound * (1.0 + 1e-12))
        if wrong.any():
            raise MeshError(
                f"amplitudes: entry {int(wrong.argmax())} is {values[wrong][0]:g}; expected finite "
                f"numbers of at most {bound:g} in size"
            )
        return values

    def _largest_share(self, q_0: np.ndarray) -> float:
        """The largest t of the grid at which all bounds hold, then on to where one ends to hold."""

        def worst(t: float) -> float:
            solution = self._project(q_0, t)
            return -1.0 if solution is None else self.limits.worst(solution[0]) - SLACK

        def holds(t: float) -> bool:
            solution = self._project(q_0, t)
            return solution is not None and self.limits.hold(solution[0], SLACK)

        step = next((k for k, t in enumerate(GRID[:-1]) if holds(t)), len(GRID) - 1)
        return 1.0 if step == 0 else _last_holding(worst, GRID[step], GRID[step - 1])

    def _matrix(self, t: float, multiplier: float) -> np.ndarray:
        space = self.space
        mixed = t * np.eye(space.size) + (1.0 - t) * space.bending
        return mixed - multiplier * space.area_curvature

    def _project(self, q_0: np.ndarray, t: float) -> tuple[np.ndarray, float] | None:
        """q(t) and the area's multiplier: Newton's method inside a bracket; None if there is none.

        The area grows with the multiplier as long as B is positive definite, which it must be.
        """
        space, low, high, multiplier = self.space, -np.inf, np.inf, 0.0
        for _ in range(ITERATIONS):
            matrix = self._matrix(t, multiplier)
            if not _positive(matrix):
                low, high = (multiplier, high) if multiplier < 0.0 else (low, multiplier)
                multiplier = 0.5 * (low + high)
                continue
            inverse = np.linalg.inv(matrix)
            q = inverse @ (t * q_0 + multiplier * space.area_slope(np.zeros(space.size)))
            miss, normal = space.area(q) - self.area, space.area_slope(q)
            if abs(miss) <= AREA_TOLERANCE * abs(self.area):
                return q, multiplier
            low, high = (multiplier, high) if miss < 0.0 else (low, multiplier)
            rate = float(normal @ inverse @ normal)
            if rate == 0.0:
                return None
            ahead = multiplier - miss / rate
            multiplier = ahead if low < ahead < high else 0.5 * (low + high)
        return None


def _positive(matrix: np.ndarray) -> bool:
    """Whether a symmetric matrix is positive definite."""
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True


def _last_holding(worst: Callable[[float], float], low: float, high: float) -> float:
    """The t between a holding ``low`` and a failing ``high`` at which ``worst`` falls below 0."""
    if low == 0.0 and worst(low) <= 0.0:
        return 0.0
    root = float(brentq(worst, low, high, xtol=1e-15, rtol=1e-14))
    back = 1e-15
    while root > low and worst(root) < 0.0:  # the root is exact to rounding, on either side
        root, back = max(low, root - back), 4.0 * back
    return root
