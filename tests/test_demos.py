from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMOS = Path(__file__).parents[1] / "demos"
DENSITY, FLOW = DEMOS / "density_control.py", DEMOS / "flow_control.py"
SHAPE = DEMOS / "shape_morphing.py"
COARSE = {
    "env.mesh.length": 1.0,
    "env.mesh.element_size": 0.1,
    "env.mesh.disc_element_size": 0.014,
    "env.flow.time_step": 0.002,
    "env.flow.develop_time": 0.3,
    "env.horizon": 0.02,
    "env.control_steps": 2,
    "agent.batch_episodes": 1,
    "agent.batch_steps": 0,
    "training.tensorboard": "false",
}
TINY = ["--episodes", "2", "--no-film"]
TINY += [entry for key, value in COARSE.items() for entry in ("--set", f"{key}={value}")]


def run_serially(*command: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_density_control_runs_serially(tmp_path: Path) -> None:
    """The demo's own assertions hold, and it leaves a film."""
    out = run_serially(DENSITY, "--episodes", 11, "--run", tmp_path / "run")
    assert "% of uncontrolled" in out
    assert (tmp_path / "run" / "film.mp4").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.mpi
def test_density_control_runs_on_two_ranks(mpirun, tmp_path: Path) -> None:
    out = mpirun(2, DENSITY, "--episodes", "11", "--run", str(tmp_path / "run"), "--no-film")
    assert out.count("uncontrolled: J =") == 1  # rank 0 alone prints
    assert "% of uncontrolled" in out


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Developed flows are kept here, not among the user's."""
    monkeypatch.setenv("HYPEMARL_CACHE", str(tmp_path / "cache"))


def table(out: str) -> dict[str, list[float]]:
    """Rows of the demo's table: cost, drag, lift fluctuation, dissipation."""
    rows = {}
    for line in out.splitlines():
        words = line.rsplit(maxsplit=4)
        if len(words) == 5 and words[0].strip() in ("uncontrolled", "steady jets", "hypemarl"):
            rows[words[0].strip()] = [float(word) for word in words[1:]]
    return rows


@pytest.mark.usefixtures("cache")
def test_flow_control_runs_serially(tmp_path: Path) -> None:
    """The demo's own assertions hold, and it leaves pictures."""
    rows = table(run_serially(FLOW, *TINY, "--run", tmp_path))
    assert list(rows) == ["uncontrolled", "steady jets", "hypemarl"]
    assert len({row[1] for row in rows.values()}) == 3  # three different drags
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"still-000.png", "still-100.png", "forces.png", "uncontrolled.npz"}


@pytest.mark.usefixtures("cache")
def test_shape_morphing_runs_serially(tmp_path: Path) -> None:
    """The demo's own assertions hold, and it leaves pictures."""
    coarse = ["env.mesh.element_size=0.6", "env.mesh.disc_element_size=0.05"]
    coarse += ["env.control_steps=2", "training.validation_size=1", "training.tensorboard=false"]
    options = [entry for key in coarse for entry in ("--set", key)]
    budget = ["--episodes", "2", "--evaluations", "8", "--no-film"]
    out = run_serially(SHAPE, *budget, "--run", tmp_path, *options)
    costs = {
        line.split()[0]: float(line.split()[1])
        for line in out.splitlines()[-8:-4]
        if len(line.split()) == 4
    }
    assert costs.keys() == {"uncontrolled", "optimum", "hypemarl"}
    assert costs["optimum"] < 0.95 * costs["uncontrolled"]
    assert costs["optimum"] < costs["hypemarl"]
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"still-000.png", "still-100.png", "forces.png", "uncontrolled.npz"}


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_a_flow_run_is_shown_evaluated_and_rendered(tmp_path: Path) -> None:
    """By the demo without training, and by the commands."""
    run, shown, file = tmp_path / "run", tmp_path / "shown", tmp_path / "result.json"
    rows = table(run_serially(FLOW, *TINY, "--run", run))
    again = run_serially(FLOW, "--policy", run, "--run", shown, "--no-film")
    assert table(again) == rows
    assert not (shown / "checkpoints").exists()
    out = run_serially("-m", "hypemarl", "evaluate", run, "--json", file)
    assert "lift fluctuation" in out
    flat = json.loads(file.read_text())
    assert flat["held_out"] == 1
    for title, prefix in (("hypemarl", ""), ("uncontrolled", "uncontrolled_")):
        found = [flat[prefix + name] for name in ("cost", "drag_mean")]
        assert found == pytest.approx(rows[title][:2], abs=1e-3)
    (run / "uncontrolled.npz").unlink()
    run_serially("-m", "hypemarl", "render", run, "--no-film")
    assert (run / "uncontrolled.npz").exists()
    assert (run / "policy_map.png").exists()


@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("ranks_per_env", [1, 2])
def test_flow_control_runs_on_two_ranks(mpirun, tmp_path: Path, ranks_per_env: int) -> None:
    arguments = [*TINY, "--run", str(tmp_path / "run"), "--ranks-per-env", str(ranks_per_env)]
    out = mpirun(2, FLOW, *arguments)
    assert out.count("uncontrolled: J =") == 1  # rank 0 alone prints
    assert len(table(out)) == 3
