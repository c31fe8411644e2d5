"""Every shape that is reached is feasible; it is the nearest one; its gradient is exact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from morph_case import OBSTACLES, case
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize

from hypemarl.meshing import MeshError
from hypemarl.meshing.morphing import (
    KINDS,
    FeasibleMap,
    FeasibleShape,
    MeshMotion,
    ShapeSpace,
    default_bounds,
)
from hypemarl.meshing.morphing.bounds import Limits
from hypemarl.meshing.polygons import curvature
from hypemarl.meshing.raw import measures

CASES = [(name, kind) for name in OBSTACLES for kind in KINDS]


def map_of(name: str, kind: str, **options: bool) -> tuple[FeasibleMap, MeshMotion]:
    space, motion = case(name, kind)
    return FeasibleMap(space, default_bounds(space, motion), motion, **options), motion


def extremes(size: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Amplitudes in units of their bound: all the same, alternating, single, random, corners."""
    one = np.zeros(size)
    one[rng.integers(size)] = 1.0
    alternating = (-1.0) ** np.arange(size)
    pairs = (-1.0) ** (np.arange(size) // 2)
    fixed = [np.ones(size), alternating, pairs, one, np.zeros(size)]
    corners = np.sign(rng.uniform(-1.0, 1.0, (count, size)))
    inside = rng.uniform(-1.0, 1.0, (count, size))
    return np.concatenate([fixed, -np.array(fixed), corners, inside])


def crossings(points: np.ndarray) -> int:
    """Proper crossings of edges, all pairs at once: an independent form of the check."""
    ahead = np.roll(points, -1, axis=0)
    edges = ahead - points

    def side(x: np.ndarray) -> np.ndarray:
        d = x[None, :, :] - points[:, None, :]
        return np.sign(edges[:, None, 0] * d[..., 1] - edges[:, None, 1] * d[..., 0])

    apart = side(points) * side(ahead)
    near = np.abs(np.subtract.outer(np.arange(len(points)), np.arange(len(points))))
    near = np.minimum(near, len(points) - near) <= 1
    return int(((apart < 0) & (apart.T < 0) & ~near).sum())


def check(found: FeasibleShape, feasible: FeasibleMap, motion: MeshMotion) -> None:
    """All bounds, by formulas that the map does not use."""
    space, bounds = feasible.space, feasible.bounds
    points = space.points(found.q)
    moved, still = motion.points(found.q), motion.points(0.0 * found.q)
    change = measures(still, motion.raw.cells).sum() - measures(moved, motion.raw.cells).sum()
    if found.margins.get("quality", -1.0) > 0.0:  # the areas of inverted cells count twice
        assert abs(change) < 1e-11 * measures(still, motion.raw.cells).sum()
    x, y = moved[motion.loop].T
    area = 0.5 * (x @ np.roll(y, -1) - y @ np.roll(x, -1))
    assert area == pytest.approx(feasible.area, rel=1e-11)
    # between the nodes the smooth outline leaves the polygon a little
    x, y = points.T
    assert 0.5 * (x @ np.roll(y, -1) - y @ np.roll(x, -1)) == pytest.approx(area, rel=0.04)
    assert crossings(points) == 0
    turns = np.diff(np.unwrap(np.arctan2(*np.diff(points[[*range(len(x)), 0, 1]], axis=0).T[::-1])))
    assert turns.sum() == pytest.approx(2.0 * np.pi)
    lengths = np.linalg.norm(np.diff(points[[*range(len(x)), 0]], axis=0), axis=1)
    bends = turns / (0.5 * (lengths + np.roll(lengths, -1)))
    assert np.abs(bends).max() < 1.03 * bounds.max_curvature  # turn over arc, not over chords
    tangents = np.roll(points, -1, axis=0) - np.roll(points, 1, axis=0)
    normals = (
        np.stack([-tangents[:, 1], tangents[:, 0]], 1) / np.linalg.norm(tangents, axis=1)[:, None]
    )
    for side, width in ((1.0, bounds.min_thickness), (-1.0, bounds.min_gap)):
        centres = points + 0.5 * side * width * normals
        nearest = np.linalg.norm(centres[:, None] - points[None], axis=2).min(axis=1)
        assert nearest.min() > 0.5 * width * 0.93  # tangents by chords are not quite the same
    inside = moved[motion.loop]
    low, high = motion.raw.points.min(axis=0), motion.raw.points.max(axis=0)
    assert min((inside - low).min(), (high - inside).min()) >= bounds.min_clearance


def keeps_bounds(wanted: np.ndarray, feasible: FeasibleMap, motion: MeshMotion) -> None:
    """The shape that amplitudes in units of their bound lead to."""
    found = feasible(wanted * feasible.bounds.amplitude)
    check(found, feasible, motion)
    assert min(found.margins.values()) > 0.0
    if "quality" in found.margins:
        corners = motion.points(found.q)[motion.raw.cells]
        first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        assert (first[:, 0] * second[:, 1] > first[:, 1] * second[:, 0]).all()
        assert motion.worst_cell(found.q)[0] >= feasible.bounds.min_quality


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_shape_is_feasible(name: str, kind: str) -> None:
    limited, motion = map_of(name, kind)
    free, _ = map_of(name, kind, limit_quality=False)
    size = limited.space.to_modes.shape[1]
    for row, share in enumerate(extremes(size, 4, np.random.default_rng(0))):
        keeps_bounds(share, free if row % 4 == 3 else limited, motion)


@pytest.mark.slow
@pytest.mark.parametrize("limit_quality", [True, False])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_thousands_of_sequences_of_actions_are_feasible(
    name: str, kind: str, limit_quality: bool
) -> None:
    """250 sequences of each of 40 cases; amplitudes follow the actions as in the plant."""
    feasible, motion = map_of(name, kind, limit_quality=limit_quality)
    size = feasible.space.to_modes.shape[1]
    value = st.floats(-1.0, 1.0) | st.sampled_from([-1.0, 1.0])
    one = arrays(float, size, elements=value, fill=st.nothing())

    @settings(derandomize=True, max_examples=250, deadline=None, database=None)
    @given(actions=st.lists(one, min_size=1, max_size=4), lag=st.sampled_from([0.5, 1.0]))
    def sequence(actions: list[np.ndarray], lag: float) -> None:
        amplitudes = np.zeros(size)
        for action in actions:
            amplitudes = amplitudes + lag * (action - amplitudes)
            keeps_bounds(amplitudes, feasible, motion)

    sequence()


def wanted(feasible: FeasibleMap, limit: str | None, scale: float = 1.0) -> np.ndarray:
    """Amplitudes at which the map meets a bound."""
    rng = np.random.default_rng(3)
    for _ in range(400):
        share = scale * rng.uniform(-1.0, 1.0, feasible.space.to_modes.shape[1])
        found = feasible(share * feasible.bounds.amplitude)
        if found.limit == limit:
            return share * feasible.bounds.amplitude
    raise AssertionError(f"no amplitudes met {limit}")


@pytest.mark.parametrize(
    ("name", "kind", "limit", "scale"),
    [
        ("circle", "radial-bspline", None, 0.2),
        ("circle", "radial-fourier", "curvature", 1.0),
        ("circle", "normal-bspline", "thickness", 1.0),
        ("rounded-square", "free-form", "thickness", 1.0),
        ("aerofoil", "radial-fourier", "gap", 1.0),
        ("aerofoil", "normal-fourier", "quality", 1.0),
        ("aerofoil", "free-form", "curvature", 1.0),
    ],
)
def test_the_gradient_passes_a_taylor_test(
    name: str, kind: str, limit: str | None, scale: float
) -> None:
    feasible, _ = map_of(name, kind)
    a = wanted(feasible, limit, scale)
    found = feasible(a)
    direction = np.random.default_rng(5).uniform(-1.0, 1.0, a.shape) * feasible.bounds.amplitude
    direction = np.where(a > 0, -np.abs(direction), np.abs(direction))  # not beyond the bound
    slope = feasible.gradient(found) @ direction
    rest = [
        np.linalg.norm(feasible(a + h * direction).q - found.q - h * slope)
        for h in (4e-4, 2e-4, 1e-4)
    ]
    assert rest[0] < 0.02 * 4e-4 * np.linalg.norm(slope)
    assert np.log2(rest[0] / rest[1]) == pytest.approx(2.0, abs=0.1)
    assert np.log2(rest[1] / rest[2]) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("name", ["curvature", "thickness", "gap", "clearance", "quality"])
def test_margins_have_the_gradients_that_are_stated(name: str) -> None:
    """Against central differences, at shapes that bend outwards and inwards most."""
    space, motion = case("rounded-square", "radial-fourier")
    limits = Limits(space, default_bounds(space, motion), motion, limit_quality=True)
    rng, signs, h = np.random.default_rng(8), set(), 1e-7
    for _ in range(40):
        q = space.to_modes @ (0.025 * rng.uniform(-1.0, 1.0, 16))
        if motion.worst_cell(q)[0] < 0.0:
            continue  # no feasible shape has inverted cells
        e = 0.01 * rng.normal(size=space.size)
        change = limits.margins(q + h * e)[name] - limits.margins(q - h * e)[name]
        assert limits.slope(q, name) @ e == pytest.approx(change / (2.0 * h), rel=1e-4, abs=1e-5)
        bends = curvature(space.points(q))
        signs.add(bends[np.abs(bends).argmax()] > 0.0)
    assert signs == {True, False}


def test_the_gradient_where_a_concave_bend_limits() -> None:
    space, motion = case("rounded-square", "radial-fourier")
    loose = replace(default_bounds(space, motion), min_gap=1e-3, min_thickness=1e-3)
    feasible = FeasibleMap(space, loose, motion)
    rng = np.random.default_rng(8)
    for _ in range(200):
        a = feasible.bounds.amplitude * rng.uniform(-1.0, 1.0, 16)
        found = feasible(a)
        bends = curvature(space.points(found.q))
        if found.limit == "curvature" and bends[np.abs(bends).argmax()] < 0.0:
            break
    else:
        raise AssertionError("no concave bend met the bound")
    direction = -0.5 * a
    slope = feasible.gradient(found) @ direction
    rest = [
        np.linalg.norm(feasible(a + h * direction).q - found.q - h * slope) for h in (4e-4, 2e-4)
    ]
    assert np.log2(rest[0] / rest[1]) == pytest.approx(2.0, abs=0.1)


def test_the_gradient_where_a_wall_limits() -> None:
    space, motion = case("circle", "free-form")
    bounds = replace(default_bounds(space, motion), min_clearance=0.14)
    feasible = FeasibleMap(space, bounds, motion)
    a = np.tile([0.0, -0.2 * bounds.amplitude], 16) * (1.0 + 0.1 * np.arange(32) / 32)
    a = 2.0 * a
    found = feasible(a)
    assert found.limit == "clearance"
    direction = np.cos(np.arange(32)) * bounds.amplitude
    slope = feasible.gradient(found) @ direction
    rest = [
        np.linalg.norm(feasible(a + h * direction).q - found.q - h * slope) for h in (2e-4, 1e-4)
    ]
    assert np.log2(rest[0] / rest[1]) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    ("kind", "bound"), [("radial-fourier", "curvature"), ("free-form", "thickness")]
)
def test_the_shape_is_the_nearest_one_of_its_area_and_bending(kind: str, bound: str) -> None:
    """Against a general minimiser, whether or not a bound was met."""
    feasible, _ = map_of("ellipse", kind)
    space = feasible.space
    scale = 1.0 / space.parametrisation.outline.radius
    for limit, share in ((None, 0.1), (bound, 1.0)):
        found = feasible(wanted(feasible, limit, share))
        bending = found.q @ space.bending @ found.q
        constraints = [
            {"type": "eq", "fun": lambda z: space.area(z / scale) / feasible.area - 1.0},
            {
                "type": "ineq",
                "fun": lambda z, e=bending: 1.0 - (z @ space.bending @ z) / (e * scale**2),
            },
        ]
        z_0 = found.target * scale
        best = minimize(
            lambda z, z_0=z_0: ((z - z_0) ** 2).sum(),
            0.5 * z_0,
            method="SLSQP",
            constraints=constraints if limit else constraints[:1],
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert best.success
        distance = np.linalg.norm(found.q - found.target) * scale
        assert distance == pytest.approx(np.sqrt(best.fun), rel=2e-4)
        assert found.q * scale == pytest.approx(best.x, abs=2e-3 * np.abs(best.x).max())


def test_what_keeps_all_bounds_is_corrected_in_area_only() -> None:
    feasible, _ = map_of("circle", "radial-bspline")
    space = feasible.space
    a = wanted(feasible, None, 0.2)
    found = feasible(a)
    assert found.share == 1.0
    ahead = found.q - found.target
    assert np.abs(ahead - (ahead @ (n := space.area_slope(found.q))) / (n @ n) * n).max() < 1e-12
    again = feasible(np.clip(found.amplitudes, -feasible.bounds.amplitude, None))
    assert again.q == pytest.approx(found.q, abs=1e-12)
    rest = feasible(0.0 * a)
    assert np.abs(rest.q).max() < 1e-14


def test_another_area_can_be_asked_for() -> None:
    space, motion = case("circle", "radial-fourier")
    area = 1.2 * space.area(np.zeros(space.size))
    bounds = replace(default_bounds(space, motion), area=area)
    feasible = FeasibleMap(space, bounds, motion)
    assert space.area(feasible(np.zeros(16)).q) == pytest.approx(area, rel=1e-12)


def space_and_bounds() -> tuple[ShapeSpace, MeshMotion, dict]:
    space, motion = case("circle", "radial-fourier")
    return space, motion, vars(default_bounds(space, motion))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"area": -1.0}, "no shape of this parametrisation has the area -1"),
        ({"area": 0.2}, "least bent shape of area 0.2 already breaks the bound on"),
        ({"min_quality": 0.99}, "breaks the bound on quality .* min_quality=0.99; relax it"),
        ({"max_curvature": 10.0}, "breaks the bound on curvature .* max_curvature=10"),
        ({"min_thickness": 0.2}, "breaks the bound on thickness"),
        ({"min_clearance": 0.3}, "breaks the bound on clearance"),
    ],
)
def test_bounds_that_no_shape_can_keep_are_refused(changes: dict, message: str) -> None:
    space, motion, bounds = space_and_bounds()
    with pytest.raises(MeshError, match=message):
        FeasibleMap(space, type(default_bounds(space))(**(bounds | changes)), motion)


