"""``hypemarl mesh --morph --picture``: what is said, and a picture that shows the obstacle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from hypemarl.cli import main

GIVEN = ["mesh", "flow-cylinder", "--shape", "channel-with-obstacle", "--element-size", "0.1"]
GIVEN += ["--set", "env.mesh.disc_element_size=0.012"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*GIVEN, *arguments]) == 0
    return capsys.readouterr().out


def white(path: Path) -> float:
    """Share of pixels without colour."""
    return float((imread(path)[..., :3] == 1.0).all(axis=2).mean())


def test_a_morphed_mesh_is_described_drawn_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, mesh = tmp_path / "deep" / "mesh.png", tmp_path / "mesh.msh"
    out = run(capsys, "--morph", "radial-fourier", "--picture", str(picture), "--output", str(mesh))
    for name in ("limit", "displacement", "area change", "margins", "remeshed", "min_quality"):
        assert f"{name}  " in out
    change = next(line for line in out.splitlines() if "area change" in line).split()[-1]
    assert abs(float(change)) < 1e-12
    assert imread(picture).shape[1] > 900
    assert 0.2 < white(picture) < 0.6  # the obstacle and the frame
    assert run(capsys, "--set", f"env.mesh.file={mesh}").count("measure_obstacle") == 1


def test_amplitudes_decide_the_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    still = run(capsys, "--morph", "normal-bspline", "--agents", "4", "--amplitudes", *4 * ["0"])
    assert "limit  none" in still
    first = run(capsys, "--morph", "normal-bspline", "--agents", "4")
    assert first == run(capsys, "--morph", "normal-bspline", "--agents", "4")
    assert first != run(capsys, "--morph", "normal-bspline", "--agents", "4", "--set", "seed=1")
    plain = tmp_path / "plain.png"
    run(capsys, "--picture", str(plain))
    assert np.ptp(imread(plain)) > 0.0
    assert white(plain) < 0.6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--morph", "radial-fourier", "--amplitudes", "0.5"],
            "expected 16 numbers, for 16 agents",
        ),
        (
            ["--morph", "radial-fourier", "--agents", "4", "--amplitudes", "0", "2", "0", "0"],
            "at most",
        ),
        (["--morph", "radial-fourier", "--shape", "square"], "whose obstacle has the tag"),
        (["--picture", "mesh.png", "--shape", "interval"], "expected a mesh of triangles"),
        (["--set", "env.mesh.obstacle_length=0.5"], "touches or leaves the channel"),
    ],
)
def test_bad_requests_say_what_is_wrong(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*GIVEN, *arguments]) != 0
    assert message in capsys.readouterr().err
