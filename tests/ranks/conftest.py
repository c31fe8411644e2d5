"""Tests that run on several ranks at once: ``mpirun -n 3 python -m pytest tests/ranks``.

A test fails on every rank when it fails on one. Without mpirun only ``test_launch.py`` is
collected, which starts the others.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from mpi4py import MPI

TESTS = Path(__file__).parents[1]
ROOMS = ("coupling", "envs", "meshing", "optimal", "problem", "solvers", "training")
sys.path[1:1] = [str(TESTS), *(str(TESTS / room) for room in ROOMS)]  # whose cases are shared

from together import agree, first_ranks  # noqa: E402

SIZE = MPI.COMM_WORLD.size
collect_ignore_glob = ["test_*_ranks.py"] if SIZE == 1 else ["test_launch.py"]


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Rank 0 alone reports."""
    if MPI.COMM_WORLD.rank:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        config.pluginmanager.unregister(reporter)


def pytest_report_header() -> str:
    return f"ranks: {SIZE}"


@pytest.fixture
def comm(request: pytest.FixtureRequest) -> MPI.Intracomm | None:
    """All ranks, or the first ones where a test is parametrised by their number."""
    return first_ranks(getattr(request, "param", SIZE))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One folder for all ranks."""
    return Path(MPI.COMM_WORLD.bcast(str(tmp_path), root=0))


if SIZE > 1:

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Any:
        """Run the test where its communicator is, then agree on the outcome."""
        names, failure = pyfuncitem._fixtureinfo.argnames, None
        arguments = {name: pyfuncitem.funcargs[name] for name in names}
        if pyfuncitem.funcargs.get("comm", MPI.COMM_WORLD) is not None:
            try:
                pyfuncitem.obj(**arguments)
            except Exception:
                failure = traceback.format_exc()
        failure = agree(failure)
        if failure is not None:
            pytest.fail(failure, pytrace=False)
        return True
