"""Pictures of users' problems in 1D, 2D and 3D: what changes, what stays, what is refused."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pytest

from hypemarl.visualisation import problem_axis, problem_fields, render, style
from hypemarl.visualisation.fields import check_trajectory
from hypemarl.visualisation.problem_axis import SpaceTimeScene, agent_edges, space_time
from hypemarl.visualisation.problem_fields import Problem, field_colours, main_field, nodal_values
from hypemarl.visualisation.problem_plane import PlaneProblemScene
from hypemarl.visualisation.problem_space import SpaceProblemScene, View, turned_alike

SCENES = {1: SpaceTimeScene, 2: PlaneProblemScene, 3: SpaceProblemScene}
FRAMES = 5
TIMES = np.linspace(0.0, 1.0, FRAMES)


def simplices(gdim: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and simplices of the unit cube, cut into ``count`` cubes along each axis."""
    axis = np.linspace(0.0, 1.0, count + 1)
    points = np.stack(np.meshgrid(*[axis] * gdim, indexing="ij"), -1).reshape(-1, gdim)
    numbers = np.arange(len(points)).reshape((count + 1,) * gdim)
    cells = []
    for order in itertools.permutations(range(gdim)):
        path = np.cumsum([np.zeros(gdim, int), *np.eye(gdim, dtype=int)[list(order)]], axis=0)
        corners = [numbers[tuple(slice(k, k + count) for k in step)] for step in path]
        cells.append(np.stack([corner.ravel() for corner in corners], axis=1))
    return points, np.concatenate(cells)


def field(x: np.ndarray, time: float) -> np.ndarray:
    """1D: a travelling wave. 2D: a bump that goes round the middle. 3D: a mode that decays."""
    if x.shape[1] == 1:
        return np.asarray(np.sin(2.0 * np.pi * (x[:, 0] - time)))
    if x.shape[1] == 2:
        angle = 2.0 * np.pi * time
        centre = 0.5 + 0.25 * np.array([np.cos(angle), np.sin(angle)])
        return np.asarray(np.exp(-40.0 * ((x - centre) ** 2).sum(axis=1)))
    return np.exp(-time) * np.asarray(np.sin(np.pi * x).prod(axis=1))


def episode(gdim: int, decay: float = 1.0, count: int = 0) -> dict[str, Any]:
    """The field times exp(-decay t), eight actions that grow, and a target."""
    points, cells = simplices(gdim, count or {1: 60, 2: 16, 3: 6}[gdim])
    positions = np.full((4, gdim), 0.5)
    positions[:, 0] = np.array([0.125, 0.375, 0.625, 0.875])
    push = np.array([1.0, -1.0, 0.5, 0.0])
    return {
        "kind": "problem",
        "points": points,
        "cells": cells,
        "y": np.array([np.exp(-decay * t) * field(points, t) for t in TIMES]),
        "times": TIMES,
        "positions": positions,
        "actions": (TIMES[:, None] * push)[..., None],
        "costs": np.r_[0.0, np.full(FRAMES - 1, 0.25)],
        "mu": np.array([0.3]),
        "scheme": "hypemarl",
        "target": 0.5 * np.sin(np.pi * points).prod(axis=1),
    }


def bare(gdim: int) -> dict[str, Any]:
    """The same without control."""
    data = episode(gdim, decay=0.0)
    return data | {"actions": 0.0 * data["actions"], "scheme": "uncontrolled"}


def scene_of(data: dict[str, Any], reference: dict[str, Any] | None = None) -> Any:
    other = None if reference is None else check_trajectory(reference)
    return SCENES[data["points"].shape[1]](check_trajectory(data), other)


def pictures(
    data: dict[str, Any], frames: tuple[int, ...], reference: dict[str, Any] | None = None
) -> tuple[Any, list[np.ndarray]]:
    """The scene, closed, and some of its frames."""
    scene = scene_of(data, reference)
    try:
        return scene, [scene.draw(frame, "").astype(int) for frame in frames]
    finally:
        scene.close()


def part(picture: np.ndarray, axes: Any, x: tuple[float, float], y: tuple[float, float]) -> Any:
    """The pixels of a picture between two shares of the width and height of axes, from below."""
    height, width, _ = picture.shape
    box = axes.get_position()
    columns = [round(width * (box.x0 + share * box.width)) for share in x]
    rows = [round(height * (1.0 - box.y0 - share * box.height)) for share in reversed(y)]
    return picture[rows[0] : rows[1], columns[0] : columns[1]]


