"""The surrogate of finished runs, on and off the policy's distribution."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import train_here

from hypemarl import mpi
from hypemarl.algorithms.model_based.errors import surrogate_errors
from hypemarl.algorithms.model_based.surrogate import Given
from hypemarl.algorithms.model_based.world_model import WorldModel
from hypemarl.cli import main
from hypemarl.config import ConfigError
from hypemarl.coupling.local_model import require_local_model
from hypemarl.envs import make
from hypemarl.studies import pipeline, sample_efficiency, surrogate
from hypemarl.training import checkpoint, evaluation
from hypemarl.training.learner import algorithm_of
from hypemarl.training.records import RunFolder
from hypemarl.training.summary import trained_policy

QUICK = (
    "training.episodes=5",
    "training.random_episodes=3",
    "agent.surrogate.first_fits=30",
    "agent.surrogate.fits=10",
    "agent.surrogate.first_updates=5",
    "agent.surrogate.updates=2",
    "agent.surrogate.every=2",
    "agent.surrogate.imagined_per_real=1",
)


def one_step_error(run: Path, episodes: int) -> float:
    """By hand, of the policy's own episodes, whose only state is the patches' mean density."""
    folder = RunFolder(run)
    config = folder.read_config()
    env = make(config.env)
    policy, _ = trained_policy(folder, env, config, mpi.world())
    local, spec = require_local_model(env.plant), env.agent_spec
    options: Any = config.agent.of(algorithm_of(config).options)
    model = WorldModel(local, spec, options, config.seed, torch.device("cpu"))
    model.load_state_dict(checkpoint.load(folder.best)["agent"]["model"])
    nothing = Given(*(torch.zeros(1, 1, 4, 0) for _ in Given._fields))  # that the fluxes read
    (column,), length = local.state, options.memory + 1
    wrong = changed = 0.0
    for row in evaluation.fixed_set(env, episodes, "held-out"):
        episode = env.reset_arrays(row)
        observations, past = episode.observations, [episode.observations[:, column]] * length
        for _ in range(config.env.control_steps):
            actions = policy(observations, episode.mu)
            history = torch.tensor(np.stack(past[-length:], axis=1))[None, None, :, :, None]
            unit = torch.tensor(actions / spec.action_half_range)[None, None]
            with torch.no_grad():
                guess = model.surrogate.dynamics(history.float(), unit.float(), nothing)
            observations = np.array(env.step_arrays(actions).observations)
            past.append(observations[:, column])
            wrong += float(np.square(guess.numpy().ravel() - past[-1]).sum())
            changed += float(np.square(past[-1] - past[-2]).sum())
    return float((wrong / changed) ** 0.5)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("runs")
    entries = pipeline.chosen(sample_efficiency.entries("density-1d"), ["mbpg-10", "dyna-10"])
    return folder, train_here(entries, [0], folder, *QUICK)


def test_errors_are_those_of_single_steps_and_of_whole_episodes(
    finished: tuple[Path, list[str]],
) -> None:
    run = finished[0] / "density-1d" / "mbpg-10" / "seed0"
    found = surrogate_errors(run, episodes=2)
    assert list(found) == ["policy", "uncontrolled", "hand_made", "random"]
    own = found["policy"]
    assert own["surrogate_error"] == pytest.approx(one_step_error(run, 2), rel=1e-3)
    assert len(own["by_step"]) == 8
    assert own["by_step"][-1] == pytest.approx(own["surrogate_rollout_error"])
    assert len({errors["surrogate_error"] for errors in found.values()}) == 4


def test_the_experiment_reports_policies_and_seeds(
    finished: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder, overrides = finished
    settings: dict[str, Any] = {"seeds": [0], "jobs": 1, "folder": folder, "overrides": overrides}
    settings |= {"names": ["dyna-10", "mbpg-10"], "progress": False}
    output = tmp_path / "results"
    output.mkdir()
    plan = pipeline.Plan("density-1d", **settings)
    rows = pipeline.make(surrogate.STUDY, plan, output)
    expected = surrogate_errors(
        folder / "density-1d" / "dyna-10" / "seed0", episodes=surrogate.EPISODES
    )
    by_name = {row["name"]: row for row in rows}
    for name, errors in expected.items():
        row = by_name[f"dyna-10: {name}"]
        assert row["surrogate_cost_error"] == pytest.approx(errors["surrogate_cost_error"])
    entry = json.loads((output / "surrogate.json").read_text())["density-1d"]
    stored = [row["name"] for row in entry["rows"]]
    assert stored[0] == "mbpg-10: policy"
    assert len(stored) == 8
    assert (tmp_path / "images" / "surrogate-density-1d.png").stat().st_size > 10_000
    plan = pipeline.Plan("density-1d", **(settings | {"names": ["td3"]}))
    with pytest.raises(ConfigError, match=r"unknown variants \['td3'\]"):  # it has no surrogate
        pipeline.make(surrogate.STUDY, plan, output)


@pytest.mark.parametrize("name", ["mbpg-10", "dyna-10"])
def test_diagnose_tells_of_the_surrogate(
    finished: tuple[Path, list[str]], tmp_path: Path, name: str
) -> None:
    run, file = finished[0] / "density-1d" / name / "seed0", tmp_path / "found.json"
    assert main(["diagnose", str(run), "--episodes", "2", "--json", str(file)]) == 0
    row = json.loads(file.read_text())
    expected = surrogate_errors(run, episodes=2)
    for policy, errors in expected.items():
        assert row[f"{policy}_surrogate_error"] == pytest.approx(errors["surrogate_error"])
    assert ("conflict_cosine" in row) == (name == "dyna-10")  # whose critics know a gradient
    assert row["diversity"] > 0.0


def test_runs_without_a_surrogate_are_refused(tmp_path: Path) -> None:
    train_here([sample_efficiency.REFERENCE], [0], tmp_path)
    with pytest.raises(ConfigError, match="learned by td3, which has no surrogate"):
        surrogate_errors(tmp_path / "density-1d" / "td3" / "seed0")
