"""Agents that move: where they are, whom they serve, and what does not depend on it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small import train_here

from hypemarl.config import ConfigError
from hypemarl.studies import encoding, moving_agents, pipeline
from hypemarl.studies.moving_agents import Motion, MovingPolicy
from hypemarl.training.summary import evaluate_run


def grid(steps: float = 0.25) -> Any:
    """Two by two agents in the square (-1, 1)^2."""
    places = np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]])
    return SimpleNamespace(
        positions=places, spacing=1.0, config=SimpleNamespace(control_interval=steps)
    )


def test_agents_go_straight_on_at_their_speed_and_are_reflected() -> None:
    motion = Motion(grid(), 0.4, episode=3)
    np.testing.assert_array_equal(motion.at(0), grid().positions)
    ways = np.linalg.norm(motion.at(2) - motion.at(0), axis=1)
    np.testing.assert_allclose(ways, 0.2)  # two intervals of 0.25, and no wall is near
    long = np.stack([motion.at(step) for step in range(400)])
    assert np.abs(long).max() <= 1.0
    assert np.abs(long).max() > 0.99
    jumps = np.linalg.norm(np.diff(long, axis=0), axis=2)
    assert jumps.max() <= 0.1 + 1e-12
    assert not np.allclose(motion.velocity, Motion(grid(), 0.4, episode=4).velocity)
    np.testing.assert_allclose(2 * motion.velocity, Motion(grid(), 0.8, episode=3).velocity)


def test_every_patch_is_served_by_one_agent() -> None:
    patches = grid().positions
    np.testing.assert_array_equal(
        moving_agents.serving(patches[[2, 0, 3, 1]], patches), [2, 0, 3, 1]
    )
    crowd = np.full((4, 2), 0.5) + 1e-3 * patches  # all at the last patch
    assert sorted(moving_agents.serving(crowd, patches)) == [0, 1, 2, 3]


def test_agents_answer_for_the_patch_that_they_are_at() -> None:
    patches = grid().positions
    placed = SimpleNamespace(at=lambda step: patches[[1, 2, 3, 0]])
    told: list[np.ndarray] = []

    def act(observations: np.ndarray, mu: np.ndarray) -> np.ndarray:
        return np.stack([10.0 * np.arange(4), observations[:, 0]], axis=1)  # who, and what it sees

    agent = SimpleNamespace(act=act, move_to=told.append)
    policy = MovingPolicy(agent, placed, patches, moved=True)
    actions = policy(np.arange(4.0)[:, None], np.zeros(1))
    np.testing.assert_array_equal(actions[:, 0], [30.0, 0.0, 10.0, 20.0])  # of patch 0: agent 3
    np.testing.assert_array_equal(actions[:, 1], np.arange(4.0))
    np.testing.assert_array_equal(told[0], patches[[1, 2, 3, 0]])


def test_failure_is_the_slowest_above_the_bound() -> None:
    table = [(0.0, 0.3), (0.1, 0.5), (0.2, 0.9), (0.4, 1.2)]
    assert moving_agents.fails_at(table, 0.8) == 0.2
    assert moving_agents.fails_at(table, 2.0) is None


def test_motion_in_finished_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At rest all is as in an evaluation; MARL does not notice motion, HypeMARL does."""
    monkeypatch.setenv("HYPEMARL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(moving_agents, "SPEEDS", (0.0, 0.8))
    names, runs = ["sinusoidal", "none"], tmp_path / "runs"
    entries = pipeline.chosen(encoding.ENTRIES, names)
    overrides = train_here(entries, [0], runs, "training.held_out_size=3")
    settings: dict[str, Any] = {"seeds": [0], "jobs": 1, "folder": runs, "names": names}
    settings |= {"overrides": overrides, "progress": False}
    output = tmp_path / "results"
    output.mkdir()
    plan = pipeline.Plan("density-1d", **settings)
    rows = pipeline.make(moving_agents.STUDY, plan, output)
    start, told, none = rows
    assert [row["name"] for row in rows] == [
        "sinusoidal",
        "sinusoidal" + moving_agents.MOVED,
        "none",
    ]
    rest = [evaluate_run(runs / "density-1d" / name / "seed0")["cost"] for name in names]
    assert start["cost_at_0"] == told["cost_at_0"] == pytest.approx(rest[0], rel=1e-6)
    assert none["cost_at_0"] == pytest.approx(rest[1], rel=1e-6)
    assert none["cost_at_0.8"] == pytest.approx(rest[1], rel=1e-5)
    alone = moving_agents.costs_of(runs / "density-1d" / "none" / "seed0", (0.8,), moved=False)
    assert none["median_at_0.8"] == pytest.approx(np.median(alone))
    moved = start["cost_at_0.8"], told["cost_at_0.8"], rest[0]
    assert len({round(cost, 8) for cost in moved}) == 3
    stored = json.loads((output / "moving-agents.json").read_text())["density-1d"]["rows"]
    assert [row["name"] for row in stored] == [row["name"] for row in rows]
    assert (tmp_path / "images" / "moving-agents-density-1d.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match="have no codes of their places"):
        moving_agents.costs_of(runs / "density-1d" / "none" / "seed0", (0.1,), moved=True)


@pytest.mark.parametrize("grid_of_agents", [None, (4,)])  # a ring, an open arc
def test_agents_on_an_arc_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grid_of_agents: tuple[int, ...] | None
) -> None:
    config = SimpleNamespace(env=None, scenario="flow-cylinder")
    folder = SimpleNamespace(read_config=lambda: config)
    places = grid().positions
    env = SimpleNamespace(grid=grid_of_agents, positions=places, close=lambda: None)
    monkeypatch.setattr(moving_agents, "RunFolder", lambda run: folder)
    monkeypatch.setattr(moving_agents, "make", lambda given: env)
    with pytest.raises(ConfigError, match="agents on a grid over the domain; flow-cylinder has"):
        moving_agents.costs_of(tmp_path, (0.0,), moved=False)
