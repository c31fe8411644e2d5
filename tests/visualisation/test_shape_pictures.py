"""Shapes: frames with meshes of their own, meshes that were made anew, the picture of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pytest

from hypemarl.training import records
from hypemarl.visualisation import fields, render
from hypemarl.visualisation.shape_fields import ShapeScene

RING = 2.0 * np.pi * np.arange(16) / 16
CIRCLE = np.column_stack([np.cos(RING), np.sin(RING)])


def mesh(outline: np.ndarray, rings: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Points and cells between an outline and a circle of radius 6."""
    shares = np.linspace(0.0, 1.0, rings)[:, None, None]
    points = ((1.0 - shares) * outline + shares * 6.0 * CIRCLE).reshape(-1, 2)
    inner = np.arange(16 * (rings - 1))
    after = inner + 1 - 16 * (inner % 16 == 15)
    low, high = np.stack([inner, after, inner + 16]), np.stack([after, after + 16, inner + 16])
    return points, np.concatenate([low.T, high.T])


def frame(k: int, rings: int = 3) -> dict[str, Any]:
    """The circle grows longer along x; the speed is the distance from the origin."""
    outline = CIRCLE * [1.0 + 0.2 * k, 1.0 - 0.1 * k]
    points, cells = mesh(outline, rings)
    return {
        "kind": "shape",
        "time": float(k),
        "points": points,
        "cells": cells,
        "velocity": points / 6.0,
        "pressure": points[:, 0],
        "vorticity": points[:, 1],
        "outline": outline,
        "reference": CIRCLE,
        "positions": CIRCLE[::4],
        "actions": np.full((4, 1), 0.1 * k),
    }


def trajectory(frames: list[dict[str, Any]]) -> dict[str, Any]:
    stacked = records.stack_frames(frames)
    count = len(frames)
    drag = 2.0 - 0.1 * np.arange(1, count)
    return stacked | {"costs": np.full(count, 0.5), "drag": drag, "scheme": "hypemarl"}


def test_a_shape_is_told_by_its_outline(tmp_path: Path) -> None:
    data = trajectory([frame(0), frame(1)])
    assert data["points"].shape == (2, 48, 2)
    assert data["cells"].shape == (64, 3)
    records.write_trajectory(tmp_path / "trajectory.npz", data)
    read = records.read_trajectory(tmp_path)
    assert read["kind"] == "shape"
    checked = fields.check_trajectory(read)
    assert checked["cells"].shape == (2, 64, 3)
    np.testing.assert_array_equal(checked["outline"][1], frame(1)["outline"])


def test_what_does_not_move_is_kept_once() -> None:
    still = trajectory([frame(0), frame(0) | {"time": 1.0}])
    assert still["points"].shape == (48, 2)
    checked = fields.check_trajectory(still)
    np.testing.assert_array_equal(checked["points"][1], frame(0)["points"])


def test_meshes_that_were_made_anew_have_one_length() -> None:
    """Padded by what changes no picture: the last node without cells, the last cell twice."""
    data = fields.check_trajectory(trajectory([frame(0), frame(1, rings=4)]))
    assert data["points"].shape == (2, 64, 2)
    assert data["cells"].shape == (2, 96, 3)
    np.testing.assert_array_equal(data["points"][0, 48:], np.tile(frame(0)["points"][-1], (16, 1)))
    np.testing.assert_array_equal(data["cells"][0, 64:], np.tile(frame(0)["cells"][-1], (32, 1)))
    np.testing.assert_array_equal(data["points"][1], frame(1, rings=4)["points"])
    assert ShapeScene(data).draw(0, "").shape == ShapeScene(data).draw(1, "").shape


def test_pictures_show_what_moves(tmp_path: Path) -> None:
    data = trajectory([frame(k) for k in range(3)])
    other = trajectory([frame(0) | {"time": float(k)} for k in range(3)])
    other["scheme"] = "uncontrolled"
    written = render(data, tmp_path, film=False, stills=(0.0, 1.0), reference=other)
    assert [path.name for path in written] == ["still-000.png", "still-100.png", "forces.png"]
    first, last = (imageio.imread(path)[..., :3].astype(int) for path in written[:2])
    assert first.shape == last.shape
    assert first.shape[0] % 16 == first.shape[1] % 16 == 0
    width = first.shape[1]
    body = np.array([140, 140, 140])  # grey 0.55

    def grey(picture: np.ndarray) -> np.ndarray:
        """Columns of the close-up, in the middle, with the body's colour."""
        near = picture[:, int(0.48 * width) : int(0.74 * width)]
        return np.flatnonzero((np.abs(near - body).max(axis=2) < 3).sum(axis=0) > 10)

    assert np.ptp(grey(last)) == pytest.approx(1.4 * np.ptp(grey(first)), rel=0.05)


def test_wrong_arrays_are_refused() -> None:
    data = trajectory([frame(0), frame(1)])
    with pytest.raises(ValueError, match="lacks reference"):
        fields.check_trajectory({k: v for k, v in data.items() if k != "reference"})
    with pytest.raises(ValueError, match="vorticity has shape"):
        fields.check_trajectory(data | {"vorticity": np.zeros((2, 7))})
