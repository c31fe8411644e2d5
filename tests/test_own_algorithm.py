"""An algorithm in a user's own file, ``random_search.py``: everything takes it as it is.

The file is the example of docs/algorithms.md.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from random_search import RANDOM_SEARCH

import hypemarl
from hypemarl import cli
from hypemarl.config import ALGORITHMS, ConfigError, load, user_code
from hypemarl.training.checkpoint import CheckpointError
from hypemarl.training.checkpoint import load as load_checkpoint
from hypemarl.training.diagnosis import diagnose_run
from hypemarl.training.loop import train
from hypemarl.training.records import RunFolder, read_metrics
from hypemarl.training.summary import evaluate_runs
from hypemarl.training.table import summarise
from hypemarl.visualisation.run_pictures import draw_curves, draw_run

EXAMPLE = Path(__file__).with_name("random_search.py")
SMALL = ["env.mesh.element_size=0.1", "env.agents=[4]", "env.control_steps=3", "env.horizon=0.6"]
NETWORKS = ["agent.encoding_size=8", "agent.hyper_width=8", "agent.actor_hidden=[8]"]
LOOP = [
    "training.episodes=24",
    "training.validation_every=4",
    "training.validation_size=2",
    "training.checkpoint_every=4",
    "training.diagnose_every=6",
    "training.tensorboard=false",
]
QUICK = [*SMALL, *NETWORKS, *LOOP]
CHOSEN = ["training.algorithm=random-search", "agent.random-search.step=0.05"]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ALGORITHMS, "_items", {})
    hypemarl.register_algorithm(RANDOM_SEARCH)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 24 episodes, made by whichever test comes first."""
    return tmp_path_factory.mktemp("runs") / "density-1d"


def trained(run: Path) -> Path:
    if not run.exists():
        train(load("density-1d", [*QUICK, *CHOSEN]), run, progress=False)
    return run


def test_it_trains(run: Path) -> None:
    costs = [r["cost"] for r in read_metrics(trained(run)) if r["kind"] == "validation"]
    assert len(costs) == 6
    assert costs[-1] < 0.8 * costs[0]
    gains = [record["gain"] for record in read_metrics(run) if record["kind"] == "update"]
    assert len(gains) == 24
    assert max(gains) > 0
    assert min(gains) < 0


def test_it_resumes_to_the_same_numbers(run: Path, tmp_path: Path) -> None:
    config = load("density-1d", [*QUICK, *CHOSEN])
    shorter = load("density-1d", [*QUICK, *CHOSEN, "training.episodes=4"])
    train(shorter, tmp_path / "run", progress=False)
    train(config, tmp_path / "run", resume=True, progress=False)
    whole, resumed = (
        load_checkpoint(RunFolder(path).last) for path in (trained(run), tmp_path / "run")
    )
    for name, values in whole["agent"]["actor"].items():
        assert torch.equal(values, resumed["agent"]["actor"][name])
    changed = load("density-1d", [*QUICK, *CHOSEN, "agent.random-search.step=0.2"])
    with pytest.raises(CheckpointError, match=r"agent.random-search.step is 0.05 there, 0.2 here"):
        train(changed, tmp_path / "run", resume=True, progress=False)


def test_it_evaluates_and_stands_in_the_table(run: Path) -> None:
    (row,) = evaluate_runs([trained(run)], episodes=2)
    assert row["credit"] == row["algorithm"] == "random-search"
    assert row["cost"] < row["uncontrolled_cost"]
    assert "hypemarl (random-search)" in [entry["name"] for entry in summarise([row])]


def test_it_is_diagnosed(run: Path) -> None:
    row = diagnose_run(trained(run), episodes=1)
    assert row["credit"] == "random-search"
    assert row["diversity"] > 0
    assert "interference" not in row  # nobody knows a gradient here


def test_its_run_is_drawn(run: Path) -> None:
    names = {path.name for path in draw_run(trained(run), film=False)}
    assert "policy_map.png" in names
    assert draw_curves([run], run / "curves.png") is not None


def test_the_command_line_takes_it(tmp_path: Path) -> None:
    entries = [*SMALL, *NETWORKS, "training.episodes=2", "training.validation_every=1"]
    settings = [argument for entry in entries for argument in ("--set", entry)]
    command = ["train", "density-1d", "--train", "random-search", "--run", str(tmp_path / "run")]
    assert cli.main([*command, "--quiet", *settings]) == 0
    assert cli.main(["evaluate", str(tmp_path / "run"), "--json", str(tmp_path / "row.json")]) == 0
    assert json.loads((tmp_path / "row.json").read_text())["algorithm"] == "random-search"


def test_an_unknown_algorithm_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="'random-serach'; did you mean 'random-search'.*td3"):
        load("density-1d", ["training.algorithm=random-serach"])


def test_a_name_is_taken_once() -> None:
    hypemarl.register_algorithm(RANDOM_SEARCH)  # the same again is fine
    other = dataclasses.replace(RANDOM_SEARCH, name="td3")
    with pytest.raises(ConfigError, match="'td3' is taken"):
        hypemarl.register_algorithm(other)


def test_a_file_of_ones_own_is_imported_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(user_code, "_USED", {})
    monkeypatch.setattr(ALGORITHMS, "_items", {})
    (tmp_path / "mine.py").write_text(EXAMPLE.read_text())
    monkeypatch.chdir(tmp_path)
    chosen = ["training.algorithm=random-search", "training.episodes=2"]
    settings = [word for e in (*SMALL, *NETWORKS, *chosen) for word in ("--set", e)]
    train_it = ["train", "density-1d", "--run", "run", "--quiet", *settings]
    assert cli.main(train_it) == 2
    assert "no algorithm 'random-search'. Known: apg, " in (told := capsys.readouterr().err)
    assert "--use" in told
    assert cli.main([*train_it, "--use", "mine.py"]) == 0
    monkeypatch.setattr(ALGORITHMS, "_items", {})
    assert cli.main(["evaluate", "run"]) == 2
    assert "name your code by --use" in capsys.readouterr().err
    assert cli.main(["evaluate", "run", "--use", "mine.py:RANDOM_SEARCH"]) == 0
    assert "random-search" in capsys.readouterr().out


def test_the_documentation_shows_this_file() -> None:
    docs = Path(__file__).parents[1] / "docs" / "algorithms.md"
    assert EXAMPLE.read_text() in docs.read_text()
