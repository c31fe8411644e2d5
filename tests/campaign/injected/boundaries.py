"""Kill this process at its k-th change of a file, without a line in the product.

A boundary is a moment just before a file under a folder is opened for writing, renamed, removed or
locked, a folder is made, or data is synced, and just after data was synced. Python's audit events
tell of all but the syncs, whichever module acts; ``os.fsync`` is wrapped.

Imported by the campaign, and by ``sitecustomize`` beside it in processes that trials start: it
imports nothing but what every Python has loaded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")
VARIABLE = "HYPEMARL_CAMPAIGN_KILL"


def arm(folder: str, at: int, log: str = "") -> None:
    """Kill this process at boundary ``at`` (from 1) under ``folder``; 0: never, only count.

    ``log``: file that gets a line for each boundary, with its operation and file.
    """
    counter = _Counter(folder, at, log)
    os.fsync, os.fdatasync = counter.wrap(os.fsync), counter.wrap(os.fdatasync)
    sys.addaudithook(counter.hear)


class _Counter:
    """Counts boundaries under a folder."""

    def __init__(self, folder: str, at: int, log: str) -> None:
        self.root, self.at, self.count = os.path.realpath(folder), at, 0
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if log else None

    def reach(self, operation: str, path: Any) -> None:
        name = _name(path)
        if not f"{name}/".startswith(f"{self.root}/"):
            return
        self.count += 1
        if self.log is not None:
            os.write(self.log, f"{operation} {os.path.relpath(name, self.root)}\n".encode())
        if self.count == self.at:
            os.kill(os.getpid(), 9)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if _changes(event, arguments):
            self.reach(event, arguments[0])

    def wrap(self, sync: Callable[[int], None]) -> Callable[[Any], None]:
        def synced(descriptor: Any) -> None:
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            self.reach("before fsync", number)
            sync(number)
            self.reach("after fsync", number)

        return synced


def arm_from_environment() -> None:
    """Arm the process that ``HYPEMARL_CAMPAIGN_KILL`` names: ``folder|at|mark``.

    ``mark`` is a piece of the command line (a child of ``--jobs``) or ``NAME=VALUE`` of the
    environment (a rank).
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return
    folder, at, mark = text.split("|")
    name, _, value = mark.partition("=")
    if os.environ.get(name) == value or mark in " ".join(sys.orig_argv):
        arm(folder, int(at))


def _changes(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether an audit event comes before a change of a file."""
    if event == "open":
        flags = arguments[2]
        return isinstance(flags, int) and bool(flags & WRITING)
    return event in EVENTS or event.startswith("fcntl.")


def _name(path: Any) -> str:
    """The absolute path of a path or an open descriptor; empty where it has none."""
    try:
        if isinstance(path, int):
            return os.readlink(f"/proc/self/fd/{path}")
        return os.path.abspath(os.fsdecode(path))
    except (OSError, TypeError):
        return ""
