"""Ranks: errors that reach every rank, sums that agree to the last bit, groups of ranks.

mpi4py initialises MPI when its ``MPI`` module is imported, so this module is imported only by code
that uses a communicator; ``world`` is the one place that code takes ``COMM_WORLD`` from.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np
from mpi4py import MPI

# What the launchers call the size of the world they start. Slurm's is trusted only where no MPI
# launcher speaks: MPICH's mpirun uses srun to reach other nodes, one task per node.
_ANNOUNCED_SIZE = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "MV2_COMM_WORLD_SIZE")
_ANNOUNCED_BY_SLURM = "SLURM_STEP_NUM_TASKS"

# Seconds that a rank waits before it reports an uncaught error, so that one rank speaks for all.
_WAIT_OTHER_RANK = 0.5
_WAIT_RELAYED = 1.5
# Seconds between the report and the abort: launchers drop what they have not passed on by then.
_WAIT_FORWARDED = 0.3
# Seconds that a rank with an error waits for the others to come with theirs. The lowest one speaks
# for all where several fail: every next one waits longer, up to a limit.
_WAIT_SHARED = 5.0
_WAIT_PER_RANK = 0.5

type Comm = MPI.Intracomm

_SAID: set[str] = set()


class LauncherMismatch(RuntimeError):
    """The launcher belongs to another MPI: its processes do not see each other."""


class RankError(RuntimeError):
    """An error of another rank whose type cannot be rebuilt from a message."""


@dataclass(frozen=True)
class Group:
    """The part of a communicator that runs one environment: number ``index`` of ``count``."""

    comm: MPI.Intracomm
    index: int
    count: int


def world() -> MPI.Intracomm:
    """``COMM_WORLD``, after the check that the launcher belongs to this MPI. Local.

    Raises:
        LauncherMismatch: the launcher announces several ranks, MPI sees one.
    """
    check_launcher(MPI.COMM_WORLD.size, os.environ)
    return MPI.COMM_WORLD


def check_launcher(size: int, environment: Mapping[str, str]) -> None:
    """Compare the world's ``size`` with what the launcher put into the ``environment``. Local.

    Under an ``mpirun`` of a different MPI each process is a separate world: every one would train
    alone and write to the same files.

    Raises:
        LauncherMismatch: ``size`` is 1 and a launcher announces more.
    """
    if size > 1:
        return
    named = [name for name in _ANNOUNCED_SIZE if name in environment] or [_ANNOUNCED_BY_SLURM]
    for name in named:
        announced = environment.get(name, "")
        if announced.isdecimal() and int(announced) > 1:
            raise LauncherMismatch(
                f"the launcher announces {announced} ranks ({name}={announced}), but MPI sees a "
                f"world of size 1: this launcher belongs to a different MPI. Start with "
                f"{_matching_launcher()}. Where independent serial runs are meant, unset {name}."
            )


def _matching_launcher() -> str:
    launcher = Path(sys.executable).parent / "mpirun"
    if launcher.exists():
        return f"the environment's own launcher: {launcher} -n {{ranks}} {sys.executable} ..."
    library = MPI.Get_library_version().splitlines()[0].strip().rstrip("\x00")
    return f"the mpirun of the MPI that mpi4py uses ({library})"


def note(text: str) -> None:
    """Say something once on stderr, on rank 0 of the world. Local."""
    if text not in _SAID and MPI.COMM_WORLD.rank == 0:
        _SAID.add(text)
        print(f"note: {text}", file=sys.stderr, flush=True)


@contextmanager
def raise_together(comm: MPI.Intracomm) -> Iterator[None]:
    """An error inside the block on any rank becomes an error on every rank. Collective.

    For rank-local work (checks, files). The block itself must hold no collective call behind
    the place that may fail, or the other ranks wait in it.

    Raises:
        Exception: on the lowest failing rank, the error itself; on the others, one of the same
            type whose message begins with ``rank {r}:`` (``RankError`` where the type needs more).
    """
    if comm.size == 1:
        yield
        return
    local: Exception | None = None
    try:
        yield
    except Exception as error:
        local = error
    failing = comm.allreduce(comm.size if local is None else comm.rank, op=MPI.MIN)
    if failing == comm.size:
        return
    relayed = _bcast_error(comm, local, failing)
    if local is not None and comm.rank == failing:
        raise local
    raise relayed from local


def _bcast_error(comm: MPI.Intracomm, local: Exception | None, root: int) -> Exception:
    """The error of rank ``root``, rebuilt from its type and message. Collective."""
    parcel = None
    if comm.rank == root:
        try:
            parcel = pickle.dumps((type(local), str(local)))
        except (pickle.PicklingError, AttributeError, TypeError):  # a class inside a function
            parcel = pickle.dumps((RankError, f"{type(local).__name__}: {local}"))
    kind, text = pickle.loads(comm.bcast(parcel, root=root))
    text = f"rank {root}: {text}"
    try:
        error = kind(text)
    except TypeError:  # its constructor takes something else
        error = None
    if error is None or error.args != (text,):
        error = RankError(f"{text} ({kind.__name__})")
    error.hypemarl_relayed = True
    return error


def on_root[T](comm: MPI.Intracomm, function: Callable[[], T]) -> T:
    """Run ``function`` on rank 0 and give its (picklable) result to every rank. Collective.

    Raises:
        Exception: what ``function`` raised, on every rank (see :func:`raise_together`).
    """
    result: Any = None
    with raise_together(comm):
        if comm.rank == 0:
            result = function()
    return result if comm.size == 1 else comm.bcast(result, root=0)


def bcast_array(comm: MPI.Intracomm, array: np.ndarray, root: int = 0) -> np.ndarray:
    """Rank ``root``'s values as a new array on every rank. Collective.

    Args:
        array: same shape and dtype on every rank, check that first; only the root's values count.
    """
    result = np.array(array, order="C")
    if comm.size > 1:
        comm.Bcast(result, root=root)
    return result


def bounding_box(comm: MPI.Intracomm, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner (d,) of all ranks' points (n, d), some of which may have none.

    Collective.
    """
    lower, upper = points.min(axis=0, initial=np.inf), points.max(axis=0, initial=-np.inf)
    comm.Allreduce(MPI.IN_PLACE, lower, op=MPI.MIN)
    comm.Allreduce(MPI.IN_PLACE, upper, op=MPI.MAX)
    return lower, upper


