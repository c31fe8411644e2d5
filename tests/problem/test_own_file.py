"""A user's file, from the command line and from Python, as any other scenario."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hypemarl import cli, make
from hypemarl import config as configuration
from hypemarl.config import ConfigError
from hypemarl.config.problems import PROBLEMS
from hypemarl.config.user_code import _USED
from hypemarl.optimal.open_loop import problem_digest
from hypemarl.training.checkpoint import load
from hypemarl.training.records import RunFolder, read_metrics, read_trajectory

DOCS = Path(__file__).parents[2] / "docs" / "problems.md"
SMALL = {
    "env.horizon": 0.4,
    "env.control_steps": 4,
    "agent.encoding_size": 8,
    "agent.hyper_width": 8,
    "agent.actor_hidden": "[8]",
    "agent.critic_hidden": "[8]",
    "agent.batch_episodes": 2,
    "training.episodes": 6,
    "training.random_episodes": 2,
    "training.validation_every": 2,
    "training.validation_size": 2,
    "training.held_out_size": 2,
    "training.checkpoint_every": 2,
    "training.tensorboard": "false",
    "training.device": "cpu",
    **{f"agent.mbpg.{name}": 4 for name in ("first_fits", "fits", "first_updates", "updates")},
}
SETTINGS = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    known, used = dict(PROBLEMS._items), dict(_USED)
    yield
    PROBLEMS._items.clear()
    PROBLEMS._items.update(known)
    _USED.clear()
    _USED.update(used)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The example of docs/problems.md, on a coarser mesh."""
    code = next(
        c for c in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S) if "Heat" in c
    )
    path = tmp_path / "mypde.py"
    path.write_text(code.replace("32, 32", "6, 6"))
    return path


def hypemarl(*arguments: object, status: int = 0) -> None:
    assert cli.main([str(argument) for argument in arguments]) == status


