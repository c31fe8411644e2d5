"""Sample efficiency: budgets that load, what counts as a match, and tables that keep their rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hypemarl.studies import pipeline, sample_efficiency
from hypemarl.studies.pipeline import jobs_of


def row(name: str, method: str, episodes: int, cost: float) -> dict[str, Any]:
    costs = dict.fromkeys(("cost_mean", "cost_min", "cost_max"), cost)
    known = {"uncontrolled": 2.5, "optimum": 0.3, "seeds": 2}
    return {"name": name, "method": method, "episodes": episodes, **costs, **known}


ROWS = [
    row("mbpg-10", "mbpg", 10, 0.8),
    row("mbpg-24", "mbpg", 24, 0.52),
    row("mbpg-73", "mbpg", 73, 0.4),
    row("dyna-24", "dyna", 24, 0.9),
]
REFERENCE = row("td3", "td3", 500, 0.5)


@pytest.mark.parametrize("scenario", ["density-1d", "density-vacuum"])
def test_every_budget_loads_and_is_its_own(scenario: str) -> None:
    entries = sample_efficiency.entries(scenario)
    jobs = jobs_of(scenario, entries, [1], Path("runs"))
    assert len({job.run_dir for job in jobs}) == len(jobs) == 1 + 2 * 6
    for job, entry in zip(jobs, entries, strict=True):
        budget = int(entry.name.partition("-")[2] or 500)
        assert job.config.training.episodes == budget
        assert job.config.training.random_episodes < budget


def test_a_match_is_the_fewest_episodes_within_five_per_cent() -> None:
    assert sample_efficiency.episodes_to_match([*ROWS, REFERENCE], "mbpg") == 24
    assert sample_efficiency.episodes_to_match([*ROWS, REFERENCE], "dyna") is None
    assert sample_efficiency.episodes_to_match(ROWS, "mbpg") is None  # nothing to match


def test_tables_and_picture_grow_with_the_runs(tmp_path: Path) -> None:
    output = tmp_path / "results"
    output.mkdir()
    pipeline.write(sample_efficiency.STUDY, "density-vacuum", ROWS, output)
    found = json.loads((output / "sample-efficiency.json").read_text())["density-vacuum"]
    assert found["real_episodes_to_match"] is None
    pipeline.write(sample_efficiency.STUDY, "density-vacuum", [REFERENCE], output)
    found = json.loads((output / "sample-efficiency.json").read_text())["density-vacuum"]
    assert found["real_episodes_to_match"] == found["real_episodes_to_match_mbpg"] == 24
    assert [r["name"] for r in found["rows"]] == ["td3", "mbpg-10", "mbpg-24", "mbpg-73", "dyna-24"]
    lines = (output / "sample-efficiency-density-vacuum.md").read_text().splitlines()
    assert [line.split()[1] for line in lines[2:]] == [r["name"] for r in found["rows"]]
    picture = tmp_path / "images" / "sample-efficiency-density-vacuum.png"
    assert picture.stat().st_size > 10_000
