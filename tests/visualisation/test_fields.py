"""Films and stills: what is asked for is written, at the right time, with colours that stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pytest
from mpi4py import MPI

from hypemarl.config import MeshConfig
from hypemarl.meshing import build, gather
from hypemarl.visualisation import RenderError, offscreen, render
from hypemarl.visualisation.axis_fields import agent_arrows
from hypemarl.visualisation.field_scene import first_field
from hypemarl.visualisation.fields import caption, check_trajectory
from hypemarl.visualisation.plane_fields import PlaneScene
from hypemarl.visualisation.scenes import GENERIC, kind_of, register_scene


def moving_bump(gdim: int, frames: int = 3) -> dict[str, Any]:
    """A Gaussian that moves to its target, pushed by a velocity around it."""
    shape = "interval" if gdim == 1 else "square-with-disc"
    raw = gather(build(MeshConfig(shape=shape, element_size=0.2), MPI.COMM_SELF))
    assert raw is not None
    start, end = np.array([-0.5, 0.3])[:gdim], np.array([0.4, -0.3])[:gdim]
    path = [start + (end - start) * share for share in np.linspace(0.0, 1.0, frames)]
    axis = np.linspace(-0.75, 0.75, 4)
    positions = np.stack(np.meshgrid(*[axis] * gdim, indexing="ij"), -1).reshape(-1, gdim)

    def bump(x: np.ndarray, centre: np.ndarray) -> np.ndarray:
        return np.exp(-10.0 * ((x - centre) ** 2).sum(axis=1))

    def push(x: np.ndarray, frame: int) -> np.ndarray:
        return float(frame > 0) * bump(x, path[frame])[:, None] * (end - start)

    return {
        "points": raw.points,
        "cells": raw.cells,
        "times": np.linspace(0.0, 2.0, frames),
        "density": np.array([bump(raw.points, centre) for centre in path]),
        "target": bump(raw.points, end),
        "velocity": np.array([push(raw.points, i) for i in range(frames)]),
        "positions": positions,
        "actions": np.array([push(positions, i) for i in range(frames)]),
        "costs": np.r_[0.0, np.full(frames - 1, 0.25)],
        "mu": end,
        "scheme": "hypemarl",
        "kind": "density",
    }


@pytest.mark.parametrize("gdim", [1, 2])
def test_film_and_stills(gdim: int, tmp_path: Path) -> None:
    paths = render(moving_bump(gdim), tmp_path / "new")
    names = ["film.mp4", "still-000.png", "still-050.png", "still-100.png"]
    assert [path.name for path in paths] == names
    stills = [np.asarray(imageio.imread(path), dtype=float) for path in paths[1:]]
    with imageio.get_reader(paths[0]) as film:
        seconds = film.get_meta_data()["duration"]
        shown = [np.asarray(film.get_data(i), dtype=float) for i in (0, 24, 47)]
    assert seconds == pytest.approx(6.0, abs=0.5)
    # Each still is in the film at its time; 10 of 255 is what compression may change on average.
    for still, frame in zip(stills, shown, strict=True):
        assert np.abs(still - frame).mean() < 10.0
    assert np.abs(stills[0] - stills[2]).max() > 100.0


def test_stills_alone_draw_nothing_else(tmp_path: Path) -> None:
    paths = render(moving_bump(1, frames=5), tmp_path, film=False, stills=(1.0, 0.25))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["still-025.png", "still-100.png"]
    assert sorted(paths) == sorted(tmp_path.iterdir())


def test_colours_mean_the_same_in_every_frame() -> None:
    """A density that halves everywhere must look darker, not the same."""
    data = moving_bump(2)
    data["actions"] *= 0.0
    data["velocity"] *= 0.0
    data["target"] *= 0.0
    data["density"] = np.array([1.0, 0.5, 1.0])[:, None] * np.ones(len(data["points"]))
    scene = PlaneScene(check_trajectory(data))
    try:
        pictures = [scene.draw(frame, "") for frame in range(3)]
    finally:
        scene.close()
    colours = [picture[200, 300].astype(int) for picture in pictures]
    # The ends of viridis' range: yellow at 1, teal at a half.
    assert colours[0] == pytest.approx([253, 231, 36], abs=4)
    assert colours[1] == pytest.approx([32, 144, 140], abs=4)
    assert colours[2].tolist() == colours[0].tolist()


def test_picture_is_upright() -> None:
    """Mass in the lower left corner of the domain is in the lower left of the picture."""
    data = moving_bump(2)
    data["actions"] *= 0.0
    data["target"] *= 0.0
    corner = (data["points"] < -0.3).all(axis=1)
    data["density"] = np.tile(corner.astype(float), (3, 1))
    scene = PlaneScene(check_trajectory(data))
    try:
        picture = scene.draw(0, "").astype(int)
    finally:
        scene.close()
    assert picture[700, 200, 1] > 200
    assert picture[200, 200, 1] < 50
    assert picture[700, 700, 1] < 50


def test_arrows_follow_the_control() -> None:
    data = moving_bump(2)
    still, moved = data | {"actions": 0 * data["actions"]}, data
    pictures = []
    for content in (still, moved):
        scene = PlaneScene(check_trajectory(content))
        pictures.append(scene.draw(1, "").astype(int))
        scene.close()
    assert (np.abs(pictures[0] - pictures[1]).max(axis=2) > 100).sum() > 200


def test_actions_of_another_kind_show_the_velocity_at_the_agents() -> None:
    data = moving_bump(2)
    data["actions"] = np.ones((3, 16, 5))
    arrows = agent_arrows(check_trajectory(data))
    nearest = np.linalg.norm(data["points"] - data["positions"][6], axis=1).argmin()
    np.testing.assert_array_equal(arrows[:, 6], data["velocity"][:, nearest])


def test_caption_sums_the_cost() -> None:
    assert caption(check_trajectory(moving_bump(1)), 2) == (
        "HypeMARL,  t = 2.00,  cost so far J = 0.500"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"density": np.zeros((3, 7))}, r"density has shape \(3, 7\), expected \(3, 11\)"),
        ({"times": np.zeros((3, 1))}, "wrong number of axes.*times"),
        ({"costs": np.zeros(2)}, r"costs has shape \(2,\), expected \(3,\)"),
    ],
)
def test_bad_trajectories_are_refused(changes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        render(moving_bump(1) | changes, tmp_path)


def test_missing_arrays_and_bad_stills_are_refused(tmp_path: Path) -> None:
    data = moving_bump(1)
    with pytest.raises(ValueError, match="fractions of the episode"):
        render(data, tmp_path, stills=(1.5,))
    del data["target"]
    with pytest.raises(ValueError, match="lacks target"):
        render(data, tmp_path)


def test_a_machine_that_cannot_draw_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(offscreen, "HEADLESS_LIBRARIES", ("libabsent.so.0",))
    monkeypatch.setattr(offscreen.sys, "platform", "linux")
    with pytest.raises(RenderError, match=r"install libegl1.*libabsent.so.0"):
        render(moving_bump(2), tmp_path, film=False)


def test_kinds_are_told_by_the_arrays_where_records_do_not_name_them() -> None:
    density = moving_bump(1)
    flow = {"velocity": density["velocity"], "vorticity": density["density"]}
    shape = flow | dict.fromkeys(("points", "cells", "outline", "reference"), density["points"])
    assert [kind_of(data) for data in (density, flow, shape, {})] == [
        "density",
        "flow",
        "shape",
        "",
    ]


def test_a_scene_is_registered_once() -> None:
    with pytest.raises(ValueError, match="scene 'flow': expected a new kind"):
        register_scene("flow", GENERIC)


@pytest.mark.parametrize("gdim", [1, 2])
def test_episodes_of_an_unknown_kind_show_their_first_field(gdim: int, tmp_path: Path) -> None:
    data = moving_bump(gdim)
    heat = {name: v for name, v in data.items() if name not in ("density", "target", "velocity")}
    heat |= {"kind": "heat", "still": np.zeros(len(data["points"])), "warmth": data["velocity"]}
    name, values = first_field(check_trajectory(heat))
    assert name == "warmth"
    np.testing.assert_allclose(values, np.linalg.norm(data["velocity"], axis=2))
    (still,) = render(heat, tmp_path, film=False, stills=(1.0,))
    assert still.stat().st_size > 1000
    del heat["warmth"]
    assert first_field(check_trajectory(heat))[0] == "still"
    del heat["still"]
    with pytest.raises(ValueError, match="no field"):
        render(heat, tmp_path, film=False)
