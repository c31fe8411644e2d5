"""HypeMARL against MARL: ratios of known costs, and curves and tables that keep their rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small import train_here

from hypemarl.studies import comparison, pipeline
from hypemarl.studies.pipeline import jobs_of
from hypemarl.training.summary import evaluate_run


def test_all_have_the_papers_budget_and_differ() -> None:
    jobs = jobs_of("density-vacuum", comparison.ENTRIES, [1], Path("runs"))
    assert {job.config.training.episodes for job in jobs} == {500}
    assert len({repr(job.config) for job in jobs}) == 4
    assert [job.config.agent.credit for job in jobs] == ["adjoint"] * 2 + ["cooperative"] * 2


def test_ratios_are_those_of_mean_costs() -> None:
    rows = [{"name": n, "cost_mean": c} for n, c in (("hypemarl", 0.4), ("marl", 1.0))]
    found = comparison.ratios(rows, "density-1d")
    assert found["ratio_marl_over_hypemarl"] == pytest.approx(2.5)
    assert found["ratio_marl_over_hypemarl_cooperative"] is None


def test_tables_curves_and_costs_of_finished_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPEMARL_CACHE", str(tmp_path / "cache"))
    runs, output = tmp_path / "runs", tmp_path / "results"
    output.mkdir()
    for name in ("marl", "hypemarl"):  # rows of the first call stay
        entries = pipeline.chosen(comparison.ENTRIES, [name])
        settings: dict[str, Any] = {"seeds": [0], "jobs": 1, "folder": runs, "names": [name]}
        settings["overrides"] = train_here(entries, [0], runs)
        plan = pipeline.Plan("density-1d", **settings, progress=False)
        pipeline.make(comparison.STUDY, plan, output)
    found = json.loads((output / "comparison.json").read_text())["density-1d"]
    own, marl = (evaluate_run(runs / "density-1d" / n / "seed0") for n in comparison.SCHEMES)
    assert found["ratio_marl_over_hypemarl"] == pytest.approx(marl["cost"] / own["cost"])
    assert [row["name"] for row in found["rows"]] == ["hypemarl", "marl"]
    records = [r for r in found["records"] if r["metric"] == "cost"]
    assert [r["policy"] for r in records if r["seed"] == 0] == ["marl", "hypemarl"]
    assert {r["policy"]: r["value"] for r in records}["marl"] == pytest.approx(marl["cost"])
    assert {"policy", "seed", "mu_set", "metric", "value"} == set(records[0])
    assert all(list(row["curves"][0]) == ["2", "4"] for row in found["rows"])
    lines = (output / "metrics" / "comparison-density-1d.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["run", *["hypemarl"] * 2, *["marl"] * 2]
    assert (tmp_path / "images" / "comparison-density-1d.png").stat().st_size > 10_000
