from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy import LateFailures, ToyEnv, toy_config

from hypemarl import config as configuration
from hypemarl.training import checkpoint, loop
from hypemarl.training.checkpoint import CheckpointError
from hypemarl.training.jobs import continue_flags
from hypemarl.training.progress import TrainingError
from hypemarl.training.records import RunError, RunFolder, read_metrics


def train(config: Any, path: Path, make_env: Any = ToyEnv, **options: Any) -> dict[str, Any]:
    return loop.train(config, path, make_env=make_env, progress=False, **options)


def without_seconds(path: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in read_metrics(path)]


def assert_equal(one: Any, other: Any, where: str = "") -> None:
    """Equal to the last bit, tensors included."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for name in one:
            assert_equal(one[name], other[name], f"{where}/{name}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f"{where}/{number}")
    else:
        assert one == other, where


def stored(path: Path) -> dict[str, Any]:
    content = checkpoint.load(RunFolder(path).last)
    content["progress"].pop("seconds")
    content["config"]["training"].pop("episodes")
    return content


def test_a_run_leaves_its_records(tmp_path: Path) -> None:
    config = toy_config(tensorboard=True)
    summary = train(config, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    metrics = read_metrics(folder.path)
    kinds = [line["kind"] for line in metrics]
    assert (kinds.count("episode"), kinds.count("update"), kinds.count("validation")) == (8, 6, 4)
    assert summary["episode"] == 8
    assert summary["step"] == 40
    assert summary["updates"] == 30
    assert not summary["interrupted"]
    assert folder.read_config() == config
    assert list(folder.tensorboard.glob("events*"))
    validations = {line["episode"]: line for line in metrics if line["kind"] == "validation"}
    best = min(validations.values(), key=lambda line: line["cost"])
    assert summary["best_cost"] == best["cost"]
    assert checkpoint.load(folder.best)["progress"]["episode"] == best["episode"]


def test_a_worse_validation_does_not_replace_the_best(tmp_path: Path) -> None:
    summary = train(toy_config(), tmp_path, make_env=LateFailures)
    validations = [line for line in read_metrics(tmp_path) if line["kind"] == "validation"]
    assert [line["cost"] is None for line in validations] == [False, False, False, True]
    assert summary["best_episode"] < 8
    folder = RunFolder(tmp_path)
    assert checkpoint.load(folder.best)["progress"]["episode"] == summary["best_episode"]


def test_training_improves_on_doing_nothing(tmp_path: Path) -> None:
    settings = configuration.to_dict(toy_config(episodes=100, random_episodes=20))
    settings["training"]["validation_every"] = 20
    settings["agent"] |= {"hyper_width": 16, "actor_rate": 1e-3, "critic_rate": 5e-3}
    settings["agent"] |= {"average_rate": 0.05, "tau": 0.02, "batch_episodes": 8}
    summary = train(configuration.from_dict(settings), tmp_path)
    assert summary["best_cost"] < 0.5 * summary["uncontrolled"]


def test_resume_equals_the_uninterrupted_run(tmp_path: Path) -> None:
    train(toy_config(episodes=12), tmp_path / "whole")
    train(toy_config(episodes=6), tmp_path / "parts")
    train(toy_config(episodes=12), tmp_path / "parts", resume=True)
    assert_equal(stored(tmp_path / "parts"), stored(tmp_path / "whole"))
    assert without_seconds(tmp_path / "parts") == without_seconds(tmp_path / "whole")


def test_resume_after_a_kill_repeats_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def dying_env(config: Any, comm: Any) -> ToyEnv:
        env = ToyEnv(config, comm)

        def die(episode: int, step: int) -> None:
            if episode == 19 and step == 3:  # in training episode 7, checkpoints at 4 and 8
                raise Killed

        env.on_step = die
        return env

    train(toy_config(), tmp_path / "whole")
    with pytest.raises(Killed):
        train(toy_config(), tmp_path / "parts", make_env=dying_env)
    assert checkpoint.load(RunFolder(tmp_path / "parts").last)["progress"]["episode"] == 4
    assert read_metrics(tmp_path / "parts")[-1]["episode"] == 6
    train(toy_config(), tmp_path / "parts", resume=True)
    assert_equal(stored(tmp_path / "parts"), stored(tmp_path / "whole"))
    assert without_seconds(tmp_path / "parts") == without_seconds(tmp_path / "whole")


def test_ctrl_c_finishes_the_episode_and_saves_it(tmp_path: Path) -> None:
    def interrupting_env(config: Any, comm: Any) -> ToyEnv:
        env = ToyEnv(config, comm)
        # 3 uncontrolled validation episodes, 2 random ones, 3 of validation, then the third
        env.on_step = lambda episode, step: (
            os.kill(os.getpid(), signal.SIGINT) if (episode, step) == (9, 2) else None
        )
        return env

    handler = signal.getsignal(signal.SIGINT)
    summary = train(toy_config(), tmp_path / "parts", make_env=interrupting_env)
    assert signal.getsignal(signal.SIGINT) is handler
    assert summary["interrupted"]
    assert summary["episode"] == 3
    train(toy_config(), tmp_path / "parts", resume=True)
    train(toy_config(), tmp_path / "whole")
    assert_equal(stored(tmp_path / "parts"), stored(tmp_path / "whole"))


def test_seeds_decide_the_run(tmp_path: Path) -> None:
    train(toy_config(), tmp_path / "a")
    train(toy_config(), tmp_path / "b")
    train(dataclasses.replace(toy_config(), seed=1), tmp_path / "c")
    assert without_seconds(tmp_path / "a") == without_seconds(tmp_path / "b")
    assert without_seconds(tmp_path / "a") != without_seconds(tmp_path / "c")


def test_a_failed_step_is_recorded_and_not_learned(tmp_path: Path) -> None:
    def failing_env(config: Any, comm: Any) -> ToyEnv:
        env = ToyEnv(config, comm)
        env.fail_at = lambda episode, step: (
            (episode == 4 and step == 1) or (episode == 5 and step == 3)
        )
        return env

    summary = train(toy_config(validation_every=4), tmp_path, make_env=failing_env)
    failures = [line for line in read_metrics(tmp_path) if line["kind"] == "failure"]
    assert [(line["episode"], line["length"]) for line in failures] == [(1, 0), (2, 2)]
    assert failures[0]["failure"] == "toy diverged"
    assert summary["failures"] == 2
    lengths = checkpoint.load(RunFolder(tmp_path).last)["replay"]["lengths"]
    assert lengths.tolist() == [2, 5, 5, 5, 5, 5, 5]


def test_an_occupied_folder_is_refused(tmp_path: Path) -> None:
    train(toy_config(), tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"--resume.*--overwrite"):
        train(toy_config(), tmp_path)
    train(toy_config(), tmp_path, overwrite=True)
    assert len([line for line in read_metrics(tmp_path) if line["kind"] == "episode"]) == 8
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_resume_refuses_another_configuration(tmp_path: Path) -> None:
    train(toy_config(), tmp_path)
    other = configuration.to_dict(toy_config())
    other["agent"]["gamma"] = 0.75
    with pytest.raises(CheckpointError, match=r"agent\.gamma is 0\.5 there, 0\.75 here"):
        train(configuration.from_dict(other), tmp_path, resume=True)


def test_resume_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing to resume"):
        train(toy_config(), tmp_path / "none", resume=True)


def test_the_environment_is_closed_after_an_error(tmp_path: Path) -> None:
    made: list[ToyEnv] = []

    def broken_env(config: Any, comm: Any) -> ToyEnv:
        made.append(ToyEnv(config, comm))
        made[0].sample_parameters = lambda generator: np.array([])  # type: ignore[method-assign]
        return made[0]

    with pytest.raises(IndexError):
        train(toy_config(), tmp_path, make_env=broken_env)
    assert made[0].closed


def test_networks_that_leave_the_numbers_stop_the_run(tmp_path: Path) -> None:
    def nan_update(self: Any, replay: Any) -> dict[str, float]:
        raise FloatingPointError("the gradient of the critic is nan")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hypemarl.algorithms.td3.agent.TD3.update", nan_update)
        with pytest.raises(TrainingError, match="episode 3.*critic is nan"):
            train(toy_config(), tmp_path)


def test_a_finished_run_is_known(tmp_path: Path) -> None:
    assert continue_flags(toy_config(), tmp_path) == ["--overwrite"]
    train(toy_config(), tmp_path)
    assert continue_flags(toy_config(), tmp_path) is None
    assert continue_flags(toy_config(episodes=9), tmp_path) == ["--resume"]


def test_torch_threads_are_limited_while_training_only(tmp_path: Path) -> None:
    seen: list[int] = []

    class Watching(ToyEnv):
        def step_arrays(self, actions: np.ndarray) -> Any:
            seen.append(torch.get_num_threads())
            return super().step_arrays(actions)

    before = torch.get_num_threads()
    config = toy_config()
    training = dataclasses.replace(config.training, threads=before + 1)
    train(dataclasses.replace(config, training=training), tmp_path / "run", Watching)
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before
