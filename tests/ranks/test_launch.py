"""Start the modules of this folder on several ranks, each once: a launch takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOMS = ("mpi", "meshing", "periodic", "solvers", "systems", "optimal", "training", "validation")
SLOW = ("problem", "systems", "optimal", "training", "validation")


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("room", "marks"),
    [
        *((room, "not slow") for room in ROOMS),
        *(pytest.param(room, "slow", marks=pytest.mark.slow) for room in SLOW),
    ],
)
def test_on_three_ranks(
    mpirun: Any, room: str, marks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(tmp_path))  # no rank clears those of others
    arguments = ("-q", "-m", marks, "-p", "no:cacheprovider", str(HERE / f"test_{room}_ranks.py"))
    out = mpirun(3, "-m", "pytest", *arguments, timeout=900.0)
    assert " passed" in out
    assert "skipped" not in out
