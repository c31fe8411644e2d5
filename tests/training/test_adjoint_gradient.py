from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from interrupted import assert_resume_equals_whole
from test_loop import assert_equal, stored

from hypemarl import config as configuration
from hypemarl.config import Config
from hypemarl.envs import make
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.training import checkpoint, loop, summary
from hypemarl.training.learner import label
from hypemarl.training.records import RunFolder, read_metrics

TINY = [
    "training.algorithm=apg",
    "env.mesh.element_size=0.05",
    "env.agents=[4]",
    "env.control_steps=4",
    "env.horizon=1.0",
    "agent.encoding_size=8",
    "agent.hyper_width=16",
    "agent.actor_hidden=[8]",
    "agent.critic_hidden=[8]",
    "training.tensorboard=false",
    "training.validation_size=3",
    "training.validation_every=4",
    "training.checkpoint_every=4",
    "training.held_out_size=4",
]
WINDOWS = ["agent.apg.window=2", "agent.apg.batch=3", "agent.apg.noise=0.1"]


def tiny(*overrides: str) -> Config:
    return configuration.load("density-1d", [*TINY, *overrides])


def train(config: Config, path: Path, make_env: Any = make, **options: Any) -> dict[str, Any]:
    return loop.train(config, path, make_env=make_env, progress=False, **options)


def test_a_short_training_recovers_most_of_the_cost(tmp_path: Path) -> None:
    config = tiny("training.episodes=80", "training.validation_every=40", "agent.apg.rate=5e-3")
    result = train(config, tmp_path)
    assert result["best_cost"] < 0.75 * result["uncontrolled"]
    assert result["updates"] == 80
    assert result["failures"] == 0


@pytest.mark.parametrize("options", [[], WINDOWS], ids=["whole", "windows"])
def test_resume_after_a_kill_equals_the_uninterrupted_run(
    tmp_path: Path, options: list[str]
) -> None:
    # two validations, third episode after the checkpoint
    config = tiny("training.episodes=10", *options)
    assert_resume_equals_whole(tmp_path, config, 3 + 4 + 3 + 3)


def test_records_of_windows(tmp_path: Path) -> None:
    result = train(tiny("training.episodes=6", *WINDOWS), tmp_path)
    lines = read_metrics(tmp_path)
    updates = [line for line in lines if line["kind"] == "update"]
    assert result["updates"] == 4  # 6 episodes of 2 windows, 3 windows to an update
    assert {"actor_loss", "actor_gradient", "actor_rate", "value_loss"} <= updates[-1].keys()
    episodes = [line for line in lines if line["kind"] == "episode"]
    assert [line["length"] for line in episodes] == [4] * 6
    for line in episodes:
        assert line["return_mean"] == pytest.approx(-line["cost"] / 4)


def test_an_episode_that_costs_too_much_is_recorded_and_not_learned_from(tmp_path: Path) -> None:
    config = tiny("training.episodes=3", "env.divergence_limit=1e-3")
    result = train(config, tmp_path)
    assert (result["failures"], result["updates"]) == (3, 0)
    failures = [line for line in read_metrics(tmp_path) if line["kind"] == "failure"]
    assert "above the limit 0.001" in failures[0]["failure"]


def test_an_episode_without_a_first_state_is_recorded_and_not_learned_from(tmp_path: Path) -> None:
    def second_reset_fails(config: Any, comm: Any) -> Any:
        env, calls = make(config, comm), []
        reset = env.plant.reset

        def counted(parameters: np.ndarray) -> np.ndarray:
            calls.append(parameters)
            if len(calls) == 2:
                raise SolverDiverged("no steady flow")
            return reset(parameters)

        env.plant.reset = counted
        return env

    config = tiny("training.episodes=4", "training.validation_every=0", *WINDOWS)
    result = train(config, tmp_path, second_reset_fails)
    assert (result["failures"], result["step"]) == (1, 12)
    lines = [line for line in read_metrics(tmp_path) if line["kind"] in ("episode", "failure")]
    assert [line["kind"] for line in lines] == ["episode", "failure", "episode", "episode"]
    assert lines[1]["failure"] == "no state to start from: no steady flow"


