"""Shared parts of the tests on several ranks: one verdict, one serial reference."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI

WAIT = 60.0  # seconds for the other ranks, after which a failed test ends the whole run
_verdicts = MPI.COMM_WORLD.Dup()  # a rank may fail amid a collective call of the others


def first_ranks(count: int) -> MPI.Intracomm | None:
    """A communicator of the first ``count`` ranks; None on the others. Collective."""
    world = MPI.COMM_WORLD
    assert count <= world.size, f"needs {count} ranks: mpirun -n {count} python -m pytest ..."
    part = world.Split(0 if world.rank < count else MPI.UNDEFINED)
    return None if part == MPI.COMM_NULL else part


def agree(failure: str | None) -> str | None:
    """The failure of the lowest rank that has one, on every rank, else None. Collective.

    Ranks that wait sleep. Where the others do not come, because they wait for this rank inside the
    test, all are ended.
    """
    if failure is not None:
        print(f"rank {_verdicts.rank}: {failure}", file=sys.stderr, flush=True)
    start, barrier = time.monotonic(), _verdicts.Ibarrier()
    while not barrier.Test():
        time.sleep(0.002)
        if failure is not None and time.monotonic() - start > WAIT:
            _verdicts.Abort(1)
    failures = [text for text in _verdicts.allgather(failure) if text]
    return failures[0] if failures else None


def from_rank_0(comm: MPI.Intracomm, compute: Callable[[], Any]) -> Any:
    """Result of ``compute`` on rank 0, such as a serial reference; the others sleep. Collective.

    An error of it is one of every rank.
    """
    result: Any = None
    if comm.rank == 0:
        try:
            result = compute()
        except Exception as error:
            result = error
    barrier = comm.Ibarrier()
    while not barrier.Test():
        time.sleep(0.002)
    result = comm.bcast(result, root=0)
    if isinstance(result, Exception):
        raise result
    return result


def assert_same(comm: MPI.Intracomm, *arrays: Any) -> None:
    """Every rank has the same numbers, to the last bit. Collective."""
    for other in comm.allgather(arrays):
        for one, theirs in zip(arrays, other, strict=True):
            assert np.array_equal(one, theirs)


def raised(comm: MPI.Intracomm, error: type[Exception], call: Callable[[], Any]) -> list[str]:
    """The texts of the error that ``call`` raises on every rank. Collective."""
    text = None
    try:
        call()
    except error as caught:
        text = str(caught)
    texts = comm.allgather(text)
    assert None not in texts, f"{error.__name__} on some ranks only: {texts}"
    return texts
