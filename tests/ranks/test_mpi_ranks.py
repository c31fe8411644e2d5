"""Sums, broadcasts, groups and errors over ranks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from mpi4py import MPI
from together import assert_same, raised

from hypemarl import mpi

BOTH = pytest.mark.parametrize("comm", [2, 3], indirect=True)


class Odd(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(a, b)


def local_error(rank: int) -> Exception:
    class Local(ValueError):
        pass

    return Local("hidden")


@BOTH
def test_every_rank_raises_the_error_of_the_lowest_failing_rank(comm: MPI.Intracomm) -> None:
    def attempt(make: Callable[[int], Exception], failing: set[int]) -> tuple[str, str] | None:
        try:
            with mpi.raise_together(comm):
                if comm.rank in failing:
                    raise make(comm.rank)
        except Exception as error:
            return type(error).__name__, str(error)
        return None

    last = comm.size - 1
    results = [
        attempt(lambda r: ValueError(f"from {r}"), {last}),
        attempt(lambda r: ValueError(f"from {r}"), set(range(1, comm.size))),
        attempt(lambda r: KeyError(f"key {r}"), {0}),
        attempt(lambda r: Odd(1, 2), {last}),
        attempt(local_error, {last}),
        attempt(lambda r: ValueError(), set()),
    ]
    rows = comm.allgather(results)
    assert rows[last][0] == ("ValueError", f"from {last}")
    assert rows[0][0] == ("ValueError", f"rank {last}: from {last}")
    assert rows[0][1] == ("ValueError", "rank 1: from 1")
    assert rows[last][1][1] in ("from 1", "rank 1: from 1")
    assert rows[1][2] == ("KeyError", repr("rank 0: 'key 0'"))
    assert rows[0][3] == ("RankError", f"rank {last}: (1, 2) (Odd)")
    assert rows[0][4] == ("RankError", f"rank {last}: Local: hidden")
    assert all(row[5] is None for row in rows)


@BOTH
def test_sums_broadcasts_and_groups_over_ranks(comm: MPI.Intracomm) -> None:
    parts = np.random.default_rng(0).normal(size=(comm.size, 50, 3)) * 10.0**comm.size
    total = mpi.sum_over_ranks(comm, parts[comm.rank])
    assert np.allclose(total, parts.sum(axis=0), rtol=1e-14, atol=1e-10)
    assert_same(comm, total)
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
    texts = raised(comm, ZeroDivisionError, lambda: mpi.on_root(comm, lambda: 1 / 0))
    assert all("division by zero" in text for text in texts)


@BOTH
def test_more_ranks_than_processors_are_noticed(
    comm: MPI.Intracomm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: comm.size)
    assert not mpi.oversubscribed(comm)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert mpi.oversubscribed(comm)
