"""Runs that version 0.1 made still load, evaluate to its numbers and go on as they did there.

``tests/data/runs-0.1.tar.xz`` holds one small run for each algorithm (on density-1d) and each
system, with what that version measured: the mean cost of two held-out episodes, and the validation
cost at episode 6 after ``--resume --episodes 6``.
"""

from __future__ import annotations

import dataclasses
import json
import tarfile
from pathlib import Path

import pytest

from hypemarl.config import trusted
from hypemarl.training.loop import train
from hypemarl.training.records import RunFolder, read_metrics
from hypemarl.training.summary import evaluate_run

ARCHIVE = Path(__file__).parents[1] / "data" / "runs-0.1.tar.xz"
QUICK = ("td3", "apg", "mbpg", "dyna", "imitate", "irl")
SLOW = (
    "marl",
    "nops",
    "fups-id",
    "adjoint",
    "density-vacuum",
    "density-fluid",
    "flow-cylinder",
    "flow-dissipation",
    "shape-morphing",
)
RUNS = [*QUICK, "external", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs-0.1")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("name", RUNS)
def test_run_of_version_0_1_evaluates_and_resumes_to_its_numbers(earlier: Path, name: str) -> None:
    expected = json.loads((earlier / "expected.json").read_text())[name]
    with trusted("pettingzoo:point_agents:PointAgents"):
        check(earlier / name, expected)


def check(run: Path, expected: dict[str, float]) -> None:
    row = evaluate_run(run, episodes=2)
    assert row["cost"] == pytest.approx(expected["cost"], rel=1e-9)
    assert row["uncontrolled_cost"] == pytest.approx(expected["uncontrolled"], rel=1e-9)

    config = RunFolder(run).read_config()
    training = dataclasses.replace(config.training, episodes=6)
    config = dataclasses.replace(config, training=training)
    train(config, run, resume=True, progress=False)
    last = [m for m in read_metrics(run) if m["kind"] == "validation"][-1]
    assert last["episode"] == 6
    assert last["cost"] == pytest.approx(expected["resumed_cost"], rel=1e-9)
