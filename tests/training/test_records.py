from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy import ToyEnv, toy_config

from hypemarl.training import evaluation, records
from hypemarl.training.records import Recorder, RunError, RunFolder


def write(path: Path, episodes: range, after: int = 0) -> RunFolder:
    folder = RunFolder(path)
    recorder = Recorder(folder, tensorboard=False, after_episode=after)
    for episode in episodes:
        recorder.write("episode", episode, 10 * episode, 0.5, cost=np.float32(1.5))
    recorder.close()
    return folder


def test_metrics_are_lines_of_json(tmp_path: Path) -> None:
    folder = write(tmp_path, range(1, 3))
    expected = {"kind": "episode", "episode": 2, "step": 20, "seconds": 0.5, "cost": 1.5}
    assert records.read_metrics(tmp_path)[1] == expected
    assert records.read_metrics(folder.metrics) == records.read_metrics(tmp_path)


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    recorder = Recorder(RunFolder(tmp_path), tensorboard=True)
    recorder.write("validation", 1, 1, 0.0, cost=float("inf"), values=np.array([1.0, np.nan]))
    recorder.close()
    line = records.read_metrics(tmp_path)[0]
    assert line["cost"] is None
    assert line["values"] == [1.0, None]


def test_a_half_written_last_line_is_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path, range(1, 4))
    folder.metrics.write_text(folder.metrics.read_text()[:-9])
    assert [line["episode"] for line in records.read_metrics(tmp_path)] == [1, 2]


def test_a_damaged_inner_line_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, range(1, 4))
    lines = folder.metrics.read_text().splitlines()
    folder.metrics.write_text("\n".join([lines[0], lines[1][:10], lines[2]]))
    with pytest.raises(RunError, match=r"metrics\.jsonl:2: expected a JSON object"):
        records.read_metrics(tmp_path)


def test_a_continued_run_repeats_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    write(tmp_path, range(1, 6))
    write(tmp_path, range(4, 6), after=3)
    assert [line["episode"] for line in records.read_metrics(tmp_path)] == [1, 2, 3, 4, 5]


def test_missing_runs_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no metrics there"):
        records.read_metrics(tmp_path)
    with pytest.raises(RunError, match=r"no config\.yaml"):
        RunFolder(tmp_path).read_config()
    with pytest.raises(RunError, match="no trajectory there"):
        records.read_trajectory(tmp_path)
    (tmp_path / "trajectory.npz").write_bytes(b"PK not a zip")
    with pytest.raises(RunError, match="not a trajectory that loads"):
        records.read_trajectory(tmp_path)


def test_a_trajectory_has_the_documented_arrays(tmp_path: Path) -> None:
    env = ToyEnv(toy_config().env)
    file = tmp_path / "trajectory.npz"
    evaluation.record_trajectory(env, evaluation.hand_made(env), np.array([0.3]), file, "constant")
    read = records.read_trajectory(tmp_path)
    shapes = {name: value.shape for name, value in read.items() if name not in ("scheme", "kind")}
    assert shapes == {
        "points": (5, 1),
        "cells": (4, 2),
        "times": (6,),
        "density": (6, 5),
        "target": (5,),
        "velocity": (6, 5, 1),
        "positions": (4, 1),
        "actions": (6, 4, 1),
        "costs": (6,),
        "mu": (1,),
    }
    assert read["scheme"] == "constant"
    assert read["kind"] == "density"
    assert read["costs"][0] == 0.0
    assert not read["actions"][0].any()
    np.testing.assert_array_equal(read["actions"][1:], 0.5)
    np.testing.assert_allclose(read["times"], 0.1 * np.arange(6))


def frame(time: float, target: float = 1.0, **changes: np.ndarray) -> dict:
    fields = {"density": np.zeros(3), "target": np.full(3, target)}
    points = np.array([[0.0], [0.5], [1.0]])
    return {"points": points, "time": time, "actions": np.zeros((2, 1)), **fields, **changes}


def test_frames_are_stacked_by_key_and_what_never_changes_is_kept_once() -> None:
    stacked = records.stack_frames([frame(0.0), frame(0.5), frame(1.0)])
    shapes = {name: np.shape(value) for name, value in stacked.items()}
    assert shapes == {
        "times": (3,),
        "points": (3, 1),
        "actions": (3, 2, 1),
        "density": (3, 3),
        "target": (3,),
    }
    moved = records.stack_frames([frame(0.0), frame(0.5, target=2.0)])
    np.testing.assert_array_equal(moved["target"][:, 0], [1.0, 2.0])