def test_a_run_is_evaluated_as_any_other(tmp_path: Path) -> None:
    config = tiny("training.episodes=4", "agent.scheme=marl")
    train(config, tmp_path)
    row = summary.evaluate_run(tmp_path)
    assert (row["scheme"], row["credit"], row["failures"]) == ("marl", "apg", 0)
    assert label(config) == "apg"
    assert np.isfinite(row["cost"])


def test_configurations_from_before_there_were_methods_mean_td3(tmp_path: Path) -> None:
    settings = configuration.to_dict(configuration.load("density-1d"))
    del settings["training"]["algorithm"]
    del settings["agent"]["apg"]
    folder = RunFolder(tmp_path)
    folder.config.write_text(yaml.safe_dump(settings))
    assert folder.read_config().training == configuration.load("density-1d").training
    checkpoint.check_config("old.pt", {"config": settings}, folder.read_config())
    with pytest.raises(checkpoint.CheckpointError, match=r"training.algorithm is 'td3' there"):
        checkpoint.check_config(
            "old.pt", {"config": settings}, configuration.load("density-1d", TINY[:1])
        )


IMITATE = [
    "training.algorithm=imitate",
    "agent.imitate.episodes=6",
    "agent.imitate.evaluations=15",
    "agent.imitate.updates=40",
    "agent.imitate.rate=3e-3",
]


def test_cloned_optima_are_a_start(tmp_path: Path) -> None:
    result = train(tiny("training.episodes=6", "training.validation_every=6", *IMITATE), tmp_path)
    assert result["best_cost"] < 0.85 * result["uncontrolled"]
    lines = read_metrics(tmp_path)
    updates = [line for line in lines if line["kind"] == "update"]
    assert updates[0]["optimum_evaluations"] <= 16
    shown = [line["cost"] for line in lines if line["kind"] == "episode"]
    assert np.mean(shown) < 0.6 * result["uncontrolled"]


def test_imitation_resumes_where_it_was(tmp_path: Path) -> None:
    """From one in the demonstrations, and over into adjoint gradients."""
    train(tiny("training.episodes=8", *IMITATE), tmp_path / "whole")
    for episodes in (6, 8):  # the rate falls with the share of the episodes, at 6 as at 8 still 0
        shorter = tiny(f"training.episodes={episodes}", *IMITATE)
        train(shorter, tmp_path / "parts", resume=episodes == 8)
    assert_equal(stored(tmp_path / "parts"), stored(tmp_path / "whole"))


def test_a_run_on_a_learned_reward(tmp_path: Path) -> None:
    options = ["training.algorithm=irl", "agent.irl.episodes=2", "training.random_episodes=2"]
    options += ["agent.irl.evaluations=8", "agent.credit=local", "agent.replay_episodes=10"]
    train(tiny("training.episodes=7", *options), tmp_path / "whole")
    lines = read_metrics(tmp_path / "whole")
    random = [line["random"] for line in lines if line["kind"] == "episode"]
    assert random == [False] * 2 + [True] * 2 + [False] * 3
    assert [line["episode"] for line in lines if line["kind"] == "validation"] == [4, 7]
    updates = [line for line in lines if line["kind"] == "update"]
    assert "optimum_evaluations" in updates[0]
    assert "reward_loss" in updates[-1]
    train(tiny("training.episodes=5", *options), tmp_path / "parts")
    train(tiny("training.episodes=7", *options), tmp_path / "parts", resume=True)
    assert_equal(stored(tmp_path / "parts"), stored(tmp_path / "whole"))
    assert summary.evaluate_run(tmp_path / "whole")["credit"] == "irl"
