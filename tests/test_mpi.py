"""Ranks: errors reach all of them, sums agree to the last bit, a foreign launcher is noticed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from hypemarl import mpi

UNCAUGHT = Path(__file__).parent / "ranks" / "uncaught.py"


def test_world_is_comm_world_without_a_launcher(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "1")
    assert mpi.world() is MPI.COMM_WORLD


@pytest.mark.parametrize("name", ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_foreign_launcher_is_refused(name):
    with pytest.raises(mpi.LauncherMismatch, match=f"announces 3 ranks.*{name}.*mpirun"):
        mpi.check_launcher(1, {name: "3"})


@pytest.mark.parametrize(
    ("size", "environment"),
    [
        (1, {}),
        (3, {"PMI_SIZE": "3"}),
        (1, {"PMI_SIZE": "1", "SLURM_STEP_NUM_TASKS": "4"}),  # mpirun over srun: MPI's word counts
        (1, {"SLURM_STEP_NUM_TASKS": "not a number"}),
    ],
)
def test_own_launcher_is_accepted(size, environment):
    mpi.check_launcher(size, environment)


def test_foreign_launcher_ends_a_process_with_the_remedy():
    code = "from hypemarl import mpi; mpi.world()"
    environment = {**os.environ, "OMPI_COMM_WORLD_SIZE": "2"}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "LauncherMismatch" in result.stderr
    assert "different MPI" in result.stderr
    assert "mpirun" in result.stderr


def test_missing_own_launcher_is_described_by_its_library(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(mpi.LauncherMismatch, match=r"that mpi4py uses \(.+\)"):
        mpi.check_launcher(1, {"PMI_SIZE": "2"})


def test_serial_errors_pass_unchanged():
    error = KeyError("as it was")
    with pytest.raises(KeyError) as caught, mpi.raise_together(MPI.COMM_SELF):
        raise error
    assert caught.value is error


def test_serial_sum_and_broadcast_are_copies():
    array = np.arange(6.0).reshape(2, 3)
    for result in (mpi.sum_over_ranks(MPI.COMM_SELF, array), mpi.bcast_array(MPI.COMM_SELF, array)):
        assert np.array_equal(result, array)
        assert not np.shares_memory(result, array)


def test_serial_on_root_gives_the_result():
    assert mpi.on_root(MPI.COMM_SELF, lambda: 7) == 7


@pytest.mark.parametrize("ranks_per_group", [0, 2])
def test_groups_must_divide_the_ranks(ranks_per_group):
    with pytest.raises(ValueError, match=f"groups of {ranks_per_group}"):
        mpi.split_groups(MPI.COMM_SELF, ranks_per_group)


def test_excepthook_is_left_alone_in_serial(monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    mpi.install_excepthook()
    assert sys.excepthook is sys.__excepthook__


@pytest.mark.mpi
@pytest.mark.parametrize(("failing", "reporter"), [("1", 1), ("0 1", 0)])
def test_an_uncaught_error_ends_all_ranks_with_one_message(mpirun, failing, reporter):
    out = mpirun(2, UNCAUGHT, "alone", *failing.split(), timeout=20, expect_failure=True)
    assert out.count("ValueError: no such thing") == 1
    assert f"rank {reporter} failed, all ranks stop" in out


@pytest.mark.mpi
def test_a_shared_error_is_reported_by_the_rank_where_it_arose(mpirun):
    out = mpirun(2, UNCAUGHT, "shared", "1", timeout=20, expect_failure=True)
    assert "rank 1 failed" in out
    assert out.count("ValueError: no such thing") == 1