def middle(picture: np.ndarray, axes: Any, x: float, y: float) -> list[int]:
    """Colour at shares of the width and height of axes."""
    patch = part(picture, axes, (x - 0.005, x + 0.005), (y - 0.005, y + 0.005))
    return [round(value) for value in np.median(patch.reshape(-1, 3), axis=0)]


def colour(name: str, share: float) -> list[int]:
    """Colour of a map at a share of its range."""
    from matplotlib import colormaps

    return [round(255.0 * value) for value in colormaps[name](share)[:3]]


@pytest.mark.parametrize(
    ("gdim", "with_reference"),
    [(1, False), pytest.param(2, True, marks=pytest.mark.slow), (3, True)],
)
def test_stills_are_written_and_differ(gdim: int, with_reference: bool, tmp_path: Path) -> None:
    reference = bare(gdim) if with_reference else None
    paths = render(episode(gdim), tmp_path, film=False, stills=(0.0, 1.0), reference=reference)
    assert [path.name for path in paths] == ["still-000.png", "still-100.png"]
    first, last = (imageio.imread(path).astype(int) for path in paths)
    assert first.shape == last.shape
    assert all(side % 16 == 0 for side in first.shape[:2])  # which films need
    assert (np.abs(first - last).max(axis=2) > 60).mean() > 0.002


def test_space_time_is_filled_up_to_the_frame() -> None:
    """At half of the time the lower half of each diagram is coloured, and then all of it."""
    data = episode(1)
    del data["target"]
    scene, (half, full) = pictures(data, (2, 4), bare(1))
    controlled, uncontrolled, actions = scene.figure.axes[:3]
    ahead = [round(255 * float(problem_axis.AHEAD_COLOUR))] * 3
    for axes in (controlled, uncontrolled, actions):
        upper, lower = ((0.02, 0.98), (0.55, 0.95)), ((0.02, 0.98), (0.05, 0.45))
        assert (part(half, axes, *upper) == ahead).all()
        assert not (part(full, axes, *upper) == ahead).all()
        np.testing.assert_array_equal(part(half, axes, *lower), part(full, axes, *lower))


def test_space_time_colours_are_those_of_the_values() -> None:
    """The wave's crest at t = 1/2 is at x = 3/4: exp(-1/2) with control, 1 without."""
    scene, (picture,) = pictures(episode(1), (4,), bare(1))
    controlled, uncontrolled = scene.figure.axes[:2]
    faint, full = colour(style.VORTICITY_MAP, 0.5 + 0.5 * np.exp(-0.5)), colour("RdBu_r", 1.0)
    assert middle(picture, controlled, 0.75, 0.5) == pytest.approx(faint, abs=6)
    assert middle(picture, uncontrolled, 0.75, 0.5) == pytest.approx(full, abs=6)


def test_profile_target_and_bars_follow_the_frame() -> None:
    data = episode(1)
    scene = scene_of(data, bare(1))
    scene.show(3)
    np.testing.assert_allclose(scene._profiles[0].get_ydata(), data["y"][3])
    np.testing.assert_allclose(scene._profiles[1].get_ydata(), bare(1)["y"][3])
    np.testing.assert_allclose(scene._targets[0].get_ydata(), data["target"])
    np.testing.assert_allclose([bar.get_height() for bar in scene._bars], data["actions"][3, :, 0])


def test_space_time_interpolates_between_uneven_times_and_points() -> None:
    x, times = np.array([0.0, 0.1, 1.0]), np.array([0.0, 0.2, 1.0])
    picture = space_time(x, times, 2.0 * times[:, None] + x)
    rows, columns = (np.arange(n) + 0.5 for n in picture.shape)
    exact = 2.0 * rows[:, None] / len(rows) + columns / len(columns)
    np.testing.assert_allclose(picture, exact, atol=1e-12)
    assert space_time(x, times[:1], x[None]).shape == (1, problem_axis.COLUMNS)


def test_strips_of_agents_meet_half_way() -> None:
    np.testing.assert_allclose(agent_edges(np.array([0.1, 0.3, 0.9]), (0, 1)), [0, 0.2, 0.6, 1.0])
    assert agent_edges(np.array([0.4]), (-1.0, 2.0)).tolist() == [-1.0, 2.0]


