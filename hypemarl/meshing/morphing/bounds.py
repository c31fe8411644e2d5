"""Bounds that a shape must keep, their margins at a shape and the margins' gradients.

Margins are relative to their bound and hold where they are >= 0. They are exact for the polygon
through the dense points of the outline, PER_FACET per facet of the mesh.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hypemarl.meshing.morphing.motion import MeshMotion
from hypemarl.meshing.morphing.outlines import PER_FACET
from hypemarl.meshing.morphing.shape_space import ShapeSpace
from hypemarl.meshing.polygons import clearance, crosses_itself, curvature, tangent_discs

TINY = 1e-30
"""Step of complex differentiation, which has no cancellation. Source: W. Squire, G. Trapp, Using
complex variables to estimate derivatives of real functions, SIAM Review 40 (1998)."""
CROSSED = -1.0
"""Margin of an outline that crosses itself."""


@dataclass(frozen=True)
class ShapeBounds:
    """Bounds of a shape, in the units of the mesh.

    Attributes:
        amplitude: largest size of an agent's amplitude.
        max_curvature: of the outline, convex or concave.
        min_thickness: diameter of the smallest disc inside that touches the outline: local
            thickness, and twice the smallest convex radius of curvature.
        min_gap: the same outside: width of gaps, and twice the smallest concave radius.
        min_clearance: distance from every other boundary.
        min_quality: radius ratio of the worst cell.
        area: of the obstacle; None keeps that of the reference.
    """

    amplitude: float
    max_curvature: float
    min_thickness: float
    min_gap: float
    min_clearance: float
    min_quality: float = 0.2
    area: float | None = None

    def describe(self, name: str) -> str:
        """The bound of a margin as text."""
        if name == "crossing":
            return "the outline must not cross itself"
        attribute = "max_curvature" if name == "curvature" else f"min_{name}"
        return f"{attribute}={getattr(self, attribute):g}"


def default_bounds(space: ShapeSpace, motion: MeshMotion | None = None) -> ShapeBounds:
    """Bounds in proportion to the reference, which keeps all of them with room to spare.

    R being the radius of the circle of equal area: amplitudes up to R / 2, curvature up to twice
    the reference's and at least 6 / R, thickness down to half the reference's and at most R / 2,
    gaps down to R / 4 or half the reference's, clearance down to a quarter of the reference's, and
    the reference's area.
    """
    points, radius = space.reference, space.parametrisation.outline.radius
    thickness, gap = tangent_discs(points, True)[0], tangent_discs(points, False)[0]
    room = 0.0 if motion is None else clearance(points, *motion.walls)[0]
    return ShapeBounds(
        amplitude=0.5 * radius,
        max_curvature=max(2.0 * float(np.abs(curvature(points)).max()), 6.0 / radius),
        min_thickness=0.5 * min(thickness, radius),
        min_gap=min(0.25 * radius, 0.5 * gap),
        min_clearance=0.25 * room,
        area=space.area(np.zeros(space.size)),
    )


def chosen_bounds(
    default: ShapeBounds,
    *,
    amplitude: float,
    area: float,
    max_curvature: float | None,
    min_thickness: float | None,
    min_quality: float,
) -> ShapeBounds:
    """The default bounds with those of a configuration, in R and its powers; None keeps one."""
    radius, curved, thick = 2.0 * default.amplitude, default.max_curvature, default.min_thickness
    return replace(
        default,
        amplitude=amplitude * radius,
        max_curvature=curved if max_curvature is None else max_curvature / radius,
        min_thickness=thick if min_thickness is None else min_thickness * radius,
        area=None if default.area is None else area * default.area,
        min_quality=min_quality,
    )


class Limits:
    """Margins of a shape; see :class:`FeasibleMap` for the arguments."""

    def __init__(
        self,
        space: ShapeSpace,
        bounds: ShapeBounds,
        motion: MeshMotion | None,
        *,
        limit_quality: bool,
    ) -> None:
        self._space, self._bounds, self._motion = space, bounds, motion
        self._walls = None if motion is None else motion.walls
        self._names = ["curvature", "thickness", "gap", "crossing"]
        if motion is not None:
            self._names[3:3] = ["clearance", "quality"] if limit_quality else ["clearance"]

    def margins(self, q: np.ndarray) -> dict[str, float]:
        """Every margin at the shape q."""
        return {name: self._margin(name, q, self._space.points(q)) for name in self._names}

    def worst(self, q: np.ndarray) -> float:
        """The least margin."""
        return min(self.margins(q).values())

    def hold(self, q: np.ndarray, slack: float) -> bool:
        """Whether every margin is at least ``slack``; stops at the first that is not."""
        points = self._space.points(q)
        return all(self._margin(name, q, points) >= slack for name in self._names)

    def slope(self, q: np.ndarray, name: str) -> np.ndarray:
        """Gradient (size,) of a margin; zero for that of self-crossing, which jumps."""
        points = self._space.points(q)
        if name == "crossing":
            return np.zeros(self._space.size)
        if name == "quality":
            return self._quality_slope(q)
        corners, margin = self._local(name, points)
        return _slope(margin, points[corners], self._space.modes[corners])

    def _margin(self, name: str, q: np.ndarray, points: np.ndarray) -> float:
        bounds = self._bounds
        if name == "curvature":
            return 1.0 - float(np.abs(curvature(points)).max()) / bounds.max_curvature
        if name == "thickness":
            return tangent_discs(points, True)[0] / bounds.min_thickness - 1.0
        if name == "gap":
            return tangent_discs(points, False)[0] / bounds.min_gap - 1.0
        if name == "clearance" and self._walls is not None:
            return clearance(points[::PER_FACET], *self._walls)[0] / bounds.min_clearance - 1.0
        if name == "quality" and self._motion is not None:
            return self._motion.worst_cell(q)[0] / bounds.min_quality - 1.0
        return CROSSED if crosses_itself(points) else np.inf

    def _local(
        self, name: str, points: np.ndarray
    ) -> tuple[np.ndarray, Callable[[np.ndarray], complex]]:
        """The corners that decide a margin, and the margin as a function of them alone."""
        bounds, n = self._bounds, len(points)
        if name == "curvature":
            i = int(np.abs(curvature(points)).argmax())
            sign = np.sign(curvature(points)[i])
            corners = np.array([i - 1, i, (i + 1) % n])
            return corners, lambda x: 1.0 - sign * _curvature(*x) / bounds.max_curvature
        if name == "clearance" and self._walls is not None:
            _, i, k = clearance(points[::PER_FACET], *self._walls)
            i, foot = i * PER_FACET, _foot(points[i * PER_FACET], *(w[k] for w in self._walls))
            # the foot moves too, but along the wall, where the distance is least
            return np.array([i]), lambda x: _length(x[0] - foot) / bounds.min_clearance - 1.0
        inside = name == "thickness"
        _, i, j = tangent_discs(points, inside)
        bound, sign = (bounds.min_thickness, 1.0) if inside else (bounds.min_gap, -1.0)
        corners = np.array([i - 1, i, (i + 1) % n, j])
        return corners, lambda x: sign * _disc(*x) / bound - 1.0

    def _quality_slope(self, q: np.ndarray) -> np.ndarray:
        if self._motion is None:
            raise ValueError("quality has no gradient without a mesh")
        cell = self._motion.raw.cells[self._motion.worst_cell(q)[1]]
        modes = self._motion.modes.reshape(-1, 2, self._space.size)[cell]
        bound = self._bounds.min_quality
        return _slope(lambda x: _ratio(*x) / bound - 1.0, self._motion.points(q)[cell], modes)


def _slope(
    function: Callable[[np.ndarray], complex], corners: np.ndarray, modes: np.ndarray
) -> np.ndarray:
    """Gradient in q of a function of a few corners (k, 2) that move by modes (k, 2, size)."""
    slopes = np.empty(corners.shape)
    for place in np.ndindex(*corners.shape):
        shifted = corners.astype(complex)
        shifted[place] += 1j * TINY
        slopes[place] = function(shifted).imag / TINY
    return np.einsum("kc,kcm->m", slopes, modes)


def _cross(a: np.ndarray, b: np.ndarray) -> complex:
    return a[0] * b[1] - a[1] * b[0]


def _length(a: np.ndarray) -> complex:
    return np.sqrt(a[0] * a[0] + a[1] * a[1])  # not of |a|: it must be differentiable


def _curvature(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> complex:
    """As :func:`polygons.curvature`."""
    return 2.0 * _cross(b - a, c - b) / (_length(b - a) * _length(c - b) * _length(c - a))


def _disc(a: np.ndarray, b: np.ndarray, c: np.ndarray, other: np.ndarray) -> complex:
    """As :func:`polygons.tangent_discs`: signed diameter of the disc tangent at b through other."""
    tangent = (b - a) / _length(b - a) ** 2 + (c - b) / _length(c - b) ** 2
    along = _cross(tangent, other - b) / _length(tangent)
    return _length(other - b) ** 2 / along


def _ratio(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> complex:
    """As :func:`quality.radius_ratio` for an anticlockwise cell."""
    area, sides = 0.5 * _cross(b - a, c - a), (_length(b - a), _length(c - b), _length(a - c))
    return 8.0 * area**2 / (0.5 * sum(sides) * sides[0] * sides[1] * sides[2])


def _foot(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    edge = end - start
    return start + np.clip((point - start) @ edge / (edge @ edge), 0.0, 1.0) * edge