def sum_over_ranks(comm: MPI.Intracomm, array: np.ndarray) -> np.ndarray:
    """The sum over ranks as a new array, equal to the last bit on every rank. Collective.

    MPI does not promise that for Allreduce, hence a reduction to rank 0 and a broadcast.

    Args:
        array: same shape and dtype on every rank.
    """
    part = np.ascontiguousarray(array)
    if comm.size == 1:
        return part.copy()
    total = np.empty_like(part)
    comm.Reduce(part, total, op=MPI.SUM, root=0)
    comm.Bcast(total, root=0)
    return total


def split_groups(comm: MPI.Intracomm, ranks_per_group: int) -> Group:
    """Split ``comm`` into groups of neighbouring ranks, one environment each. Collective.

    The group's communicator is the caller's to free.

    Raises:
        ValueError: ``comm.size`` is not a multiple of ``ranks_per_group``.
    """
    if ranks_per_group < 1 or comm.size % ranks_per_group:
        raise ValueError(
            f"{comm.size} ranks cannot be split into groups of {ranks_per_group}: "
            "the number of ranks must be a positive multiple of the ranks per group"
        )
    index = comm.rank // ranks_per_group
    part = cast(MPI.Intracomm, comm.Split(index, comm.rank))
    return Group(part, index, comm.size // ranks_per_group)


@contextmanager
def abort_together(comm: MPI.Intracomm) -> Iterator[None]:
    """An error or interrupt that only some ranks raise ends them all with one message. Collective.

    For blocks whose ranks do different things, where an error cannot be raised together: the others
    would wait for ever in their next collective call. An error of every rank passes unchanged.
    """
    if comm.size == 1:
        yield
        return
    private = comm.Dup()  # nobody else waits in it
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if not all_arrive(private):
            report = "".join(traceback.format_exception(error))
            message = f"rank {comm.rank} of {comm.size} failed, all ranks stop\n{report}"
            report_and_abort(message, status=1)
        private.Free()
        raise
    private.Free()


def all_arrive(comm: MPI.Intracomm) -> bool:
    """Whether every rank of ``comm`` calls this within a few seconds.

    False only where one does not: then the caller must end the world, the call is not undone.
    """
    arrived = comm.Ibarrier()
    end = time.monotonic() + _WAIT_SHARED + _WAIT_PER_RANK * min(comm.rank, 8)
    while not arrived.Test():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def oversubscribed(comm: MPI.Intracomm) -> bool:
    """Whether on some machine more ranks run than it has processors. Collective.

    Ranks that share a mesh wait for each other many times in a time step; a rank that has no
    processor at that moment then costs all of them a time slice.
    """
    neighbours = cast(MPI.Intracomm, comm.Split_type(MPI.COMM_TYPE_SHARED))
    crowded = neighbours.size > (os.cpu_count() or 1)
    neighbours.Free()
    return bool(comm.allreduce(int(crowded), op=MPI.MAX))


def install_excepthook() -> None:
    """Let an uncaught error on one rank end every rank with one message. Local.

    Without it the other ranks wait for ever in the next collective call. Does nothing in a world
    of size 1. Rank 0 reports at once; another rank waits a moment, so that a shared error is
    printed once, and a relayed one waits for its origin.
    """
    if MPI.COMM_WORLD.size > 1:
        sys.excepthook = _report_and_abort


def _report_and_abort(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if getattr(error, "hypemarl_relayed", False):
        time.sleep(_WAIT_RELAYED)
    elif MPI.COMM_WORLD.rank > 0:
        time.sleep(_WAIT_OTHER_RANK)
    report = "".join(traceback.format_exception(kind, error, trace))
    report_and_abort(f"rank {MPI.COMM_WORLD.rank} failed, all ranks stop\n{report}", status=1)


def report_and_abort(report: str, status: int) -> None:
    """Write ``report`` to stderr and end every rank of the world. Local, does not return."""
    sys.stdout.flush()
    sys.stderr.write(report)
    sys.stderr.flush()
    time.sleep(_WAIT_FORWARDED)
    MPI.COMM_WORLD.Abort(status)
    os._exit(status)  # some launchers end this process a moment later only