def test_the_bump_is_where_it_was_recorded() -> None:
    """At t = 0 right of the middle, after half a turn left of it; fainter with control."""
    data, other = episode(2), bare(2)
    for run in (data, other):
        del run["target"]
        run["positions"] = run["positions"] * [1.0, 0.1]
    scene, (first, half) = pictures(data, (0, 2), other)
    top, nothing = (colour(style.DENSITY_MAP, share) for share in (1.0, 0.0))
    controlled, uncontrolled = scene.panels
    for axes in (controlled, uncontrolled):
        assert middle(first, axes, 0.75, 0.5) == pytest.approx(top, abs=12)
        assert middle(first, axes, 0.25, 0.5) == pytest.approx(nothing, abs=12)
    assert middle(half, uncontrolled, 0.25, 0.5) == pytest.approx(top, abs=12)
    faint = colour(style.DENSITY_MAP, np.exp(-0.5))
    assert middle(half, controlled, 0.25, 0.5) == pytest.approx(faint, abs=12)


def test_agents_have_the_colour_of_their_action() -> None:
    scene, (first, last) = pictures(episode(2) | {"y": np.zeros((FRAMES, 289))}, (0, 4))
    (axes,) = scene.panels
    for agent, action in enumerate([1.0, -1.0, 0.5, 0.0]):
        x = 0.125 + 0.25 * agent
        wanted = colour(style.SIGNED_MAP, 0.5 + 0.5 * action)
        assert middle(last, axes, x, 0.5) == pytest.approx(wanted, abs=8)
        assert middle(first, axes, x, 0.5) == pytest.approx(colour("PuOr", 0.5), abs=8)


def test_contours_of_a_target_follow_it_where_it_moves() -> None:
    data = episode(2)
    data["target"] = np.array([field(data["points"], t) for t in TIMES])
    scene = scene_of(data)
    try:
        centres = []
        for frame in (0, 2):
            scene.show(frame)
            (contours,) = scene._contours
            centres.append(np.concatenate(contours.allsegs[-1]).mean(axis=0))
    finally:
        scene.close()
    np.testing.assert_allclose(centres, [[0.75, 0.5], [0.25, 0.5]], atol=0.02)


@pytest.mark.slow
def test_targets_without_contours_are_told() -> None:
    data = episode(2)
    scene = scene_of(data | {"target": np.full(len(data["points"]), 0.25)})
    scene.close()
    (legend,) = scene.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["target: 0.25 everywhere"]


def test_slices_show_the_middle_with_true_colours() -> None:
    """The mode decays from 1 to exp(-2) with control and to exp(-1) without; the camera stands."""
    data, other = episode(3), bare(3)
    for run in (data, other):
        run["positions"] = run["positions"] * [1.0, 0.0, 0.0]
    scene, (first, last) = pictures(data, (0, 4), other)
    values = {0: (first, 1.0, 1.0), 4: (last, np.exp(-2.0), np.exp(-1.0))}
    for picture, controlled, uncontrolled in values.values():
        for axes, value in zip(scene.panels, (controlled, uncontrolled, 0.5), strict=True):
            wanted = colour(style.DENSITY_MAP, value)
            assert middle(picture, axes, 0.5, 0.5) == pytest.approx(wanted, abs=14)
    for edge in ((0.0, 1.0), (0.0, 0.1)), ((0.0, 1.0), (0.9, 1.0)):  # of the box
        parts = [part(picture, scene.panels[1], *edge) for picture in (first, last)]
        assert np.ptp(parts[0]) > 100
        np.testing.assert_array_equal(*parts)
    assert [axes.get_title() for axes in scene.panels] == [
        "with control",
        "without control",
        "target",
    ]


def test_places_in_space_are_where_the_picture_has_them() -> None:
    """A field that is 1 in a corner of the box colours the slice there, and not elsewhere."""
    data = episode(3, count=10)
    del data["target"]
    data["y"] = np.tile((data["points"] @ [1.0, 0.0, 1.0] > 1.3).astype(float), (FRAMES, 1))
    data["positions"] = data["positions"] * 0.0
    scene, (picture,) = pictures(data, (0,))
    view = View(np.zeros(3), np.ones(3))
    places = np.array([[0.9, 0.5, 0.75], [0.95, 0.5, 0.55], [0.55, 0.5, 0.6], [0.2, 0.5, 0.75]])
    shares = 0.5 + view.project(places) / view.extent
    seen = [middle(picture, scene.panels[0], *share) for share in shares]
    top, nothing = colour(style.DENSITY_MAP, 1.0), colour(style.DENSITY_MAP, 0.0)
    np.testing.assert_allclose(seen, [top, top, nothing, nothing], atol=9)
    near = view.nearness(np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.5]]))
    np.testing.assert_allclose(near, [1.0, 0.0, 0.5])