def test_it_trains_resumes_evaluates_and_renders(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    hypemarl("train", f"{file}:Heat", *SETTINGS, "--run", whole, "--quiet")
    more = ("--run", parted, "--quiet")
    hypemarl("train", file, *SETTINGS, "--set", "training.episodes=4", *more)
    hypemarl("train", file, *SETTINGS, "--resume", *more)
    lines = [
        [{k: v for k, v in line.items() if k != "seconds"} for line in read_metrics(run)]
        for run in (whole, parted)
    ]
    assert lines[0] == lines[1]
    hypemarl("evaluate", whole, parted, "--json", tmp_path / "table.json")
    row = json.loads((tmp_path / "table.json").read_text())
    assert (row["runs"], row["hypemarl_cost_std"]) == (2, 0.0)
    assert row["hypemarl_cost_state"] > 0.0
    hypemarl("render", whole, "--no-film")
    assert {"still-100.png", "policy_map.png"} <= {path.name for path in whole.iterdir()}
    drawn = read_trajectory(whole)
    assert (drawn["kind"], drawn["u"].shape) == ("problem", (5, 49))
    assert "uncontrolled" in capsys.readouterr().out


def test_another_cost_has_the_best_policy_chosen_anew(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    more = ("--run", run, "--quiet")
    hypemarl("train", file, *SETTINGS, "--set", "training.episodes=4", *more)
    before = load(RunFolder(run).best)["progress"]
    PROBLEMS._items.clear()
    _USED.clear()
    for name in [name for name in sys.modules if name.startswith("mypde_")]:
        del sys.modules[name]
    text = file.read_text()
    file.write_text(text.replace("0.5 * u**2", "5000.0 * u**2"))
    assert file.read_text() != text
    hypemarl("train", file, *SETTINGS, "--resume", *more)
    assert "earlier-best.pt: the present one is validated" in capsys.readouterr().err
    assert load(RunFolder(run).earlier_best)["progress"] == before
    at = [line["episode"] for line in read_metrics(run) if line["kind"] == "validation"]
    assert at == [2, 4, 4, 6]  # with the old cost, and again with the new one
    after = load(RunFolder(run).best)["progress"]
    assert after["best_episode"] >= 4
    assert after["best_cost"] > 100 * before["best_cost"]
    assert after["uncontrolled"] > 100 * before["uncontrolled"]


@pytest.mark.parametrize(
    ("algorithm", "parameters"), [("apg", True), ("mbpg", True), ("mbpg", False)]
)
def test_other_algorithms_train_it(
    file: Path, tmp_path: Path, algorithm: str, parameters: bool
) -> None:
    if not parameters:  # no mu at all
        text = file.read_text().replace('{"kappa": (0.01, 0.1)}', "{}")
        file.write_text(text.replace("mu.kappa", "0.05"))
    hypemarl("train", file, *SETTINGS, "--train", algorithm, "--run", tmp_path / "run", "--quiet")
    costs = [m["cost"] for m in read_metrics(tmp_path / "run") if m["kind"] == "validation"]
    assert np.isfinite(costs).all()
    assert len(set(costs)) > 1


def test_its_optimum_is_below_zero_control(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "optimum.json"
    hypemarl("optimum", file, *SETTINGS[:4], "--held-out", 1, "--json", out, "--quiet")
    row = json.loads(out.read_text())
    assert row["optimum_mean"] < row["uncontrolled_mean"]


def test_another_equation_in_the_file_is_another_problem(file: Path) -> None:
    digests = []
    for name in ("mypde.py", "other.py"):
        path = file.with_name(name)
        path.write_text(file.read_text().replace("np.pi", "np.pi" if name == file.name else "3"))
        digests.append(problem_digest(configuration.load(str(path)).env, None))
        PROBLEMS._items.clear()
    assert digests[0] != digests[1]


def test_runs_do_not_import_it_unasked(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hypemarl("train", file, *SETTINGS, "--run", tmp_path / "run", "--quiet")
    PROBLEMS._items.clear()
    _USED.clear()
    hypemarl("evaluate", tmp_path / "run", status=2)
    assert f"--use {file}" in capsys.readouterr().err
    hypemarl("evaluate", tmp_path / "run", "--use", file)


def test_it_is_made_from_python(file: Path) -> None:
    env = make(f"{file}:Heat")
    assert (env.n_agents, env.observation_size, env.config.control_steps) == (16, 9, 20)
    first, _ = env.reset(seed=3)
    again, _ = env.reset(seed=3)
    other, _ = env.reset(seed=4)
    np.testing.assert_array_equal(first["agent_0"], again["agent_0"])
    assert not np.array_equal(first["agent_0"], other["agent_0"])
    assert env.mu_low.tolist() == [0.01]


def test_names_that_are_none(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"no problem.*'Heap'; did you mean 'Heat'"):
        configuration.load(f"{file}:Heap")
    with pytest.raises(ConfigError, match="no such file"):
        configuration.load(str(file.with_name("none.py")))
    other = file.with_name("other.py")
    other.write_text("x = 1\n")
    with pytest.raises(ConfigError, match=r"expected one problem .*got none"):
        configuration.load(str(other))
    with pytest.raises(ConfigError, match=r"makes its mesh itself"):
        configuration.load("kuramoto-sivashinsky", ["env.mesh.element_size=0.1"])
    with pytest.raises(ConfigError, match="did you mean 'kuramoto-sivashinsky'"):
        configuration.load("kuramoto-sivashinski")


@pytest.mark.slow
def test_the_demo_compares_it_with_the_yardsticks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = Path(__file__).parents[2] / "demos" / "own_pde.py"
    assert len(demo.read_text().splitlines()) <= 60
    few = ("--yardsticks", 2, "--jobs", 1, "--quiet", "--run", tmp_path / "run")
    hypemarl("demo", demo, "--train", "apg", *SETTINGS, *few)
    out = capsys.readouterr().out
    for name in ("uncontrolled", "best_constant", "schedule", "marl (apg)", "hypemarl (apg)"):
        assert f"\n{name}" in out
    assert (tmp_path / "run" / "hypemarl-seed0" / "film.mp4").stat().st_size > 10_000


def test_a_new_file_runs_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hypemarl("new", "heat_pipe")
    assert "class HeatPipe(Problem)" in (tmp_path / "heat_pipe.py").read_text()
    hypemarl("simulate", "heat_pipe.py")
    hypemarl("new", "heat_pipe", status=2)
    hypemarl("new", "2pipes", status=2)
