"""What experiments share: entries by name, costs over seeds, and what the command asks of each."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

from hypemarl import config as configuration
from hypemarl import studies
from hypemarl.cli import main
from hypemarl.config import ConfigError
from hypemarl.studies import pattern
from hypemarl.studies.results import Entry


@pytest.mark.parametrize("name", studies.NAMES)
def test_every_experiment_has_what_the_command_asks_for(name: str) -> None:
    module = studies.module_of(name)
    assert module.SCENARIO in configuration.scenarios()
    assert getattr(module, "RUNS", name) in studies.NAMES
    assert list(inspect.signature(module.run).parameters) == ["plan"]
    assert list(inspect.signature(module.columns).parameters) == ["rows"]
    assert list(inspect.signature(module.write).parameters) == ["scenario", "rows", "output"]


def test_unknown_experiments_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "nothing", "density-1d"]) != 0
    assert "no experiment 'nothing'; there are ablation, comparison" in capsys.readouterr().err


def test_unknown_names_are_named() -> None:
    entries = [Entry("a", ()), Entry("b", ())]
    assert [entry.name for entry in pattern.chosen(entries, ["b", "a"])] == ["b", "a"]
    assert pattern.chosen(entries, None) == entries
    with pytest.raises(ConfigError, match=r"unknown variants \['c'\]: take names out of \['a'"):
        pattern.chosen(entries, ["a", "c"])


def test_costs_are_spread_over_seeds() -> None:
    runs = [{"cost": cost, "uncontrolled": 2.0, "return": -cost / 4} for cost in (1.0, 3.0, 8.0)]
    found = pattern.costs(runs)
    assert (found["cost_mean"], found["cost_median"], found["cost_max"]) == (4.0, 3.0, 8.0)
    assert found["return_mean"] == -1.0  # there is no ratio: an external environment
    with_optimum = [
        run | {"ratio_to_uncontrolled": run["cost"] / 2, "recovered": share, "optimum_cost": 0.5}
        for run, share in zip(runs, (0.75, 0.5, 0.25), strict=True)
    ]
    found = pattern.costs(with_optimum)
    assert (found["ratio_to_uncontrolled"], found["recovered"], found["optimum"]) == (2.0, 0.5, 0.5)
    assert "return_mean" not in found


def test_infinite_costs_of_failed_runs_survive_the_file(tmp_path: Path) -> None:
    row = pattern.costs([{"cost": np.inf, "uncontrolled": 1.0, "ratio_to_uncontrolled": np.inf}])
    rows = [row | {"name": "marl"}]
    pattern.write("small", "density-1d", rows, {"name": "name", **pattern.COSTS}, tmp_path)
    (found,) = pattern.stored("small", "density-1d", tmp_path)
    assert (found["cost_mean"], found["costs"]) == (np.inf, [np.inf])
