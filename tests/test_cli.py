"""The command line, in this process, on density-1d with a coarse mesh and tiny networks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hypemarl import cli, config
from hypemarl.cli.output import error_line
from hypemarl.training import checkpoint
from hypemarl.training.jobs import Job, continue_flags
from hypemarl.training.records import RunFolder, read_metrics, read_trajectory

COMMANDS = ("list", "mesh", "simulate", "train", "evaluate", "compare") + (
    "render",
    "validate",
    "bench",
    "demo",
)
TINY = {
    "env.mesh.element_size": 0.05,
    "env.control_steps": 3,
    "agent.hyper_width": 8,
    "agent.actor_hidden": [8],
    "agent.critic_hidden": [8],
    "training.episodes": 3,
    "training.random_episodes": 1,
    "training.validation_every": 1,
    "training.validation_size": 2,
    "training.held_out_size": 2,
    "training.tensorboard": "false",
    "training.device": "cpu",
}
SETTINGS = [entry for key, value in TINY.items() for entry in ("--set", f"{key}={value}")]


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    found = cli.main(arguments)
    captured = capsys.readouterr()
    assert found == status, captured.err
    return captured.out + captured.err


def train(path: Path, *arguments: str) -> None:
    given = ["train", "density-1d", *SETTINGS, "--quiet", "--run", str(path), *arguments]
    assert cli.main(given) == 0


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a HypeMARL and a MARL run."""
    folder = tmp_path_factory.mktemp("runs")
    train(folder / "hypemarl-seed0")
    train(folder / "marl-seed0", "--scheme", "marl")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert f"example: hypemarl {command}" in capsys.readouterr().out


def test_help_is_quick() -> None:
    code = (
        "import sys; from hypemarl import cli; cli.make_parser().format_help();"
        "print(sorted({'torch', 'dolfinx', 'matplotlib', 'pyvista'} & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert out.stdout.strip() == "[]"


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "list")
    assert all(name in out for name in config.scenarios())
    assert "hypemarl, marl, fups-id, nops" in out
    assert run(capsys, "list", "--keys").strip() == config.explain()


def test_options_beside_a_set_of_the_same_key_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for given in (["--seeds", "3", "4"], ["--seed", "3"]):
        out = run(capsys, "train", "density-1d", *given, "--set", "seed=9", status=2)
        assert f"{given[0]} and --set seed=... exclude each other" in out


def test_long_values_and_missing_packages_are_one_short_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for given in (["mesh", "x" * 5000], ["evaluate", "x" * 5000]):
        out = run(capsys, *given, status=2)
        assert "characters)" in out
        assert len(out) < 600
    with pytest.raises(SystemExit):
        cli.main(["train", "density-1d", "--seed", "x" * 5000])
    assert "x" * 300 not in capsys.readouterr().err
    missing = ModuleNotFoundError("No module named 'vmas'", name="vmas")
    assert error_line(missing).endswith("No module named 'vmas': pip install 'hypemarl[external]'")
    denied = PermissionError(13, "Permission denied", "runs/x")
    assert error_line(denied) == "hypemarl: error: runs/x: Permission denied"


