"""``hypemarl train`` over several seeds, on the toy environment: stopped, resumed, refused."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_loop import assert_equal, stored, without_seconds
from toy import ToyEnv, toy_config

from hypemarl import cli, envs
from hypemarl.cli import demo, handlers
from hypemarl.config import load_file, to_yaml
from hypemarl.studies import pipeline
from hypemarl.studies.pipeline import Plan
from hypemarl.training.jobs import Job, complete_jobs, continue_flags
from hypemarl.training.loop import train
from hypemarl.training.records import RunFolder, read_metrics

Hook = Callable[[int, int], Any]
BEFORE_TRAINING = 3  # episodes of the toy that measure the uncontrolled cost


class Toys:
    """Makes toys for the command, with what is to happen in the ``number``-th of them."""

    def __init__(self) -> None:
        self.made = 0
        self.on_step: dict[int, Hook] = {}
        self.fails: Callable[[int, int], bool] = lambda episode, step: False

    def __call__(self, config: Any, comm: Any = None) -> ToyEnv:
        env = ToyEnv(config, comm)
        env.on_step = self.on_step.get(self.made, env.on_step)
        env.fail_at = self.fails
        self.made += 1
        return env


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Toys:
    made = Toys()
    monkeypatch.setattr(envs, "make", made)
    monkeypatch.chdir(tmp_path)
    quick = {"episodes": 4, "random_episodes": 1, "updates_per_step": 0.4}
    config = replace(toy_config(**quick), scenario="density-1d")
    (tmp_path / "toy.yaml").write_text(to_yaml(config))
    return made


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], toys: Toys) -> Callable[..., tuple[int, str]]:
    def run(*arguments: object) -> tuple[int, str]:
        given = [str(argument) for argument in arguments]
        if given[0] == "train":
            given.append("--quiet")
        status = cli.main(given)
        captured = capfd.readouterr()
        return status, captured.out + captured.err

    return run


def episodes(run: str) -> int:
    return int(read_metrics(run)[-1]["episode"])


def interrupt_in(episode: int) -> Hook:
    """Ctrl-C in a training episode (from 1) of a toy that validates at every second one."""
    validations = 3 * max(0, (episode - 1) // 2)
    number = BEFORE_TRAINING + episode + validations
    return lambda now, step: (
        os.kill(os.getpid(), signal.SIGINT) if (now, step) == (number, 2) else None
    )


@pytest.mark.parametrize("episode", [2, 4])
def test_ctrl_c_ends_the_command_and_resume_goes_on_with_all_seeds(
    episode: int, command: Any, toys: Toys
) -> None:
    """Also in the last episode of a seed, after which nothing of it is left to do."""
    toys.on_step[0] = interrupt_in(episode)
    seeds = ("train", "toy.yaml", "--seeds", 0, 1, "--run")
    status, out = command(*seeds, "r")
    assert status == 130
    assert "the same command with --resume goes on from r/seed0 and begins r/seed1" in out
    assert episodes("r/seed0") == episode
    assert not RunFolder("r/seed1").exists()
    assert command(*seeds, "r", "--resume")[0] == 0
    assert command(*seeds, "whole")[0] == 0
    for seed in ("seed0", "seed1"):
        assert without_seconds(Path("r", seed)) == without_seconds(Path("whole", seed))
        assert_equal(stored(Path("r", seed)), stored(Path("whole", seed)))


def test_ctrl_c_before_anything_is_saved_begins_again(command: Any, toys: Toys) -> None:
    """While the uncontrolled cost is measured: no episode of training follows."""
    toys.on_step[0] = lambda now, step: (
        os.kill(os.getpid(), signal.SIGINT) if (now, step) == (1, 1) else None
    )
    status, out = command("train", "toy.yaml", "--run", "r")
    assert status == 130
    assert "the same command with --resume begins r" in out
    assert read_metrics("r") == []
    assert command("train", "toy.yaml", "--run", "r", "--resume")[0] == 0
    assert episodes("r") == 4


def test_resume_begins_the_seeds_that_are_missing(command: Any) -> None:
    assert command("train", "toy.yaml", "--episodes", 2, "--run", "r/seed0")[0] == 0
    status, out = command("train", "toy.yaml", "--seeds", 0, 1, "--run", "r", "--resume")
    assert status == 0, out
    assert [episodes("r/seed0"), episodes("r/seed1")] == [4, 4]


def test_resume_of_nothing_is_refused(command: Any, toys: Toys) -> None:
    status, out = command("train", "toy.yaml", "--seeds", 0, 1, "--run", "r", "--resume")
    assert (status, toys.made) == (2, 0)
    assert "r/seed0, r/seed1: nothing to resume" in out


def test_seeds_with_other_settings_are_refused_before_any_goes_on(command: Any, toys: Toys) -> None:
    seeds = ("train", "toy.yaml", "--seeds", 0, 1, "--run", "r")
    assert command(*seeds)[0] == 0
    again = ("train", "toy.yaml", "--set", "agent.gamma=0.7", "--run", "r/seed1", "--seed", 1)
    assert command(*again, "--overwrite")[0] == 0
    made = toys.made
    status, out = command(*seeds, "--resume", "--episodes", 6)
    assert (status, toys.made) == (2, made)
    assert "r/seed1" in out
    assert "agent.gamma is 0.7 there, 0.5 here" in out
    assert episodes("r/seed0") == 4


@pytest.mark.parametrize("parallel", [1, 2])
def test_an_occupied_folder_is_refused_before_any_seed_trains(
    parallel: int, command: Any, toys: Toys
) -> None:
    assert command("train", "toy.yaml", "--run", "r/seed1")[0] == 0
    made = toys.made
    status, out = command("train", "toy.yaml", "--seeds", 0, 1, "--run", "r", "--jobs", parallel)
    assert (status, toys.made) == (2, made)
    assert "r/seed1 already holds a run" in out
    assert not Path("r/seed0").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seeds", 3, 3, 4), "--seeds 3 3 4: expected each seed once; 3 is there 2 times"),
        (("--seeds", 3, 4, "--set", "seed=9"), "--seeds and --set seed=... exclude each other"),
        (("--seed", 3, "--set", "seed=9"), "--seed and --set seed=... exclude each other"),
    ],
)
def test_seeds_that_contradict_are_refused(
    arguments: tuple[Any, ...], message: str, command: Any, toys: Toys
) -> None:
    status, out = command("train", "toy.yaml", *arguments, "--run", "r")
    assert (status, toys.made) == (2, 0)
    assert message in out
    assert out.count("\n") == 1
    assert not Path("r").exists()


def test_one_seed_by_either_option(command: Any) -> None:
    assert command("train", "toy.yaml", "--set", "seed=9", "--run", "set")[0] == 0
    assert command("train", "toy.yaml", "--seeds", 9, "--run", "seeds")[0] == 0
    assert RunFolder("set").read_config().seed == 9
    assert without_seconds(Path("set")) == without_seconds(Path("seeds"))


def test_resume_takes_the_stored_settings(command: Any) -> None:
    changed = ("--set", "agent.gamma=0.7", "--seed", 5)
    assert command("train", "toy.yaml", *changed, "--episodes", 2, "--run", "r")[0] == 0
    config = RunFolder("r").read_config()
    status, out = command("train", "--resume", "--run", "r", "--episodes", 3)
    assert status == 0, out
    assert episodes("r") == 3
    found = RunFolder("r").read_config()
    assert found == replace(config, training=replace(config.training, episodes=3))
    status, out = command("train", "--resume", "--run", "r", "--set", "agent.gamma=0.6")
    assert status == 2
    assert "agent.gamma is 0.7 there, 0.6 here" in out
    assert RunFolder("r").read_config() == found


def test_resume_of_a_folder_takes_the_runs_in_it(command: Any) -> None:
    seeds = ("train", "toy.yaml", "--seeds", 0, 1, "--episodes", 2, "--run", "r")
    assert command(*seeds)[0] == 0
    assert command("train", "--resume", "--run", "r", "--episodes", 3)[0] == 0
    assert [episodes("r/seed0"), episodes("r/seed1")] == [3, 3]
    status, out = command("train", "--resume", "--run", "r", "--seeds", 1, 2, "--episodes", 3)
    assert status == 0, out
    assert [RunFolder(f"r/seed{k}").read_config().seed for k in range(3)] == [0, 1, 2]
    assert episodes("r/seed2") == 3
    status, out = command("train", "--resume", "--run", "elsewhere")
    assert status == 2
    assert "elsewhere: nothing to resume: expected a config.yaml" in out


def test_a_run_whose_every_episode_fails_says_why(command: Any, toys: Toys) -> None:
    toys.fails = lambda episode, step: episode > BEFORE_TRAINING and step == 2
    status, out = command("train", "toy.yaml", "--run", "r")
    assert status == 3
    assert "r: every one of 4 episodes failed, the last one at toy diverged" in out
    assert "at episode 0" not in out
    status, out = command("train", "toy.yaml", "--run", "r", "--resume")
    assert status == 3  # it still is such a run
    status, out = command("evaluate", "r")
    assert status == 3
    assert "r: 4 of 4 episodes failed, the last one at toy diverged" in out
    status, out = command("compare", "r", "--output", "curves.png")
    assert status == 3
    assert "1 of 1 runs have no validation with a finite cost" in out
    assert not Path("curves.png").exists()


def test_a_kept_run_whose_every_episode_failed_is_reported_again(
    toys: Toys, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sound, failed = (Job(load_file("toy.yaml"), Path(name)) for name in ("sound", "failed"))
    train(sound.config, sound.run_dir, progress=False)
    toys.fails = lambda episode, step: episode > BEFORE_TRAINING and step == 2
    train(failed.config, failed.run_dir, progress=False)
    finished = (sound, failed)
    assert all(continue_flags(job.config, job.run_dir) is None for job in finished)
    (sentence,) = complete_jobs(finished, 1, progress=False)
    assert sentence.startswith("failed: every one of 4 episodes failed, the last one at toy")
    assert sentence in capsys.readouterr().err
    monkeypatch.setattr(demo, "compare", lambda folder, runs: [])
    monkeypatch.setattr(demo, "draw", lambda folder, runs: [])
    monkeypatch.setattr("hypemarl.training.table.columns", lambda rows: {})
    monkeypatch.setattr(handlers, "table_text", lambda rows, headings: "")
    for jobs, status in (([sound], 0), ([sound, failed], 3)):
        monkeypatch.setattr(demo, "demo_jobs", lambda *_, jobs=jobs: jobs)
        assert cli.main(["demo", "--run", "d", "--quiet"]) == status

        def make(study: Any, plan: Plan, output: Path, jobs: list[Job] = jobs) -> list[Any]:
            plan.in_vain.extend(complete_jobs(jobs, plan.jobs, progress=False))
            return []

        monkeypatch.setattr(pipeline, "make", make)
        assert cli.main(["experiment", "ablation", "--quiet"]) == status


def test_a_run_with_a_sound_episode_is_no_failure(command: Any, toys: Toys) -> None:
    toys.fails = lambda episode, step: BEFORE_TRAINING + 1 < episode < 20 and step == 2
    status, out = command("train", "toy.yaml", "--run", "r")
    assert status == 0, out
    toys.fails = lambda episode, step: False
    status, out = command("evaluate", "r")
    assert status == 0
    assert "failed" not in out
    toys.fails = lambda episode, step: episode == 13 and step == 2  # of the policy's four
    status, out = command("evaluate", "r")
    assert status == 0
    assert "r: 1 of 4 episodes failed, the last one at toy diverged" in out
