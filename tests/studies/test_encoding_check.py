"""Distances between policies: over distances of places, and collapse where there are no codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small import train_here

from hypemarl.studies import encoding, pipeline
from hypemarl.studies.pipeline import jobs_of


@pytest.mark.parametrize("scenario", ["density-1d", "density-vacuum"])
def test_every_encoder_loads(scenario: str) -> None:
    jobs = jobs_of(scenario, encoding.ENTRIES, [1], Path("runs"))
    assert len({repr(job.config) for job in jobs}) == len(encoding.ENTRIES) == 4


def test_pairs_at_like_distance_are_pooled() -> None:
    positions = np.array([[0.0], [1.0], [2.0], [3.0]])
    distances = np.abs(positions - positions.T) ** 2  # of the policies
    found = encoding.by_distance(positions, distances)
    np.testing.assert_allclose(found, [[1.0, 1.0], [2.0, 4.0], [3.0, 9.0]])
    np.testing.assert_allclose(encoding.by_distance(positions, distances, bins=2)[:, 0], [1.4, 3.0])


def test_runs_without_codes_collapse_and_others_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYPEMARL_CACHE", str(tmp_path / "cache"))
    entries = pipeline.chosen(encoding.ENTRIES, ["one-hot", "none"])
    overrides = train_here(entries, [0], tmp_path / "runs")
    plan = pipeline.Plan(
        "density-1d",
        seeds=[0],
        jobs=1,
        folder=tmp_path / "runs",
        names=["one-hot", "none"],
        overrides=overrides,
        progress=False,
    )
    output = tmp_path / "results"
    output.mkdir()
    one_hot, none = pipeline.make(encoding.STUDY, plan, output)
    assert (one_hot["collapsed"], none["collapsed"]) == (0, 1)
    assert none["diversity"] < 1e-5 < 0.01 < one_hot["diversity"]
    assert none["observation_spread"] > 0.0
    curve = np.array(one_hot["by_distance"])  # four agents have pairs at three distances
    np.testing.assert_allclose(curve[:, 0], [0.5, 1.0, 1.5], rtol=1e-6)
    assert np.average(curve[:, 1], weights=[3, 2, 1]) == pytest.approx(one_hot["diversity"])
    stored = json.loads((output / "encoding.json").read_text())["density-1d"]["rows"]
    assert [row["name"] for row in stored] == ["one-hot", "none"]
    assert (tmp_path / "images" / "encoding-density-1d.png").stat().st_size > 10_000
