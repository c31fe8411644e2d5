"""One trial: a command in a process of its own, its end, its words, and what it left behind.

Most trials are forks of a process that has imported everything, which saves three seconds each;
those whose subject is a process tree (``--jobs``, MPI) or a start are started afresh. A fork that
dies, hangs or breaks its libraries harms no other. The process that runs trials adopts the orphans
of its trials, so that none is missed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOG = "trial.log"
PATIENCE = float(os.environ.get("HYPEMARL_CAMPAIGN_PATIENCE", "1"))  # above 1 on a busy machine
LIMIT = 120.0  # seconds until a trial counts as a hang; on an idle machine most take one
GRACE = 10.0  # seconds in which descendants of a trial may end after it
LONGEST_LINE = 1500  # an error that is longer echoes what nobody reads
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_LAUNCHER = ("PMI_", "PMIX_", "OMPI_", "MPI_LOCAL", "HYDI_", "HYDRA_", "SLURM_")


@dataclass(frozen=True)
class Strike:
    """Action on the process of a trial, so many seconds after it has come so far."""

    seconds: float
    act: Callable[[int], None]  # with the process's id
    ready: Callable[[], bool] = lambda: True  # the seconds count from the first time this is so


@dataclass(frozen=True)
class Outcome:
    """How a trial ended; ``status`` is negative where a signal ended it."""

    status: int
    text: str
    seconds: float
    hung: bool
    orphans: int

    @property
    def traceback(self) -> bool:
        """Whether it ended in a traceback or by a fault of memory."""
        crashed = -self.status in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE)
        return "Traceback (most recent call last)" in self.text or crashed

    @property
    def error(self) -> str:
        """Text after ``error:``; empty where it reported none."""
        return self.text.partition("error:")[2].strip()

    @property
    def clear(self) -> bool:
        """Whether it failed with one line of readable length."""
        return bool(self.error) and "\n" not in self.error and len(self.error) < LONGEST_LINE

    def verdict(self) -> str | None:
        """The fault that every trial may show, None where there is none."""
        for fault, there in (
            ("hang", self.hung),
            ("orphan", self.orphans > 0),
            ("traceback", self.traceback),
            ("unclear", self.status > 0 and self.status != 130 and not self.clear),
        ):
            if there:
                return fault
        return None

    def brief(self) -> str:
        """Its last words, for the list of what was found."""
        lines = [line for line in self.text.strip().splitlines() if line.strip()]
        return f"[{self.status}] {lines[-1][-300:] if lines else ''}"


def adopt_orphans() -> None:
    """Make this process the parent of what its descendants leave."""
    ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0)


def command(
    arguments: Sequence[str],
    folder: Path,
    *,
    prepare: Callable[[], None] | None = None,
    strike: Strike | None = None,
    limit: float = LIMIT,
) -> Outcome:
    """``hypemarl ARGUMENTS`` in ``folder``, in a fork; ``prepare`` is called inside it first."""

    def work() -> int:
        from hypemarl.cli import main

        if prepare is not None:
            prepare()
        return main(list(arguments))

    return fork(work, folder, strike=strike, limit=limit)


def fork(
    work: Callable[[], int], folder: Path, *, strike: Strike | None = None, limit: float = LIMIT
) -> Outcome:
    """Call ``work`` in a fork with ``folder`` as its working folder; its answer is the status."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.parent / f"{folder.name}.{LOG}"
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("wb") as stream:
        pid = os.fork()
        if pid == 0:
            _inside(work, folder, stream.fileno())
    return _watch(pid, log, strike, limit)


def process(
    arguments: Sequence[str],
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    strike: Strike | None = None,
    limit: float = LIMIT,
) -> Outcome:
    """A program that is started afresh in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.parent / f"{folder.name}.{LOG}"
    with log.open("wb") as stream:
        child = subprocess.Popen(
            list(arguments),
            cwd=folder,
            env=clean_environment(folder) | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    outcome = _watch(child.pid, log, strike, limit)
    child.returncode = outcome.status  # it is reaped already
    return outcome


def clean_environment(folder: Path) -> dict[str, str]:
    """This environment without a launcher's variables; one thread, caches in ``folder``."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_LAUNCHER)}
    return kept | {"OMP_NUM_THREADS": "1", "HYPEMARL_CACHE": str(folder / "cache")}


def _inside(work: Callable[[], int], folder: Path, log: int) -> None:
    """The life of a fork."""
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM):
            first = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if first else signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(number, mode, closefd=False) for number, mode in enumerate(("r", "w", "w"))
        )
        sys.stderr.reconfigure(line_buffering=True, write_through=True)
        os.chdir(folder)
        os.environ["HYPEMARL_CACHE"] = str(folder / "cache")
        status = work()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(status or 0)


def _watch(pid: int, log: Path, strike: Strike | None, limit: float) -> Outcome:
    began, hung, status = time.monotonic(), False, None
    ready: float | None = None
    while status is None:
        ended, code = os.waitpid(pid, os.WNOHANG)
        if ended:
            status = os.waitstatus_to_exitcode(code)
            break
        elapsed = time.monotonic() - began
        if strike is not None and ready is None and strike.ready():
            ready = elapsed
        if strike is not None and ready is not None and elapsed >= ready + strike.seconds:
            strike.act(pid)
            strike = None
        if elapsed > limit * PATIENCE:
            hung = True
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    seconds = time.monotonic() - began
    orphans = _clear_descendants()
    text = log.read_text(encoding="utf-8", errors="replace")
    return Outcome(status, re.sub(r"[^\n]*\r", "", text), seconds, hung, orphans)


def _clear_descendants() -> int:
    """Wait for what a trial left, kill what stays; returns how many stayed."""
    end = time.monotonic() + GRACE * PATIENCE
    while (left := list(descendants(os.getpid()))) and time.monotonic() < end:
        _reap()
        time.sleep(0.02)
    count = len(left)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while list(descendants(os.getpid())):
        _reap()
        time.sleep(0.02)
    return count


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def descendants(pid: int) -> Iterator[int]:
    """Children of a process, their children, and so on."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                yield child
                yield from descendants(child)
