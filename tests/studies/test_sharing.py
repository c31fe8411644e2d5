"""Sharing schemes: the pattern of experiments on a tiny scenario, rows that hold its numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import train_here

from hypemarl.cli import main
from hypemarl.studies import pipeline, sharing
from hypemarl.studies.pipeline import jobs_of
from hypemarl.training.diagnosis import NothingToDiagnose, diagnose_run
from hypemarl.training.records import read_metrics


def row(name: str, cost: float, seeds: int = 2) -> dict[str, Any]:
    costs = dict.fromkeys(("cost_mean", "cost_min", "cost_max"), cost)
    measured = dict.fromkeys((*sharing.MEASURED, *sharing.DURING), 0.25)
    by_seed = [measured | {"actor_parameters": 10} for _ in range(seeds)]
    known = {"seeds": seeds, "costs": [cost] * seeds, "uncontrolled": 2.0, "optimum": 0.3}
    return {"name": name, **costs, **known, **measured, "actor_parameters": 10, "by_seed": by_seed}


@pytest.mark.parametrize("scenario", ["density-1d", "density-vacuum", "vmas-dispersion"])
def test_every_scheme_loads_and_differs_from_every_other(scenario: str) -> None:
    jobs = jobs_of(scenario, sharing.ENTRIES, [1], Path("runs"))
    assert len({repr(job.config) for job in jobs}) == len({job.run_dir for job in jobs}) == 8


def test_tables_and_picture_keep_rows_of_earlier_calls(tmp_path: Path) -> None:
    output = tmp_path / "results"
    output.mkdir()
    pipeline.write(sharing.STUDY, "density-1d", [row("hyper-mlp", 0.5), row("nops", 0.75)], output)
    pipeline.write(sharing.STUDY, "density-1d", [row("fups-id", 0.6), row("nops", 0.7)], output)
    found = json.loads((output / "sharing.json").read_text())["density-1d"]["rows"]
    assert [(r["name"], r["cost_mean"]) for r in found] == [
        ("nops", 0.7),
        ("fups-id", 0.6),
        ("hyper-mlp", 0.5),
    ]
    lines = (output / "sharing-density-1d.md").read_text().splitlines()
    assert [line.split()[1] for line in lines[2:]] == ["nops", "fups-id", "hyper-mlp"]
    picture = tmp_path / "images" / "sharing-density-1d.png"
    assert picture.stat().st_size > 10_000


def test_the_command_diagnoses_finished_runs_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its numbers are those of ``hypemarl diagnose`` and of the metrics; finished runs are kept."""
    monkeypatch.setenv("HYPEMARL_CACHE", str(tmp_path / "cache"))
    output, runs = tmp_path / "results", tmp_path / "runs"
    output.mkdir()
    entries = pipeline.chosen(sharing.ENTRIES, ["fups", "hyper-low-rank"])
    overrides = train_here(entries, [0], runs, "training.diagnose_every=2")
    settings = [part for text in overrides for part in ("--set", text)]
    arguments = ["experiment", "sharing", "density-1d", "--variants", "fups", "hyper-low-rank"]
    arguments += ["--seeds", "0", "--jobs", "2", "--quiet", "--runs", str(runs), *settings]
    times = [file.stat().st_mtime_ns for file in sorted(runs.glob("**/last.pt"))]
    assert main([*arguments, "--output", str(output)]) == 0
    assert [file.stat().st_mtime_ns for file in sorted(runs.glob("**/last.pt"))] == times
    fups, low_rank = json.loads((output / "sharing.json").read_text())["density-1d"]["rows"]
    assert (fups["name"], low_rank["name"]) == ("fups", "hyper-low-rank")
    assert fups["diversity"] == 0.0  # one policy, which sees nothing but the observation
    assert low_rank["diversity"] > 0.0
    run = runs / "density-1d" / "hyper-low-rank" / "seed0"
    alone = diagnose_run(run, episodes=sharing.EPISODES)
    assert all(low_rank[name] == pytest.approx(alone[name]) for name in sharing.MEASURED)
    logged = [line for line in read_metrics(run) if line["kind"] == "diagnostic"]
    mean = np.mean([line["conflict_cosine"] for line in logged])
    assert low_rank["training_conflict_cosine"] == pytest.approx(mean)


def test_a_run_whose_every_episode_failed_has_a_row_without_diagnosis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise NothingToDiagnose("every episode failed")

    monkeypatch.setattr(sharing, "diagnose_run", fail)
    monkeypatch.setattr(sharing.pipeline, "seconds", lambda runs: 1.0)
    result = {"cost": np.inf, "uncontrolled": 1.0, "ratio_to_uncontrolled": np.inf}
    group = pipeline.Group(sharing.ENTRIES[0], [Path("run")], [result])
    (row,) = pipeline.tabulated(sharing.STUDY, [group], "density-1d")
    assert (row["cost_mean"], row["by_seed"]) == (np.inf, [{}])