def test_a_reader_that_leaves_ends_the_command_quietly() -> None:
    command = [sys.executable, "-m", "hypemarl", "list", "--keys"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_mesh_is_written_and_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "line.msh"
    given = ["--shape", "interval", "--element-size", "0.1"]
    out = run(capsys, "mesh", *given, "--output", str(file))
    assert "cells  20" in out
    again = run(capsys, "mesh", "density-1d", "--set", f"env.mesh.file={file}")
    assert "cells  20" in again


def test_simulate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["simulate", "density-1d", *SETTINGS, "--output", str(tmp_path)]
    out = run(capsys, *given, "--policy", "constant")
    terms = {line.split()[0]: float(line.split()[1]) for line in out.splitlines()[1:5]}
    total = float(out.splitlines()[0].rsplit("= ", 1)[1])
    assert sum(terms.values()) == pytest.approx(total, rel=1e-4)
    assert terms["control"] > 0.0
    trajectory = read_trajectory(tmp_path)
    assert trajectory["costs"].sum() == pytest.approx(total, rel=1e-4)
    assert trajectory["scheme"] == "constant"


def test_a_simulation_that_fails_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    """Twin: :func:`test_simulate`."""
    out = run(capsys, "simulate", "density-1d", "--set", "env.density.viscosity=1e4", status=3)
    assert "density-1d, uncontrolled: the episode failed: control step 0" in out
    assert "the viscosity is 10000" in out
    assert "J =" not in out


def test_evaluate_prints_a_table_and_writes_flat_json(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "result.json"
    out = run(capsys, "evaluate", str(runs), "--json", str(file))
    assert "hypemarl (cooperative)" in out
    assert "marl (cooperative)" in out
    flat = json.loads(file.read_text())
    expected = flat["marl_cost_median"] / flat["hypemarl_cost_mean"]
    assert flat["ratio_marl_over_hypemarl"] == pytest.approx(expected)
    assert flat["seeds"] == 1
    assert not any(isinstance(value, dict | list) for value in flat.values())
    single = RunFolder(runs / "hypemarl-seed0").evaluation
    assert json.loads(single.read_text())["cost"] == flat["hypemarl_cost_mean"]


def test_compare_draws_curves(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "curves.png"
    out = run(capsys, "compare", str(runs), "--output", str(picture))
    assert f"written {picture}" in out
    assert picture.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit, match="2"):
        cli.main(["compare", str(runs), "--output", "curves.docx"])
    assert "expected a name in .png, .pdf, .svg, got 'curves.docx'" in capsys.readouterr().err


def test_folders_of_runs_and_empty_names_are_no_run_folders(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["train", "density-1d", *SETTINGS, "--quiet", "--run"]
    out = run(capsys, *given, str(runs), status=2)
    assert f"{runs} holds runs of its own (hypemarl-seed0" in out
    assert not (runs / "metrics.jsonl").exists()
    with pytest.raises(SystemExit, match="2"):
        cli.main([*given, ""])
    assert "expected a folder's name, got ''" in capsys.readouterr().err


def test_render_records_and_draws(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = runs / "hypemarl-seed0"
    run(capsys, "render", str(path), "--no-film")
    assert (path / "policy_map.png").stat().st_size > 10_000
    assert (path / "still-100.png").exists()
    first = read_trajectory(path)["mu"]
    run(capsys, "render", str(path), "--no-film")
    assert read_trajectory(path)["mu"] == first
    run(capsys, "render", str(path), "--no-film", "--index", "1")
    assert read_trajectory(path)["mu"] != first


def test_a_simulated_episode_is_rendered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "simulate", "density-1d", *SETTINGS, "--output", str(tmp_path))
    out = run(capsys, "render", str(tmp_path), "--no-film")
    assert "still-000.png" in out


def test_real_training_resumes_bit_for_bit(tmp_path: Path) -> None:
    """As with the toy environment in tests/training, here through the finite elements."""
    train(tmp_path / "whole", "--set", "training.episodes=4")  # --set goes before --episodes
    train(tmp_path / "parts", "--set", "training.episodes=2")
    assert read_metrics(tmp_path / "parts")[-1]["episode"] == 2
    train(tmp_path / "parts", "--set", "training.episodes=4", "--resume")

    def lines(name: str) -> list[dict[str, Any]]:
        metrics = read_metrics(tmp_path / name)
        return [{k: v for k, v in line.items() if k != "seconds"} for line in metrics]

    assert lines("parts") == lines("whole")


def test_seeds_train_in_processes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, "--seeds", "1", "2", "--jobs", "2")
    assert "seed2" in capsys.readouterr().out
    costs = [read_metrics(tmp_path / f"seed{seed}")[0]["cost"] for seed in (1, 2)]
    assert costs[0] != costs[1]
    status = cli.main(
        ["train", "density-1d", *SETTINGS, "--quiet", "--run", str(tmp_path)]
        + ["--seeds", "1", "2", "--jobs", "2"]
    )
    assert status == 2
    assert "already holds a run" in capsys.readouterr().err


@pytest.mark.slow
def test_a_stopped_parent_has_stopped_its_jobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM once two children have trained for a while; they save, and --resume goes on."""
    given = ["train", "density-1d", *SETTINGS, "--quiet", "--run", str(tmp_path)]
    given += ["--seeds", "1", "2", "--jobs", "2", "--set"]
    runs = [RunFolder(tmp_path / f"seed{seed}") for seed in (1, 2)]

    def stop_when_begun() -> None:
        end = time.monotonic() + 120.0
        while time.monotonic() < end and not all(run.last.exists() for run in runs):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=stop_when_begun)
    watcher.start()
    assert cli.main([*given, "training.episodes=100000"]) == 130
    watcher.join()
    assert "with --resume goes on from" in capsys.readouterr().err
    done = [read_metrics(run.path)[-1]["episode"] for run in runs]
    for run, episode in zip(runs, done, strict=True):
        assert checkpoint.load(run.last)["progress"]["episode"] == episode
    more = max(done) + 1
    given[given.index("--jobs") + 1] = "1"  # cheaper
    assert cli.main([*given, f"training.episodes={more}", "--resume"]) == 0
    assert [read_metrics(run.path)[-1]["episode"] for run in runs] == [more, more]


@pytest.mark.slow
def test_a_failed_job_is_named_with_reason_and_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its folder for checkpoints is a file; the other one is whole."""
    (tmp_path / "seed2").mkdir()
    (tmp_path / "seed2" / "checkpoints").write_text("no folder")
    given = ["train", "density-1d", *SETTINGS, "--quiet", "--run", str(tmp_path)]
    assert cli.main([*given, "--seeds", "1", "2", "--jobs", "2"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert f"{tmp_path}/seed2: " in lines[0]
    assert f"{tmp_path}/seed2/checkpoints" in lines[0]
    assert lines[0].endswith(f"(log: {tmp_path}/seed2/train.log)")
    assert read_metrics(tmp_path / "seed1")[-1]["episode"] == 3


def test_jobs_continue_what_is_there(runs: Path, tmp_path: Path) -> None:
    done = RunFolder(runs / "hypemarl-seed0").read_config()
    assert continue_flags(done, runs / "hypemarl-seed0") is None
    longer = config.from_dict(config.to_dict(done) | {"training": {"episodes": 30}})
    assert continue_flags(longer, runs / "hypemarl-seed0") == ["--overwrite"]
    settings = config.to_dict(done)
    settings["training"]["episodes"] = 30
    assert continue_flags(config.from_dict(settings), runs / "hypemarl-seed0") == ["--resume"]
    assert continue_flags(done, tmp_path) == ["--overwrite"]
    command = Job(done, tmp_path / "job").command(["--resume"])
    assert config.load(command[command.index("train") + 1]) == done


def test_demo_keeps_finished_runs_compares_and_draws(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(capsys, "demo", *SETTINGS, "--run", str(runs), "--quiet")
    assert out.count("is finished already, kept") == 2
    table = [line for line in out.splitlines() if "(cooperative)" in line]
    assert [line.split()[0] for line in table] == ["marl", "hypemarl"]
    film = runs / "hypemarl-seed0" / "film.mp4"
    for file in (runs / "curves.png", runs / "results.json", film):
        assert file.stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "density-9d"], "no scenario or file 'density-9d'"),
        (
            ["simulate", "density-1d", "--set", "env.density.viscosity=-1"],
            "env.density.viscosity: expected a",
        ),
        (["train", "density-1d", "--set", "agent.gama=1"], "did you mean 'agent.gamma'"),
        (["train", "density-1d", "--resume", "--run", "nowhere"], "nothing to resume"),
        (["train", "density-1d", "--ranks-per-env", "2"], "1 ranks cannot be split"),
        (["train", "density-1d", "--ranks-per-env", "1", "--jobs", "2"], "--jobs starts none"),
        (["evaluate", "nowhere"], "nowhere is no run folder"),
        (["render", "nowhere"], "nowhere is no run folder"),
        (["validate", "nothing"], "no case 'nothing'"),
        (["bench", "nothing"], "no benchmark 'nothing'"),
        (["mesh", "--element-size", "1e9"], "element_size"),
        (["mesh", "density-1d", "--set", "env.mesh.file=none.msh"], "none.msh"),
    ],
)
def test_bad_input_gives_one_clean_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    out = run(capsys, *arguments, status=2)
    assert out.startswith("hypemarl: error: ")
    assert message in out
    assert out.count("\n") == 1


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(config.ConfigError):
        cli.main(["train", "density-9d", "--debug"])


def test_a_damaged_checkpoint_is_named(
    tmp_path: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, copy = RunFolder(runs / "marl-seed0"), RunFolder(tmp_path)
    copy.last.parent.mkdir()
    copy.config.write_bytes(source.config.read_bytes())
    copy.best.write_bytes(source.best.read_bytes()[:-100])
    out = run(capsys, "evaluate", str(tmp_path), status=2)
    assert "best.pt" in out
    assert "truncated" in out


def test_validate_fails_with_status_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from types import SimpleNamespace

    import hypemarl.verification

    def case(ok: bool) -> Any:
        return lambda: SimpleNamespace(rows=[("order", 1.9, ">= 1.8", ok)], passed=ok)

    monkeypatch.setattr(hypemarl.verification, "CASES", {"good": case(True), "bad": case(False)})
    file = tmp_path / "validate.json"
    assert "order" in run(capsys, "validate", "good", "--json", str(file))
    assert json.loads(file.read_text())["passed"] is True
    assert "FAILED" in run(capsys, "validate", "all", status=1)


def test_bench_prints_and_writes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import hypemarl.bench

    monkeypatch.setattr(hypemarl.bench, "BENCHES", {"reset": lambda: {"ms": 0.25}})
    file = tmp_path / "reset.json"
    assert "0.25" in run(capsys, "bench", "reset", "--json", str(file))
    assert json.loads(file.read_text()) == {"ms": 0.25}


def test_the_module_is_the_command() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "hypemarl", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert result.stdout.startswith("hypemarl ")
