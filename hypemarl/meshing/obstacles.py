"""Closed outlines of obstacles: circle, ellipse, square with rounded corners, curve from a file.

An outline runs anticlockwise; its parameter t in [0, 1) need not be arc length.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import ellipe

from hypemarl.config import MeshConfig
from hypemarl.meshing.channel import require_centre, require_positive
from hypemarl.meshing.polygons import centroid, crosses_itself, curvature, signed_area
from hypemarl.meshing.raw import MeshError

Curve = Callable[[np.ndarray], np.ndarray]
"""Parameters (n,) -> points (n, 2)."""

FACETS = 16
"""An outline has at least about this many facets, however coarse the mesh."""
TURN = 0.4
"""Largest turn of the outline along one facet, rad."""
GRADING = 0.25
"""Largest change of the facets' length per length along the outline."""
SAMPLES = 8192
"""Points at which an outline is measured before its facets are laid out."""


def curve(config: MeshConfig) -> Curve:
    """The configured outline in its place: turned by obstacle_angle, centroid at disc_centre.

    Raises:
        MeshError: the numbers make no sense, or the file holds no closed simple curve.
    """
    validate(config)
    half = 0.5 * config.obstacle_length
    make = {
        "circle": lambda: _ellipse(half, half),
        "ellipse": lambda: _ellipse(half, half * config.obstacle_ratio),
        "rounded-square": lambda: _rounded_square(half, half * config.obstacle_rounding),
        "points": lambda: _from_file(config.obstacle_file, config.obstacle_length),
    }
    base, angle = make[config.obstacle](), config.obstacle_angle
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    centre = np.array(config.disc_centre)
    return lambda t: base(t) @ turn + centre


def validate(config: MeshConfig) -> None:
    """Check the numbers of an obstacle. Raises MeshError with the key and the allowed values."""
    require_centre(config)
    require_positive(config, "obstacle_length", "obstacle_ratio", "obstacle_rounding")
    if config.obstacle_rounding > 1.0:
        raise MeshError(
            f"env.mesh.obstacle_rounding={config.obstacle_rounding} must not exceed 1: the "
            f"corners' radius is that share of half the side"
        )
    if config.obstacle == "points" and config.obstacle_file is None:
        raise MeshError(
            "env.mesh.obstacle=points needs env.mesh.obstacle_file, a file with x y per line"
        )


def exact_measures(config: MeshConfig) -> tuple[float, float]:
    """Area and length of an outline; those of a file's curve by fine sampling of its spline."""
    half = 0.5 * config.obstacle_length
    if config.obstacle == "circle":
        return math.pi * half**2, 2.0 * math.pi * half
    if config.obstacle == "ellipse":
        a, b = max(half, half * config.obstacle_ratio), min(half, half * config.obstacle_ratio)
        return math.pi * a * b, 4.0 * a * float(ellipe(1.0 - (b / a) ** 2))
    if config.obstacle == "rounded-square":
        r = half * config.obstacle_rounding
        return 4.0 * half**2 - (4.0 - math.pi) * r**2, 8.0 * (half - r) + 2.0 * math.pi * r
    points = curve(config)(np.arange(SAMPLES) / SAMPLES)
    edges = np.roll(points, -1, axis=0) - points
    return signed_area(points), float(np.linalg.norm(edges, axis=1).sum())


def lay_out(outline: Curve, size: float) -> np.ndarray:
    """Corners (n, 2) of facets along an outline, anticlockwise.

    Facets are about ``size`` long, shorter where the outline turns by more than TURN along that
    length, graded in between, and at least about FACETS in number.
    """
    t = np.arange(SAMPLES) / SAMPLES
    points = outline(t)
    edges = np.roll(points, -1, axis=0) - points
    lengths = np.linalg.norm(edges, axis=1)
    bent = np.maximum(np.abs(curvature(points)), 1e-300)
    sizes = _graded(np.minimum(min(size, lengths.sum() / FACETS), TURN / bent), lengths)
    count = np.concatenate([[0.0], np.cumsum(lengths * 2.0 / (sizes + np.roll(sizes, -1)))])
    n = max(FACETS, math.ceil(count[-1]))
    places = np.interp(np.arange(n) * count[-1] / n, count, np.append(t, 1.0))
    return outline(places)