def test_bad_amplitudes_are_refused() -> None:
    feasible, _ = map_of("circle", "radial-fourier")
    bound = feasible.bounds.amplitude
    with pytest.raises(MeshError, match="expected 16 numbers, got 3"):
        feasible(np.zeros(3))
    for wrong in (1.01 * bound, np.nan, -np.inf):
        a = np.zeros(16)
        a[5] = wrong
        with pytest.raises(MeshError, match="entry 5 is .*; expected finite numbers of at most"):
            feasible(a)
    assert np.isfinite(feasible(np.full(16, bound)).q).all()


def test_curvature_is_that_of_the_smooth_outline() -> None:
    """The bound is kept at points; the smooth curve through the nodes exceeds it little."""
    feasible, motion = map_of("circle", "radial-fourier")
    found = feasible(wanted(feasible, "curvature"))
    nodes = motion.points(found.q)[motion.loop]
    order = np.argsort(motion.places)
    closed = np.concatenate([nodes[order], nodes[order][:1]])
    spline = CubicSpline(np.append(np.sort(motion.places), 1.0), closed, bc_type="periodic")
    s = np.linspace(0.0, 1.0, 2000)
    (x, y), (x_2, y_2) = spline(s, 1).T, spline(s, 2).T
    bend = np.abs(x * y_2 - y * x_2) / np.hypot(x, y) ** 3
    assert bend.max() == pytest.approx(feasible.bounds.max_curvature, rel=0.15)
