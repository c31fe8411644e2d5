"""The command line on several ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_cli import SETTINGS

from hypemarl import cli
from hypemarl.training.records import read_metrics


@pytest.mark.mpi
def test_two_environments_train_at_once(mpirun: Any, tmp_path: Path) -> None:
    given = ["train", "density-1d", *SETTINGS, "--quiet", "--run", str(tmp_path)]
    given += ["--ranks-per-env", "1", "--set", "training.episodes=4"]
    out = mpirun(2, "-m", "hypemarl", *given)
    assert out.count(": 4 episodes in") == 1
    ended = [line for line in read_metrics(tmp_path) if line["kind"] == "episode"]
    assert [line["random"] for line in ended] == [True, False, False, False]
    assert ended[0]["cost"] != ended[1]["cost"]


@pytest.mark.mpi
@pytest.mark.mpi
@pytest.mark.parametrize("named", ["own", "burgers"])
def test_problems_train_on_ranks(mpirun: Any, tmp_path: Path, named: str) -> None:
    """Importing a problem initialises PETSc, which is collective."""
    scenario = named
    if named == "own":
        scenario = str(tmp_path / "mine.py")
        assert cli.main(["new", scenario]) == 0
    few = {"env.horizon": 0.2, "env.control_steps": 2, "training.validation_size": 1}
    few |= {"agent.encoding_size": 8, "agent.hyper_width": 8, "training.held_out_size": 1}
    settings = [word for key, value in few.items() for word in ("--set", f"{key}={value}")]
    given = ["train", scenario, *settings, "--train", "apg", "--episodes", "2", "--quiet"]
    out = mpirun(2, "-m", "hypemarl", *given, "--run", str(tmp_path / "run"))
    assert "2 episodes" in out


def test_errors_of_all_ranks_are_printed_once(mpirun: Any) -> None:
    out = mpirun(2, "-m", "hypemarl", "evaluate", "nowhere", expect_failure=True)
    assert out.count("hypemarl: error: nowhere is no run folder") == 1
