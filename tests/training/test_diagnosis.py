"""Diagnostics of runs: on disk, on command, and through the plant's adjoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_adjoint_gradient import tiny
from test_loop import assert_equal, stored, train, without_seconds
from toy import ToyEnv, toy_config

from hypemarl import config as configuration
from hypemarl.agents import diagnostics
from hypemarl.algorithms.apg.agent import APG
from hypemarl.cli import main
from hypemarl.config import Config
from hypemarl.coupling.adjoint import require_adjoint
from hypemarl.envs import make
from hypemarl.optimal import bridge
from hypemarl.optimal.taped import TapedPlant
from hypemarl.training import diagnosis, loop
from hypemarl.training.records import read_metrics
from hypemarl.training.summary import evaluate_run, evaluate_runs
from hypemarl.training.table import flat

GRADIENTS = {
    "conflict_cosine",
    "conflict_negative",
    "gradient_variance",
    "gradient_noise",
    "observation_variance",
    "jacobian_gain",
    "cross_agent_share",
}
BEHAVIOUR = {"diversity", "diversity_relative", "weight_distance"}


def with_agent(config: Config, **changes: object) -> Config:
    settings = configuration.to_dict(config)
    settings["agent"] |= changes
    return configuration.from_dict(settings)


@pytest.mark.parametrize("scheme", ["hypemarl", "marl", "fups-id", "fups-id-no-state", "nops"])
def test_diagnosis_of_a_trained_run(tmp_path: Path, scheme: str) -> None:
    train(with_agent(toy_config(episodes=4), scheme=scheme), tmp_path)
    row = diagnosis.diagnose_run(tmp_path, episodes=3, make_env=ToyEnv)
    assert row.keys() >= GRADIENTS | BEHAVIOUR | {"actor_parameters", "critic_parameters", "cost"}
    assert row["episodes"] == 3
    assert all(np.isfinite(row[name]) for name in GRADIENTS | BEHAVIOUR)
    assert (row["diversity_relative"] > 0.05) == (scheme != "marl")
    assert row == diagnosis.diagnose_run(tmp_path, episodes=3, make_env=ToyEnv)


def test_tables_do_not_pool_kinds_of_hypernetworks(tmp_path: Path) -> None:
    changes = ({}, {"hypernetwork": "low-rank"}, {"encoder": "learned", "hypernetwork": "chunked"})
    runs = [tmp_path / str(k) for k in range(3)]
    for run, change in zip(runs, changes, strict=True):
        train(with_agent(toy_config(episodes=3), **change), run)
    rows = evaluate_runs(runs, make_env=ToyEnv)
    assert [r["scheme"] for r in rows] == [
        "hypemarl",
        "hypemarl low-rank",
        "hypemarl learned chunked",
    ]
    assert flat(rows).keys() >= {"hypemarl_cost_mean", "hypemarl_low_rank_cost_mean"}


def test_training_logs_diagnostics_and_learns_the_same(tmp_path: Path) -> None:
    train(toy_config(episodes=12), tmp_path / "without")
    train(toy_config(episodes=12, diagnose_every=3), tmp_path / "with")
    train(toy_config(episodes=6, diagnose_every=3), tmp_path / "parts")
    train(toy_config(episodes=12, diagnose_every=3), tmp_path / "parts", resume=True)
    lines = [line for line in read_metrics(tmp_path / "with") if line["kind"] == "diagnostic"]
    assert [line["episode"] for line in lines] == [3, 6, 9, 12]
    assert lines[0].keys() >= GRADIENTS | BEHAVIOUR
    assert without_seconds(tmp_path / "parts") == without_seconds(tmp_path / "with")
    contents = [stored(tmp_path / name) for name in ("without", "with")]
    for content in contents:
        content["config"]["training"].pop("diagnose_every")
    assert_equal(*contents)


def test_gradients_by_the_adjoint_sum_to_the_policy_gradient() -> None:
    """Closed loop included: sum_i J_i^T Z_i is what apg itself would follow."""
    config = tiny()
    env = make(config.env)
    agent = APG(env.agent_spec, config.agent, seed=0)
    taped = TapedPlant(require_adjoint(env.plant), 0.0)
    episode = env.reset_arrays(env.parameter_low)
    first, mu = np.array(episode.observations), episode.mu
    exact = diagnosis._differentiate(taped, agent, episode, config.env.control_steps)
    assert exact is not None
    probe = agent.probe_of([exact.observations], [mu], [exact.gradients])
    parts = diagnostics.agent_gradients(agent.actor, probe)

    env.reset_arrays(env.parameter_low)
    act, state, observations = agent.policy(mu), bridge.begin(taped), torch.from_numpy(first)
    loss = torch.zeros((), dtype=torch.float64)
    for _ in range(config.env.control_steps):
        state, observations, shares = bridge.step(taped, state, act(observations))
        loss = loss + shares.sum()
    expected = -agent.gradient(loss)
    difference = np.linalg.norm(parts.sum(dim=0).numpy() - expected)
    assert difference <= 1e-5 * np.linalg.norm(expected)


def test_exact_gradients_of_a_run_by_adjoint_gradients(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command on the finite-element plant; the cost is that of an ordinary evaluation."""
    config = tiny("training.episodes=4", "training.diagnose_every=2")
    loop.train(config, tmp_path / "run", progress=False)
    kinds = [line["kind"] for line in read_metrics(tmp_path / "run")]
    assert kinds.count("diagnostic") == 2
    file = tmp_path / "diagnosis.json"
    arguments = ["diagnose", str(tmp_path / "run"), "--episodes", "4", "--json", str(file)]
    assert main(arguments) == 0
    assert "conflict_cosine" in capsys.readouterr().out
    row = json.loads(file.read_text())
    assert row["gradient_variance"] > 0
    assert "critic_parameters" not in row
    assert row["cost"] == pytest.approx(evaluate_run(tmp_path / "run", episodes=4)["cost"])
