from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[1] / "demos" / "density_control.py"


def test_density_control_runs_serially(tmp_path: Path) -> None:
    """The demo's own assertions hold, and it leaves a film."""
    command = [sys.executable, str(DEMO), "--episodes", "11", "--run", str(tmp_path / "run")]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "% of uncontrolled" in run.stdout
    assert (tmp_path / "run" / "film.mp4").stat().st_size > 10_000


@pytest.mark.mpi
def test_density_control_runs_on_two_ranks(mpirun, tmp_path: Path) -> None:
    out = mpirun(2, DEMO, "--episodes", "11", "--run", str(tmp_path / "run"), "--no-film")
    assert out.count("uncontrolled: J =") == 1  # rank 0 alone prints
    assert "% of uncontrolled" in out
