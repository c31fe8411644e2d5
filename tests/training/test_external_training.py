"""External environments in the training loop, to the command line."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import point_agents
import pytest
from point_agents import best_return

from hypemarl import cli
from hypemarl.config import Config, load, trusted
from hypemarl.envs import ArrayEnv
from hypemarl.training import evaluation, loop, setup, summary
from hypemarl.training.checkpoint import load as load_checkpoint
from hypemarl.training.records import RunFolder, read_metrics

SOURCE = "pettingzoo:point_agents:PointAgents"
SETTINGS = {
    "env.control_steps": 6,
    "agent.batch_steps": 0,
    "agent.batch_episodes": 4,
    "agent.gamma": 0.8,
    "agent.actor_rate": 3e-3,
    "agent.critic_rate": 1e-2,
    "agent.average_rate": 0.02,
    "agent.hyper_width": 16,
    "agent.actor_hidden": [16],
    "agent.critic_hidden": [16],
    "training.episodes": 100,
    "training.random_episodes": 20,
    "training.validation_every": 20,
    "training.validation_size": 4,
    "training.held_out_size": 8,
    "training.tensorboard": "false",
    "training.device": "cpu",
}


def settings(**changes: Any) -> list[str]:
    names = {key.replace("_", ".", 1): value for key, value in changes.items()}
    return [f"{key}={value}" for key, value in (SETTINGS | names).items()]


def configured(**changes: Any) -> Config:
    return load("external", [f"env.external.source={SOURCE}", *settings(**changes)])


def command(*arguments: str) -> int:
    return cli.main(list(arguments))


@pytest.fixture(autouse=True)
def _trust(request: pytest.FixtureRequest) -> Iterator[None]:
    """As if every command named the points; the command line itself is left to say so."""
    if "command_line" in request.node.name:
        yield
    else:
        with trusted(SOURCE):
            yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HypeMARL and MARL, trained on the points."""
    folder = tmp_path_factory.mktemp("points")
    for scheme in ("hypemarl", "marl"):
        config = configured(agent_scheme=scheme)
        with trusted(SOURCE):
            loop.train(config, folder / scheme, progress=False)
    return folder


def test_who_knows_its_index_disperses_and_who_does_not_cannot(runs: Path) -> None:
    hypemarl, marl = summary.evaluate_runs([runs / "hypemarl", runs / "marl"])
    best = -np.mean([best_return(1000 + k, 6) for k in range(8)])
    gain = hypemarl["uncontrolled"] - best
    assert gain > 5.0
    assert (hypemarl["uncontrolled"] - hypemarl["cost"]) / gain > 0.8
    # All start at one place: a shared policy without an index moves them as one, and the slots
    # are symmetric about it, so that nothing is to be gained by that.
    assert (marl["uncontrolled"] - marl["cost"]) / gain < 0.2


def test_rows_hold_returns_and_no_share_of_an_optimum(runs: Path) -> None:
    row = summary.evaluate_run(runs / "hypemarl")
    assert row["return"] == pytest.approx(-row["cost"] / 4)
    assert row["random_return"] == pytest.approx(-row["random_cost"] / 4)
    assert not {"recovered", "ratio_to_uncontrolled", "optima"} & set(row)


def test_resume_is_bit_for_bit(tmp_path: Path) -> None:
    short = {"training_random_episodes": 2, "training_checkpoint_every": 4}
    loop.train(configured(training_episodes=8, **short), tmp_path / "whole", progress=False)
    loop.train(configured(training_episodes=4, **short), tmp_path / "parts", progress=False)
    more = configured(training_episodes=8, **short)
    loop.train(more, tmp_path / "parts", progress=False, resume=True)
    whole, parts = (load_checkpoint(RunFolder(tmp_path / n).last) for n in ("whole", "parts"))
    for name, weights in whole["agent"]["actor"].items():
        assert (weights == parts["agent"]["actor"][name]).all(), name
    assert (whole["replay"]["observations"] == parts["replay"]["observations"]).all()