def test_tetrahedra_are_turned_alike() -> None:
    points, cells = simplices(3, 2)
    turned = turned_alike(points, cells)
    volumes = np.linalg.det(points[turned[:, 1:]] - points[turned[:, :1]])
    assert (volumes > 0.0).all()
    np.testing.assert_array_equal(np.sort(turned), np.sort(cells))


def test_colours_are_signed_where_the_field_changes_sign() -> None:
    wave = np.array([[-0.5, 1.0]])
    assert field_colours([wave], None).limits == (-1.0, 1.0)
    assert field_colours([wave], None).name == style.VORTICITY_MAP
    undershoot = field_colours([np.array([[-1e-4, 1.0]])], None)
    assert (undershoot.name, undershoot.limits) == (style.DENSITY_MAP, (-1e-4, 1.0))
    assert field_colours([np.array([[0.1, 1.0]])], None).limits == (0.0, 1.0)
    assert field_colours([np.array([[300.0, 310.0]])], None).limits == (300.0, 310.0)
    assert field_colours([np.zeros((1, 2))], None).limits == (-0.5, 0.5)


def test_colours_hold_for_target_and_reference_unless_it_explodes() -> None:
    own, target = np.array([[0.0, 1.0]]), np.array([[0.0, 2.0]])
    assert field_colours([own, np.array([[0.0, 3.0]])], target).limits == (0.0, 3.0)
    exploded = field_colours([own, np.array([[0.0, 1e9, np.inf, np.nan]])], target)
    assert exploded.limits == (0.0, 2.0 * problem_fields.REFERENCE_ROOM)
    assert exploded.extend == "max"


def test_the_first_field_is_the_main_one_also_where_it_never_changes() -> None:
    data = check_trajectory(episode(2) | {"z": np.ones((FRAMES, 289))})
    assert main_field(data) == "y"
    still = check_trajectory(episode(2) | {"y": np.ones(289)} | {"z": data["y"]})
    assert main_field(still) == "y"
    assert nodal_values(still, "y").shape == (FRAMES, 289)
    vector = {"y": np.tile([3.0, 4.0], (289, 1))}
    assert (nodal_values(data | vector, "y") == 5.0).all()
    line = episode(1)
    signed = line | {"y": -np.ones((FRAMES, 61, 1))}
    assert (nodal_values(signed, "y") == -1.0).all()


def test_an_uncontrolled_episode_that_ends_early_stays_at_its_end() -> None:
    reference = bare(1)
    moving = ("y", "times", "actions", "costs")
    short = reference | {name: reference[name][:3] for name in moving}
    problem = Problem(check_trajectory(episode(1)), check_trajectory(short))
    np.testing.assert_array_equal(problem.values(1, 4), reference["y"][2])
    assert problem.titles == ["with control", "without control"]
    assert Problem(check_trajectory(reference)).titles == ["without control"]


def test_episodes_that_cannot_be_drawn_are_refused(tmp_path: Path) -> None:
    data = episode(2)
    nothing = {name: v for name, v in data.items() if name != "y"}
    refused = [
        (nothing, None, r"no field to draw: expected .*\(5, 289\) or \(289,\).*got nothing"),
        (data | {"y": np.ones((5, 7))}, None, r"got y \(5, 7\); return one from .*fields\(\)"),
        (data | {"target": np.ones(3)}, None, r"target has shape \(3,\), expected \(5, 289\)"),
        (data, nothing, "without control lacks 'y'; record both again"),
        (data, data | {"points": data["points"] + 1.0}, "on another mesh"),
        (episode(3) | {"kind": "heat"}, None, r"'heat' .*3D: only kind problem"),
        (
            data | {"times": np.zeros(0), "actions": np.zeros((0, 4, 1)), "costs": np.zeros(0)},
            None,
            "no frames to draw",
        ),
    ]
    for wrong, reference, message in refused:
        with pytest.raises(ValueError, match=message):
            render(wrong, tmp_path, film=False, reference=reference)
