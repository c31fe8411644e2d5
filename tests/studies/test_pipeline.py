"""The pipeline of the studies: entries by name, costs over seeds, contract of the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hypemarl import config as configuration
from hypemarl import studies
from hypemarl.cli import main
from hypemarl.config import ConfigError
from hypemarl.studies import pipeline
from hypemarl.studies.pipeline import Entry, Study
from hypemarl.training.records import RunError


@pytest.mark.parametrize("name", [*studies.NAMES, *studies.TABLES])
def test_every_study_is_of_known_scenarios(name: str) -> None:
    for scenario, study in studies.studies_of(name).items():
        assert (study.name, study.scenario) == (name, scenario)
        assert configuration.load(scenario).scenario == scenario
        assert {entry.name for entry in study.entries(scenario)} >= set(study.usual or ())


def test_unknown_experiments_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "nothing", "density-1d"]) != 0
    assert "no experiment 'nothing'; there are ablation, comparison" in capsys.readouterr().err


def test_unknown_names_are_named() -> None:
    entries = [Entry("a", ()), Entry("b", ())]
    assert [entry.name for entry in pipeline.chosen(entries, ["b", "a"])] == ["b", "a"]
    assert pipeline.chosen(entries, None) == entries
    with pytest.raises(ConfigError, match=r"unknown variants \['c'\]: take names out of \['a'"):
        pipeline.chosen(entries, ["a", "c"])


def test_costs_are_spread_over_seeds() -> None:
    runs = [{"cost": cost, "uncontrolled": 2.0, "return": -cost / 4} for cost in (1.0, 3.0, 8.0)]
    found = pipeline.costs(runs)
    assert (found["cost_mean"], found["cost_median"], found["cost_max"]) == (4.0, 3.0, 8.0)
    assert found["return_mean"] == -1.0  # there is no ratio: an external environment
    with_optimum = [
        run | {"ratio_to_uncontrolled": run["cost"] / 2, "recovered": share, "optimum_cost": 0.5}
        for run, share in zip(runs, (0.75, 0.5, 0.25), strict=True)
    ]
    found = pipeline.costs(with_optimum)
    assert (found["ratio_to_uncontrolled"], found["recovered"], found["optimum"]) == (2.0, 0.5, 0.5)
    assert "return_mean" not in found


def test_infinite_costs_of_failed_runs_survive_the_file(tmp_path: Path) -> None:
    row = pipeline.costs([{"cost": np.inf, "uncontrolled": 1.0, "ratio_to_uncontrolled": np.inf}])
    rows = [row | {"name": "marl"}]
    columns = {"name": "name", **pipeline.COSTS}
    study = Study("small", "density-1d", lambda _: [Entry("marl", ())], columns)
    pipeline.write(study, "density-1d", rows, tmp_path)
    (found,) = pipeline.stored(study, "density-1d", tmp_path)
    assert (found["cost_mean"], found["costs"]) == (np.inf, [np.inf])


def test_rows_of_the_first_version_are_kept(tmp_path: Path) -> None:
    """Their file holds a list where there are no key figures."""
    study = Study("small", "density-1d", lambda _: [Entry("a", ()), Entry("b", ())], {"name": "n"})
    (tmp_path / "small.json").write_text('{"density-1d": [{"name": "b"}], "other": []}')
    pipeline.write(study, "density-1d", [{"name": "a"}], tmp_path)
    assert [row["name"] for row in pipeline.stored(study, "density-1d", tmp_path)] == ["a", "b"]
    assert json.loads((tmp_path / "small.json").read_text())["other"] == []
    (tmp_path / "small.json").write_text("[")
    with pytest.raises(RunError, match="expected the numbers of this table's scenarios"):
        pipeline.stored(study, "density-1d", tmp_path)


def test_rows_that_a_table_by_scheme_drops_are_named_before_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise RunError("not begun")

    monkeypatch.setattr(pipeline, "trained", stop)
    study = studies.studies_of("shape")["shape-morphing"]
    policies = {"hypemarl (apg)": (0, 1), "hypemarl (local)": (0,), "optimum": (None,)}
    rows = [
        {"policy": policy, "seed": seed, "metric": "cost", "value": 1.0}
        for policy, seeds in policies.items()
        for seed in seeds
    ]
    (tmp_path / "shape.json").write_text(json.dumps({"shape-morphing": {"rows": rows}}))
    plan = pipeline.Plan("shape-morphing", [0], 1, tmp_path, ["apg"])
    with pytest.raises(RunError, match="not begun"):
        pipeline.make(study, plan, tmp_path)
    said = capsys.readouterr().err
    assert "drops the rows of hypemarl (apg) of seeds [1], hypemarl (local) of seeds [0]; " in said
