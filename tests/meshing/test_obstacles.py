"""Obstacles in a channel: exact measures, curve files, refusal of what makes no sense."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from hypemarl.config import MeshConfig
from hypemarl.meshing import MeshError, build, exact_measures, mesh_summary
from hypemarl.meshing.obstacles import curve, lay_out, read_points
from hypemarl.meshing.polygons import centroid, curvature, signed_area

CHANNEL = MeshConfig(
    shape="channel-with-obstacle", element_size=0.05, disc_element_size=0.008, obstacle_length=0.1
)
NACA = Path(__file__).parents[2] / "meshes" / "naca0012.dat"
OBSTACLES = {
    "circle": CHANNEL,
    "ellipse": replace(CHANNEL, obstacle="ellipse", obstacle_angle=0.4),
    "rounded-square": replace(CHANNEL, obstacle="rounded-square", obstacle_angle=-0.2),
    "points": replace(CHANNEL, obstacle="points", obstacle_file=str(NACA)),
}


@pytest.mark.parametrize("config", OBSTACLES.values(), ids=OBSTACLES)
def test_measures_converge_to_those_of_the_outline(config: MeshConfig) -> None:
    exact = exact_measures(config)
    errors = []
    for size in (0.008, 0.004):
        fine = replace(config, disc_element_size=size)
        corners = lay_out(curve(fine), size)
        hole = config.length * config.height - exact["domain"]
        errors.append(abs(hole - signed_area(corners)) / hole)
    assert errors[0] < 0.02
    # order 2; the aerofoil's nose and tail have facets as short as their radii ask already
    assert errors[1] < (0.6 if config.obstacle == "points" else 0.35) * errors[0]


@pytest.mark.parametrize("config", OBSTACLES.values(), ids=OBSTACLES)
def test_a_good_mesh_with_the_channels_tags(config: MeshConfig) -> None:
    exact, summary = exact_measures(config), mesh_summary(build(config, MPI.COMM_SELF))
    assert summary["tags"] == ["bottom", "domain", "inflow", "obstacle", "outflow", "top"]
    for name, tolerance in (
        ("inflow", 1e-12),
        ("top", 1e-12),
        ("domain", 1e-3),
        ("obstacle", 0.01),
    ):
        assert summary[f"measure_{name}"] == pytest.approx(exact[name], rel=tolerance)
    assert summary["min_quality"] > 0.6


def test_outlines_are_where_and_what_they_should_be() -> None:
    t = np.arange(4000) / 4000
    for name, config in OBSTACLES.items():
        points = curve(config)(t)
        assert centroid(points) == pytest.approx([0.2, 0.2], abs=1e-4), name
        assert signed_area(points) > 0.0, name
    square = curve(replace(CHANNEL, obstacle="rounded-square"))(t)
    assert np.ptp(square, axis=0) == pytest.approx(0.1)
    bends = curvature(square)
    straight, round_ = np.isclose(bends, 0.0, atol=1e-6), np.isclose(bends, 40.0, rtol=1e-4)
    assert straight.sum() > 1500
    assert round_.sum() > 1500
    assert (~straight & ~round_).sum() <= 16  # samples beside the eight places where arcs begin


def test_the_aerofoil_is_the_one_of_the_report() -> None:
    """Thickness 0.12 at 30% of the chord, and the area by the integral of its polynomial."""
    points = np.loadtxt(NACA)
    assert np.abs(points[-1] - points[0]).max() == 0.0
    assert np.ptp(points[:, 1]) == pytest.approx(0.12, abs=2e-4)
    assert points[np.argmax(points[:, 1]), 0] == pytest.approx(0.3, abs=0.02)
    # y_t to x where the tail's arc begins, plus the arc's segment beyond
    coefficients = np.array([0.2969, -0.1260, -0.3516, 0.2843, -0.1036])
    powers = np.array([0.5, 1.0, 2.0, 3.0, 4.0])
    end = points[np.argmin(np.abs(np.linalg.norm(points - points[0], axis=1) - 0.012)), 0]
    upto = 2.0 * 0.6 * (coefficients * end ** (powers + 1) / (powers + 1)).sum()
    assert signed_area(points[:-1]) == pytest.approx(upto, abs=3e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"obstacle_length": 0.41}, "touches or leaves the channel of env.mesh.length=2.2"),
        ({"disc_centre": (2.16, 0.2)}, "touches or leaves the channel"),
        ({"disc_centre": (0.2,)}, "needs two numbers"),
        ({"obstacle_length": -1.0}, "obstacle_length=-1.0 must be a positive"),
        ({"obstacle_rounding": 1.5}, "obstacle_rounding=1.5 must not exceed 1"),
        ({"obstacle": "points"}, "env.mesh.obstacle=points needs env.mesh.obstacle_file"),
        ({"obstacle": "points", "obstacle_file": "none.dat"}, "no such curve file"),
        ({"disc_element_size": 0.2}, "expected 0 < disc_element_size <= element_size"),
    ],
)
def test_bad_numbers_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(MeshError, match=message):
        build(replace(CHANNEL, **changes), MPI.COMM_SELF)


def circle_file(path: Path, edit: str) -> Path:
    angle = 2.0 * np.pi * np.arange(25) / 24
    points = np.column_stack([np.cos(angle), np.sin(angle)])
    points[-1] = points[0]
    lines = [f"{x:.9f} {y:.9f}" for x, y in points]
    changed = {
        "open": lines[:-1],
        "crossing": lines[:6] + lines[12:5:-1] + lines[12:],
        "few": lines[:3],
        "words": [*lines[:4], "one two", *lines[4:]],
        "three": [*lines[:4], "1 2 3", *lines[4:]],
        "twice": [*lines[:4], *lines[3:]],
        "good": ["a circle", *lines],
    }
    path.write_text("\n".join(changed[edit]))
    return path


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("open", "the curve is open: its last point .* repeat the first point"),
        ("crossing", "the curve crosses itself"),
        ("few", "expected at least 8 points of a closed curve, got 3"),
        ("words", "line 5 is not two finite numbers"),
        ("three", "line 5 is not two finite numbers"),
        ("twice", "points 4 and the next one are the same"),
    ],
)
def test_bad_curve_files_are_refused(tmp_path: Path, edit: str, message: str) -> None:
    file = circle_file(tmp_path / "curve.dat", edit)
    with pytest.raises(MeshError, match=message):
        build(replace(CHANNEL, obstacle="points", obstacle_file=str(file)), MPI.COMM_SELF)


def test_a_named_curve_file_of_either_direction(tmp_path: Path) -> None:
    file = circle_file(tmp_path / "curve.dat", "good")
    config = replace(CHANNEL, obstacle="points", obstacle_file=str(file))
    found = exact_measures(config)["domain"], exact_measures(CHANNEL)["domain"]
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    turned = file.read_text().splitlines()
    file.write_text("\n".join([turned[0], *turned[:0:-1]]))
    assert exact_measures(config)["domain"] == pytest.approx(found[0], rel=1e-9)


def lednicer(path: Path, counts: str = "30. 30.", shift: float = 0.0) -> Path:
    """A circle of diameter 1 as two halves from its leading edge, with a name that is no UTF-8."""
    angle = np.linspace(0.0, np.pi, 30)
    above = np.column_stack([0.5 - 0.5 * np.cos(angle), 0.5 * np.sin(angle)])
    above[0], above[-1] = (0.0, 0.0), (1.0, 0.0)
    below = above * [1.0, -1.0] + [shift, 0.0]
    halves = ["\n".join(f"{x:.8f} {y:.8f}" for x, y in half) for half in (above, below)]
    text = "\n\n".join([f"G\xf6ttingen 0\n {counts}", *halves])
    path.write_bytes((text + "\n").encode("latin-1"))
    return path


def test_lednicers_halves_are_one_curve(tmp_path: Path) -> None:
    path = lednicer(tmp_path / "lednicer.dat")
    points = read_points(path)
    assert len(points) == 59
    assert points[0].tolist() == points[-1].tolist() == [1.0, 0.0]
    around = curve(MeshConfig(obstacle="points", obstacle_file=str(path), obstacle_length=2.0))
    corners = around(np.arange(1000) / 1000)
    assert signed_area(corners) == pytest.approx(np.pi, rel=1e-4)
    np.testing.assert_allclose(np.ptp(corners, axis=0), 2.0, rtol=1e-4)


def test_wrong_lednicer_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match="counts 31 and 30 of Lednicer's format, and 60 points"):
        read_points(lednicer(tmp_path / "count.dat", counts="31. 30."))
    with pytest.raises(MeshError, match="both halves begin at the leading edge"):
        read_points(lednicer(tmp_path / "shift.dat", shift=0.1))


def test_whole_coordinates_are_no_counts(tmp_path: Path) -> None:
    """A closed curve, and one in millimetres that begins with two whole numbers above 1."""
    angle = 2.0 * np.pi * np.arange(41) / 40
    points = np.round(np.column_stack([60 + 50 * np.cos(angle), 70 + 50 * np.sin(angle)]), 6)
    points[-1] = points[0] = (110.0, 70.0)
    path = tmp_path / "mm.dat"
    np.savetxt(path, points)
    assert read_points(path).tolist() == points.tolist()
    np.savetxt(path, points[:-1])
    with pytest.raises(MeshError, match="the curve is open"):
        read_points(path)
