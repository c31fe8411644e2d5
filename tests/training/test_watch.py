"""Failure signatures: each is provoked, said once, and silent where nothing is wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from test_diagnosis import with_agent
from test_loop import train
from toy import Step, ToyEnv, toy_config

from hypemarl.agents.policy import Probe
from hypemarl.algorithms.td3.learner import OffPolicy
from hypemarl.config import Config, to_dict
from hypemarl.training.progress import Progress
from hypemarl.training.records import read_metrics
from hypemarl.training.watch import Watch, look


def warnings_of(path: Path) -> list[str]:
    return [line["warning"] for line in read_metrics(path) if line["kind"] == "warning"]


class Pushed(ToyEnv):
    """Every agent is paid for pushing as hard as it can, whatever it sees."""

    def step_arrays(self, actions: np.ndarray) -> Step:
        step = super().step_arrays(actions)
        return dataclasses.replace(step, rewards=4.0 * actions[:, 0])


def test_a_sound_run_gives_no_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for scheme in ("hypemarl", "marl", "fups-id", "nops"):
        summary = train(with_agent(toy_config(), scheme=scheme), tmp_path / scheme)
        assert summary["warned"] == warnings_of(tmp_path / scheme) == []
    assert "warning" not in capsys.readouterr().err


def test_agents_that_are_driven_against_their_bounds_act_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = {"actor_rate": 0.05, "critic_rate": 0.02, "average_rate": 0.5}
    config = with_agent(toy_config(episodes=40, validation_every=5), **rates)
    train(config, tmp_path, make_env=Pushed)
    assert warnings_of(tmp_path) == ["agents-alike"]
    assert "all agents act alike although their positions differ" in capsys.readouterr().err
    train(with_agent(config, scheme="marl"), tmp_path / "marl", make_env=Pushed)
    assert warnings_of(tmp_path / "marl") == []  # it has no places to differ by


def test_one_agent_alone_is_like_nobody() -> None:
    def actions(observations: torch.Tensor, mu: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(observations)

    def seen(count: int) -> list[str]:
        probe = Probe(torch.randn(2, count, 3, 1), torch.zeros(2, 1), torch.ones(2, 3))
        method = SimpleNamespace(probe=lambda: probe, agent=SimpleNamespace(actor=actions))
        return seen_by_watch(lambda watch: look(watch, method, describe=False))

    assert seen(1) == []
    assert seen(2) == ["agents-alike"]


def runaway() -> Config:
    rates = {"critic_rate": 3.0, "tau": 1.0, "gamma": 0.9, "gradient_clip": 0.0, "huber": False}
    return with_agent(toy_config(episodes=12), **rates)


def test_a_critic_that_runs_away_is_reported_once_also_after_a_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = runaway()
    train(with_agent(toy_config(episodes=6), **to_dict(config.agent)), tmp_path)
    assert warnings_of(tmp_path) == ["critic-diverges"]
    error = capsys.readouterr().err
    assert "the critics run off" in error
    assert "agent.critic_rate" in error
    summary = train(config, tmp_path, resume=True)
    assert summary["warned"] == warnings_of(tmp_path) == ["critic-diverges"]
    assert "the critics run off" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("losses", "warns"),
    [
        ({"q_mean": -19.0, "critic_loss": 3.0, "value_bound": 10.0}, False),
        ({"q_mean": -21.0, "critic_loss": 3.0, "value_bound": 10.0}, True),
        ({"q_mean": 0.0, "critic_loss": 79.0, "value_bound": 10.0}, True),
        ({"q_mean": 0.0, "critic_loss": 77.0, "value_bound": 10.0}, False),
        ({"q_mean": 0.8, "critic_loss": 1.0, "value_bound": 0.01}, False),  # a fresh critic
        ({"q_mean": 1e9, "critic_loss": 1e9, "value_bound": np.inf}, False),  # gamma 1
        ({"actor_loss": 1e9}, False),  # no critic
    ],
)
def test_values_are_held_against_what_rewards_allow(losses: dict, warns: bool) -> None:
    assert (seen_by_watch(lambda watch: watch.losses(losses)) == ["critic-diverges"]) == warns


@pytest.mark.parametrize(("failures", "warns"), [(9, False), (10, True), (0, False)])
def test_a_beginning_in_vain_is_reported_once(failures: int, warns: bool) -> None:
    progress, said = Progress(episode=10, failures=failures, failure="diverged"), []
    watch = Watch(toy_config(), lambda: progress, lambda kind, **line: said.append(line["text"]))
    watch.failures()
    watch.failures()
    assert [text.endswith("The last one: diverged") for text in said] == [True] * warns


def seen_by_watch(show: Any, best: float = 1.0) -> list[str]:
    progress, recorded = Progress(best_cost=best), []
    watch = Watch(toy_config(), lambda: progress, lambda kind, **line: recorded.append(line))
    show(watch)
    show(watch)
    return [line["warning"] for line in recorded]


@pytest.mark.parametrize(
    ("error", "imagined", "real", "warns"),
    [
        (0.02, 0.9, 1.5, True),
        (0.5, 0.9, 1.5, False),  # the surrogate itself is poor
        (0.02, 1.3, 1.5, False),  # it says so
        (0.02, 0.9, 1.1, False),  # within the noise
    ],
)
def test_a_good_surrogate_with_a_worse_policy(
    error: float, imagined: float, real: float, warns: bool
) -> None:
    losses = {"surrogate_error": error, "imagined_cost": imagined}

    def show(watch: Watch) -> None:
        watch.losses(losses)
        watch.validated(real)

    assert (seen_by_watch(show) == ["surrogate-misleads"]) == warns
    assert seen_by_watch(lambda watch: watch.validated(real)) == []
    assert seen_by_watch(show, best=np.inf) == []  # the first validation of a run


def test_a_method_reports_its_surrogate_by_its_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = OffPolicy.collect

    def misled(self: OffPolicy, *arguments: Any) -> Any:
        results, losses = collect(self, *arguments)
        return results, losses | {"surrogate_error": 0.01, "imagined_cost": 0.0}

    class Worsening(ToyEnv):  # the same actions cost more and more
        def step_arrays(self, actions: np.ndarray) -> Step:
            step = super().step_arrays(actions)
            step.info["cost"] *= 1.1**self.episodes
            return step

    monkeypatch.setattr(OffPolicy, "collect", misled)
    train(toy_config(), tmp_path, make_env=Worsening)
    assert warnings_of(tmp_path) == ["surrogate-misleads"]
