"""Fixtures that every room's tests share."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

import hypemarl  # noqa: F401  a wheel of dolfinx must be set up before a test imports dolfinx

# A launcher's variables reach the children of a test that itself runs under a launcher, and make
# them join its world.
_LAUNCHER_PREFIXES = ("PMI_", "PMIX_", "OMPI_", "MPI_LOCAL", "HYDI_", "HYDRA_", "SLURM_")


class MpiRun(Protocol):
    """Run a script, or ``-m`` and a module, on ``n`` ranks, see :func:`mpirun`."""

    def __call__(
        self,
        n: int,
        script: str | Path,
        *arguments: str,
        timeout: float = 120.0,
        expect_failure: bool = False,
    ) -> str: ...


def serial_environment() -> dict[str, str]:
    """This process's environment without a launcher's variables, one thread per process."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_LAUNCHER_PREFIXES)}
    environment |= {
        "OMP_NUM_THREADS": "1",
        # Open MPI refuses more ranks than cores, and root in a container.
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
    return environment


def find_mpirun() -> str | None:
    """The launcher beside this Python, else the one on the PATH."""
    own = Path(sys.executable).parent / "mpirun"
    return str(own) if own.exists() else shutil.which("mpirun")


@pytest.fixture
def mpirun() -> MpiRun:
    """Run a script, or ``-m`` and a module, under ``mpirun -n n``; the answer is its stdout.

    ``mpirun(2, path)`` fails the test with both outputs when the run fails or takes longer than
    ``timeout`` seconds. With ``expect_failure`` it fails when the run succeeds, and the answer is
    stdout and stderr together.
    """
    launcher = find_mpirun()
    if launcher is None:
        pytest.skip("no mpirun beside this Python or on the PATH")

    def run(
        n: int,
        script: str | Path,
        *arguments: str,
        timeout: float = 120.0,
        expect_failure: bool = False,
    ) -> str:
        command = [launcher, "-n", str(n), sys.executable, str(script), *arguments]
        status, out, err = _run_to_end(command, timeout)
        if (status == 0) == expect_failure:
            what = "succeeded" if status == 0 else f"failed with {status}"
            pytest.fail(f"mpirun -n {n} {what}\n--- stdout\n{out}\n--- stderr\n{err}")
        return out + err if expect_failure else out

    return run


def _run_to_end(command: list[str], timeout: float) -> tuple[int, str, str]:
    """Exit status, stdout and stderr; a run past its time is stopped with all its ranks."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=serial_environment(),
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.terminate()  # the launcher passes it on to its ranks
        try:
            out, err = process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
        pytest.fail(f"no end within {timeout} s: {command}\n--- stdout\n{out}\n--- stderr\n{err}")
    return process.returncode, out, err


def pytest_collection_finish() -> None:
    """Leave what imports made out of later collections, which then take next to no time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _collect_garbage() -> Iterator[None]:
    """PETSc objects in reference cycles are freed here, not at some moment in another test."""
    yield
    if "petsc4py" in sys.modules:
        gc.collect()
