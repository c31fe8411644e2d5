"""Sizes of hypernetworks: one at a time, and the smallest that specialises in known rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small import train_here

from hypemarl.studies import pipeline, sensitivity
from hypemarl.studies.pipeline import jobs_of


def row(name: str, cost: float, collapsed: int = 0) -> dict[str, Any]:
    spread = dict.fromkeys(("cost_mean", "cost_min", "cost_max"), cost)
    known = {"seeds": 1, "costs": [cost], "uncontrolled": 2.0, "optimum": 0.2}
    return {"name": name, **spread, **known, "collapsed": collapsed}


def test_one_size_departs_from_the_scenario_at_a_time() -> None:
    entries = sensitivity.entries("density-1d")
    usual, *others = jobs_of("density-1d", entries[1:], [1], Path("runs"))
    assert len(others) == 3 + 4 + 4  # the scenario's own sizes are trained once
    for job in others:
        keys = ("hypernetwork", "hyper_depth", "hyper_width", "encoding_size")
        changed = [
            k for k in keys if getattr(job.config.agent, k) != getattr(usual.config.agent, k)
        ]
        assert len(changed) == 1
    names = [entry.name for entry in sensitivity.entries("density-vacuum")]
    assert "encoding-2" not in names  # two coordinates need four entries
    assert len(jobs_of("density-vacuum", sensitivity.entries("density-vacuum"), [1], Path("r")))


def test_the_smallest_is_near_the_largest_and_has_not_collapsed() -> None:
    names = {2: "w-2", 4: "w-4", 8: "scenario", 16: "w-16"}
    rows = [row("w-2", 0.9, 0), row("w-4", 0.41, 1), row("scenario", 0.42), row("w-16", 0.40)]
    assert sensitivity.smallest(rows, names) == 8
    rows[1]["collapsed"] = 0
    assert sensitivity.smallest(rows, names) == 4
    assert sensitivity.smallest(rows[1:], names) is None  # a size is missing
    rows[3]["cost_mean"] = 0.9
    assert sensitivity.smallest(rows, names) == 2


def test_sizes_of_finished_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPEMARL_CACHE", str(tmp_path / "cache"))
    names = ["marl", "scenario", "depth-0", "width-2"]
    entries = pipeline.chosen(sensitivity.entries("density-1d"), names)
    overrides = train_here(entries, [0], tmp_path / "runs")
    settings: dict[str, Any] = {"seeds": [0], "jobs": 1, "folder": tmp_path / "runs"}
    settings |= {"names": names, "overrides": overrides, "progress": False}
    output = tmp_path / "results"
    output.mkdir()
    plan = pipeline.Plan("density-1d", **settings)
    found = {row["name"]: row for row in pipeline.make(sensitivity.STUDY, plan, output)}
    assert {name: row["collapsed"] for name, row in found.items()} == dict(
        zip(names, (1, 0, 0, 0), strict=True)
    )
    sizes = [found[name]["actor_parameters"] for name in ("width-2", "scenario")]
    assert sizes[0] < sizes[1] / 16
    stored = json.loads((output / "sensitivity.json").read_text())["density-1d"]
    assert stored["smallest_width"] is None
    assert [row["name"] for row in stored["rows"]] == names
    assert (tmp_path / "images" / "sensitivity-density-1d.png").stat().st_size > 10_000