def _graded(sizes: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Sizes around the curve whose slope is at most GRADING."""
    sizes = sizes.copy()
    n = len(sizes)
    for _ in range(2):  # the second round carries over the seam
        for i in range(n):
            sizes[i] = min(sizes[i], sizes[i - 1] + GRADING * lengths[i - 1])
        for i in range(n - 1, -1, -1):
            sizes[i] = min(sizes[i], sizes[(i + 1) % n] + GRADING * lengths[i])
    return sizes


def _ellipse(a: float, b: float) -> Curve:
    turn = 2.0 * math.pi
    return lambda t: np.column_stack([a * np.cos(turn * t), b * np.sin(turn * t)])


def _rounded_square(half: float, r: float) -> Curve:
    """By arc length, from the middle of the right side."""
    straight, arc = half - r, 0.5 * math.pi * r
    quarter = 2.0 * straight + arc

    def points(t: np.ndarray) -> np.ndarray:
        side, s = np.divmod(t % 1.0 * 4.0 * quarter, quarter)
        angle = np.clip((s - straight) / r, 0.0, 0.5 * math.pi)
        x = straight + r * np.cos(angle) - np.maximum(s - straight - arc, 0.0)
        y = np.minimum(s, straight) + r * np.sin(angle)
        cos, sin = np.cos(0.5 * math.pi * side), np.sin(0.5 * math.pi * side)
        return np.column_stack([x * cos - y * sin, x * sin + y * cos])

    return points


def _from_file(path: str | None, chord: float) -> Curve:
    """Periodic cubic spline through a file's points, ``chord`` long in x, centroid at the origin.

    Raises MeshError as :func:`read_points`.
    """
    points = read_points(Path(path or ""))
    points = points * (chord / np.ptp(points[:, 0]))
    if signed_area(points) < 0.0:
        points = points[::-1]
    knots = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    points[-1] = points[0]
    spline = CubicSpline(knots / knots[-1], points, bc_type="periodic")
    fine = spline(np.arange(SAMPLES) / SAMPLES)
    centre = centroid(fine)
    return lambda t: spline(t % 1.0) - centre


def read_points(path: Path) -> np.ndarray:
    """The points of a curve file: (n + 1, 2), the last one equal to the first.

    Lines that begin with ``#`` and a first line of text (a name) are skipped. Points run around
    the curve (as in Selig's aerofoil files), or stand as in Lednicer's: a line with the numbers of
    points, then those above and those below, each from the leading edge.

    Raises:
        MeshError: no such file, no numbers, fewer than 8 points, an open or self-crossing curve.
    """
    if not path.is_file():
        raise MeshError(f"{path}: no such curve file; check env.mesh.obstacle_file")
    points = _around(_numbers(path), path)
    if len(points) < 8:
        raise MeshError(f"{path}: expected at least 8 points of a closed curve, got {len(points)}")
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    if (steps == 0.0).any():
        raise MeshError(f"{path}: points {np.argmin(steps) + 1} and the next one are the same")
    gap = float(np.linalg.norm(points[-1] - points[0]))
    if gap > 1e-9 * steps.sum():
        raise MeshError(
            f"{path}: the curve is open: its last point {points[-1].tolist()} is {gap:g} from its "
            f"first {points[0].tolist()}; repeat the first point at the end"
        )
    if crosses_itself(points[:-1]):
        raise MeshError(f"{path}: the curve crosses itself; list its points in order around it")
    return points


def _around(points: np.ndarray, path: Path) -> np.ndarray:
    """Points (n, 2) in order around the curve; Lednicer's halves are joined at the leading edge."""
    counts = points[0] if len(points) else np.zeros(2)
    whole = bool(((counts >= 2.0) & (counts == np.rint(counts))).all())
    if not whole or np.array_equal(points[0], points[-1]):
        return points
    above, below = counts.astype(int).tolist()
    if above + below != len(points) - 1:
        if _is_place(points):
            return points
        raise MeshError(
            f"{path}: begins with the counts {above} and {below} of Lednicer's format, and "
            f"{len(points) - 1} points follow; expected {above + below}"
        )
    upper, lower = points[1 : above + 1], points[above + 1 :]
    if not np.array_equal(upper[0], lower[0]):
        raise MeshError(
            f"{path}: in Lednicer's format both halves begin at the leading edge, got "
            f"{upper[0].tolist()} and {lower[0].tolist()}"
        )
    return np.concatenate([upper[::-1], lower[1:]])


def _is_place(points: np.ndarray) -> bool:
    """Whether the first row may be a point like the others, not far from all of them."""
    rest = points[1:]
    if not len(rest):
        return True
    away = points[0] - np.clip(points[0], rest.min(axis=0), rest.max(axis=0))
    return bool(np.linalg.norm(away) <= np.ptp(rest[:, 0]))


def _numbers(path: Path) -> np.ndarray:
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    rows: list[list[float]] = []
    for number, words in enumerate((line.split("#")[0].split() for line in lines), start=1):
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = [] if number == 1 else [math.nan]
        if row and (len(row) != 2 or not np.isfinite(row).all()):
            raise MeshError(f"{path}: line {number} is not two finite numbers x y: {words}")
        rows += [row] if row else []
    return np.array(rows).reshape(-1, 2)