def test_validation_runs_its_own_seeds(tmp_path: Path) -> None:
    seen: list[int] = []

    def make_env(config: Any, comm: Any) -> Any:
        env = setup.default_make_env(config, comm)
        reset = env.reset_arrays
        env.reset_arrays = lambda p: (seen.append(int(p[0])), reset(p))[1]
        return env

    config = configured(training_episodes=4, training_random_episodes=1)
    loop.train(config, tmp_path, progress=False, make_env=make_env)
    fixed = [seed for seed in seen if seed < 1_000_000]
    assert fixed == [1, 2, 3, 4] * (len(fixed) // 4)
    assert len(fixed) == 8
    assert len(set(seen) - set(fixed)) == 4


@pytest.mark.parametrize("credit", ["neighbourhood", "cooperative"])
def test_credits_of_near_agents_train(credit: str, tmp_path: Path) -> None:
    config = configured(training_episodes=4, training_random_episodes=2, agent_credit=credit)
    found = loop.train(config, tmp_path, progress=False)
    assert np.isfinite(found["best_cost"])


def test_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [e for pair in settings(training_episodes=30) for e in ("--set", pair)]
    assert command("train", "--env", SOURCE, "--scheme", "nops", *given, "--quiet") == 0
    run = Path("runs") / "pettingzoo-point_agents-PointAgents-nops-local-seed0"
    assert RunFolder(run).last.exists()
    assert read_metrics(run)[-1]["episode"] == 30
    capsys.readouterr()

    assert command("evaluate", str(run), "--json", "out.json", "--env", SOURCE) == 0
    text = capsys.readouterr().out
    heading = text.splitlines()[1]
    assert "return" in heading
    assert "recovered" not in heading
    assert "J0" not in heading
    row = json.loads(Path("out.json").read_text())
    assert row["nops_return_mean"] == pytest.approx(-row["cost"] / 4)

    assert command("simulate", "--env", SOURCE, "--policy", "random") == 0
    assert "cost J" in capsys.readouterr().out
    assert command("compare", str(run), "--trust") == 0
    capsys.readouterr()
    for refused in (
        ["render", str(run)],
        ["map", str(run), "--parameters", "a", "b"],
        ["simulate", "--env", SOURCE, "--output", "x"],
        ["mesh", "vmas-dispersion"],
        ["optimum", "vmas-dispersion"],
    ):
        assert command(*refused) != 0
        assert "external environment" in capsys.readouterr().err, refused
    assert command("train", "density-1d", "--env", SOURCE) != 0
    assert "settings of system external" in capsys.readouterr().err
    assert command("train") != 0
    assert "name a scenario" in capsys.readouterr().err


def test_a_change_of_the_source_is_said_and_not_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path("changing_points.py")
    text = "from point_agents import PointAgents\n\n\nclass Mine(PointAgents):\n    pass\n"
    own.write_text(text)
    names = {"training_random_episodes": 2, "training_validation_every": 0}
    given = [e for pair in settings(training_episodes=4, **names) for e in ("--set", pair)]
    train = ["train", "--env", f"pettingzoo:{own}:Mine", *given, "--quiet", "--run", "run"]
    assert command(*train) == 0
    stored = RunFolder("run").read_config().env.options
    assert stored.source == f"pettingzoo:{tmp_path / own}:Mine"
    assert stored.sha256 == hashlib.sha256(hashlib.sha256(text.encode()).digest()).hexdigest()
    monkeypatch.chdir(tmp_path / "run")
    named = ["--env", f"pettingzoo:../{own}:Mine"]
    assert command("evaluate", ".", "--episodes", "2") == 2
    refusal = capsys.readouterr().err
    assert "config.yaml: the configuration names" in refusal
    assert "nothing of it was run" in refusal
    assert command("evaluate", ".", "--episodes", "2", *named) == 0
    assert "note" not in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    elsewhere = Path(shutil.copy(own, "elsewhere.py"))
    shutil.copytree("run", "copy")
    go_on = ["train", "--resume", "--run", "copy", "--quiet", "--set", "training.episodes=5"]
    assert command(*go_on, "--env", f"pettingzoo:{elsewhere}:Other") == 2
    assert "is 'pettingzoo:" in capsys.readouterr().err
    assert command(*go_on, "--env", f"pettingzoo:{elsewhere}:Mine") == 0
    own.write_text(text + "# changed\n")
    stored_settings = ["train", "--resume", "--run", "run", "--trust", "--quiet"]
    evaluate = ["evaluate", "run", "--trust", "--episodes", "2"]
    for again in (evaluate, stored_settings, [*train, "--resume"]):
        assert command(*again) == 0
        assert capsys.readouterr().err.count("changed since the run began") == 1, again
    moved = own.rename("moved_points.py")
    named = ["--env", f"pettingzoo:{moved}:Mine"]
    assert command("evaluate", "run", "--episodes", "2", *named) == 0
    assert command("evaluate", "run", "--episodes", "2", "--env", SOURCE) == 2
    assert "nothing of it was run" in capsys.readouterr().err


@pytest.mark.slow
def test_children_of_jobs_trust_what_the_command_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own_points.py").write_text(Path(point_agents.__file__).read_text())
    file = Path("mine.yaml")
    file.write_text(
        "scenario: external\nenv: {external: {source: 'pettingzoo:own_points:Placed'}}\n"
    )
    names = {"training_random_episodes": 2, "training_validation_every": 0}
    given = [e for pair in settings(training_episodes=4, **names) for e in ("--set", pair)]
    seeds = ["--seeds", "1", "2", "--jobs", "2", "--quiet"]
    assert command("train", str(file), *given, *seeds, "--run", "runs") == 2
    assert "say --env pettingzoo:own_points:Placed or --trust" in capsys.readouterr().err
    assert not Path("runs").exists()
    for run, trust in (("named", ["--env", "pettingzoo:own_points:Placed"]), ("all", ["--trust"])):
        assert command("train", str(file), *given, *seeds, "--run", run, *trust) == 0
        assert read_metrics(Path(run) / "seed2")[-1]["episode"] == 4


def test_fixed_sets_of_plants_are_those_of_their_box() -> None:
    class Box(ArrayEnv):
        parameter_low, parameter_high = np.zeros(2), np.ones(2)

    expected = evaluation.parameter_set(np.zeros(2), np.ones(2), 3, "held-out")
    np.testing.assert_array_equal(evaluation.fixed_set(Box(), 3, "held-out"), expected)
