"""Ranks: errors reach all of them, sums agree to the last bit, a foreign launcher is noticed."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from mpi4py import MPI

from hypemarl import mpi


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
@pytest.mark.parametrize("n", [2, 3])
def test_every_rank_raises_the_error_of_the_lowest_failing_rank(mpirun, n):
    out = mpirun(
        n,
        """
        from hypemarl import mpi
        comm = mpi.world()
        class Odd(Exception):
            def __init__(self, a, b):
                super().__init__(a, b)
        def attempt(make, failing):
            try:
                with mpi.raise_together(comm):
                    if comm.rank in failing:
                        raise make(comm.rank)
            except Exception as error:
                return type(error).__name__, str(error)
            return None
        last = comm.size - 1
        def inner(rank):
            class Local(ValueError): pass
            return Local("hidden")
        results = [
            attempt(lambda r: ValueError(f"from {r}"), {last}),
            attempt(lambda r: ValueError(f"from {r}"), set(range(1, comm.size))),
            attempt(lambda r: KeyError(f"key {r}"), {0}),
            attempt(lambda r: Odd(1, 2), {last}),
            attempt(inner, {last}),
            attempt(ValueError, set()),
        ]
        for rank, row in enumerate(comm.gather(results) or []):
            print(rank, row)
        """,
    )
    rows = [eval(line.split(" ", 1)[1]) for line in out.splitlines()]
    assert len(rows) == n
    last = n - 1
    assert rows[last][0] == ("ValueError", f"from {last}")
    assert rows[0][0] == ("ValueError", f"rank {last}: from {last}")
    assert rows[0][1] == ("ValueError", "rank 1: from 1")
    assert rows[last][1][1] in ("from 1", "rank 1: from 1")
    assert rows[1][2] == ("KeyError", repr("rank 0: 'key 0'"))
    assert rows[0][3] == ("RankError", f"rank {last}: (1, 2) (Odd)")
    assert rows[0][4] == ("RankError", f"rank {last}: Local: hidden")
    assert all(row[5] is None for row in rows)


@pytest.mark.mpi
@pytest.mark.parametrize("n", [2, 3])
def test_sums_broadcasts_and_groups_over_ranks(mpirun, n):
    out = mpirun(
        n,
        """
        import numpy as np
        from hypemarl import mpi
        comm = mpi.world()
        parts = np.random.default_rng(0).normal(size=(comm.size, 50, 3)) * 10.0 ** comm.size
        total = mpi.sum_over_ranks(comm, parts[comm.rank])
        assert np.allclose(total, parts.sum(axis=0), rtol=1e-14, atol=1e-10)
        assert len({bytes(t) for t in comm.allgather(total.tobytes())}) == 1
        array = np.full((2, 2), float(comm.rank))[:, ::-1]
        assert np.array_equal(mpi.bcast_array(comm, array, root=1), np.ones((2, 2)))
        assert array[0, 0] == comm.rank
        assert mpi.on_root(comm, lambda: comm.rank + 10) == 10
        group = mpi.split_groups(comm, 1)
        assert (group.comm.size, group.index, group.count) == (1, comm.rank, comm.size)
        group.comm.Free()
        group = mpi.split_groups(comm, comm.size)
        assert (group.comm.size, group.index, group.count) == (comm.size, 0, 1)
        group.comm.Free()
        try:
            mpi.on_root(comm, lambda: 1 / 0)
        except ZeroDivisionError as error:
            caught = str(error)
        assert all("division by zero" in text for text in comm.allgather(caught))
        if comm.rank == 0:
            print("good")
        """,
    )
    assert out.split() == ["good"]


@pytest.mark.mpi
@pytest.mark.parametrize(("failing", "reporter"), [((1,), 1), ((0, 1), 0)])
def test_an_uncaught_error_ends_all_ranks_with_one_message(mpirun, failing, reporter):
    out = mpirun(
        2,
        f"""
        import time
        from hypemarl import mpi
        mpi.install_excepthook()
        comm = mpi.world()
        if comm.rank in {failing}:
            if comm.rank == 0:
                time.sleep(0.1)  # rank 0 speaks for all even where it is the later one
            raise ValueError("no such thing")
        comm.Barrier()  # would wait for ever
        """,
        timeout=20,
        expect_failure=True,
    )
    assert out.count("ValueError: no such thing") == 1
    assert f"rank {reporter} failed, all ranks stop" in out


@pytest.mark.mpi
def test_a_shared_error_is_reported_by_the_rank_where_it_arose(mpirun):
    out = mpirun(
        2,
        """
        from hypemarl import mpi
        mpi.install_excepthook()
        comm = mpi.world()
        with mpi.raise_together(comm):
            if comm.rank == 1:
                raise ValueError("no such thing")
        """,
        timeout=20,
        expect_failure=True,
    )
    assert "rank 1 failed" in out
    assert out.count("ValueError: no such thing") == 1


def test_more_ranks_than_processors_are_noticed(mpirun) -> None:
    code = """
        import os
        from hypemarl import mpi
        os.cpu_count = lambda: 2
        enough = mpi.oversubscribed(mpi.world())
        os.cpu_count = lambda: 1
        print(f"[{enough} {mpi.oversubscribed(mpi.world())}]")
    """
    assert mpirun(2, code).count("[False True]") == 2
