"""MB-HypeMARL through the training loop and the finite-element plants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from interrupted import assert_resume_equals_whole

from hypemarl import config as configuration
from hypemarl.config import Config, ConfigError
from hypemarl.envs import make
from hypemarl.training import loop, summary
from hypemarl.training.learner import label
from hypemarl.training.records import read_metrics

TINY = [
    "env.mesh.element_size=0.05",
    "env.agents=[4]",
    "env.control_steps=4",
    "env.horizon=1.0",
    "agent.encoding_size=8",
    "agent.hyper_width=16",
    "agent.actor_hidden=[8]",
    "agent.critic_hidden=[8]",
    "agent.surrogate.hidden=[16]",
    "agent.surrogate.batch=8",
    "agent.surrogate.first_fits=20",
    "agent.surrogate.fits=5",
    "agent.surrogate.every=2",
    "agent.surrogate.first_updates=5",
    "agent.surrogate.updates=2",
    "agent.surrogate.imagined_per_real=2",
    "training.tensorboard=false",
    "training.random_episodes=3",
    "training.validation_size=3",
    "training.validation_every=4",
    "training.checkpoint_every=4",
    "training.held_out_size=4",
]


def tiny(method: str, *overrides: str) -> Config:
    return configuration.load("density-1d", [*TINY, f"training.algorithm={method}", *overrides])


def train(config: Config, path: Path, make_env: Any = make, **options: Any) -> dict[str, Any]:
    return loop.train(config, path, make_env=make_env, progress=False, **options)


def test_a_dozen_real_episodes_recover_most_of_the_cost(tmp_path: Path) -> None:
    config = tiny(
        "mbpg",
        "env.agents=[10]",
        "training.episodes=12",
        "training.random_episodes=8",
        "agent.surrogate.first_fits=300",
        "agent.surrogate.first_updates=80",
        "agent.surrogate.policy_rate=5e-3",
    )
    result = train(config, tmp_path)
    assert result["best_cost"] < 0.8 * result["uncontrolled"]
    assert result["failures"] == 0


@pytest.mark.parametrize("method", ["mbpg", "dyna"])
def test_learning_happens_between_real_episodes(tmp_path: Path, method: str) -> None:
    result = train(tiny(method, "training.episodes=8"), tmp_path)
    lines = read_metrics(tmp_path)
    fits = [line["episode"] for line in lines if "surrogate_loss" in line]
    assert fits == [3, 5, 7]  # after the random ones, and with every second episode
    tested = [line["episode"] for line in lines if "surrogate_error" in line]
    assert tested == [4, 5, 6, 7, 8]  # each before it is learned from
    each = 5 + 2 + 2 if method == "mbpg" else 3 * 2 * 4 * (1 + 2)
    assert result["updates"] == each
    row = summary.evaluate_run(tmp_path)
    assert (row["scheme"], row["credit"], row["failures"]) == ("hypemarl", method, 0)
    assert label(tiny(method)) == method


@pytest.mark.parametrize("method", ["mbpg", "dyna"])
def test_resume_after_a_kill_equals_the_uninterrupted_run(tmp_path: Path, method: str) -> None:
    # two validations, second episode after the checkpoint
    assert_resume_equals_whole(tmp_path, tiny(method, "training.episodes=8"), 3 + 4 + 3 + 2)


def test_what_cannot_work_is_refused() -> None:
    for overrides, message in (
        (["training.episodes=3"], r"random_episodes \(3\) must be smaller"),
        (["agent.surrogate.window=5"], r"window \(5\) exceeds env.control_steps \(4\)"),
        (["agent.surrogate.cutoff=2"], "set agent.mbpg.ensemble to 2 or more"),
    ):
        with pytest.raises(ConfigError, match=message):
            configuration.check_training(tiny("mbpg", *overrides))
    with pytest.raises(ConfigError, match="take training.algorithm=mbpg"):
        configuration.check_training(
            configuration.load("flow-dissipation", ["training.algorithm=dyna"])
        )
