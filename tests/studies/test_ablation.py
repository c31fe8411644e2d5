"""The ablation: every variant is a scenario that loads, runs are kept, tables keep their rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hypemarl.studies import ablation, pipeline
from hypemarl.studies.pipeline import Entry, Plan, jobs_of
from hypemarl.training.jobs import continue_flags

SMALL = (
    "env.mesh.element_size=0.1",
    "env.agents=[4]",
    "training.random_episodes=2",
    "training.validation_every=2",
    "training.validation_size=1",
    "training.held_out_size=2",
)


def row(name: str, cost: float) -> dict[str, Any]:
    keys = ("seeds", "cost_mean", "cost_median", "cost_min", "cost_max", "seconds", "last_cost")
    shares = {"ratio_to_uncontrolled": cost, "overrides": "a=1"}
    return {"name": name, **dict.fromkeys(keys, cost), **shares}


@pytest.mark.parametrize("scenario", ["density-1d", "density-vacuum"])
def test_every_variant_loads_and_differs_from_every_other(scenario: str) -> None:
    entries = ablation.entries(scenario)
    jobs = jobs_of(scenario, entries, [3], Path("runs"))
    assert len({job.run_dir for job in jobs}) == len(jobs) == len(ablation.VARIANTS)
    assert all(job.config.seed == 3 for job in jobs)
    few = [job.config for job in jobs if "few" in job.run_dir.parent.name]
    axes = {"density-1d": 1, "density-vacuum": 2}[scenario]
    assert {(c.env.agents, c.training.episodes) for c in few} == {
        ((4,) * axes, 400),
        ((3,) * axes, 300),
    }
    others = [job.config for job in jobs if "few" not in job.run_dir.parent.name]
    assert {c.training.episodes for c in others} == {ablation.EPISODES}
    if scenario == "density-1d":  # elsewhere a variant may be what the scenario has
        assert len({repr(job.config) for job in jobs}) == len(jobs)


def test_tables_keep_the_rows_of_other_variants_and_scenarios(tmp_path: Path) -> None:
    pipeline.write(
        ablation.STUDY, "density-1d", [row("trace-0.8", 0.5), row("updates-2", 0.25)], tmp_path
    )
    pipeline.write(ablation.STUDY, "density-vacuum", [row("scenario", 2.0)], tmp_path)
    pipeline.write(
        ablation.STUDY, "density-1d", [row("scenario", 1.0), row("updates-2", 0.75)], tmp_path
    )
    found = json.loads((tmp_path / "ablation.json").read_text())
    assert [(r["name"], r["cost_mean"]) for r in found["density-1d"]["rows"]] == [
        ("scenario", 1.0),
        ("trace-0.8", 0.5),
        ("updates-2", 0.75),
    ]
    assert [r["name"] for r in found["density-vacuum"]["rows"]] == ["scenario"]
    lines = (tmp_path / "ablation-density-1d.md").read_text().splitlines()
    assert "recovered" not in lines[0]
    assert [line.split()[1] for line in lines[2:]] == ["scenario", "trace-0.8", "updates-2"]


@pytest.mark.slow
def test_variants_are_trained_once_and_compared(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HYPEMARL_CACHE", str(tmp_path / "cache"))
    variants = (Entry("scenario", SMALL), Entry("half", (*SMALL, "training.updates_per_step=0.5")))
    monkeypatch.setattr(ablation, "VARIANTS", variants)
    short = ["training.episodes=4"]

    def run() -> list[dict[str, Any]]:
        given = {"seeds": [0, 1], "jobs": 2, "folder": tmp_path, "overrides": short}
        return pipeline.make(ablation.STUDY, Plan("density-1d", **given, progress=False), tmp_path)

    rows = run()
    assert [(r["name"], r["seeds"]) for r in rows] == [("scenario", 2), ("half", 2)]
    assert all(r["cost_min"] <= r["cost_mean"] <= r["cost_max"] for r in rows)
    entries = [Entry(variant.name, (*variant.overrides, *short)) for variant in variants]
    for job in jobs_of("density-1d", entries, [0, 1], tmp_path):
        assert continue_flags(job.config, job.run_dir) is None
    times = [file.stat().st_mtime_ns for file in sorted(tmp_path.glob("**/last.pt"))]
    assert run() == rows
    assert [file.stat().st_mtime_ns for file in sorted(tmp_path.glob("**/last.pt"))] == times
