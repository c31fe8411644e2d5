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
    root, count = os.path.realpath(folder), 0
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if log else None

    def reached(operation: str, path: str) -> None:
        nonlocal count
        count += 1
        if stream is not None:
            os.write(stream, f"{operation} {os.path.relpath(path, root)}\n".encode())
        if count == at:
            os.kill(os.getpid(), 9)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not (isinstance(flags, int) and flags & WRITING):
                return
        elif event in EVENTS or event.startswith("fcntl."):
            path = arguments[0]
        else:
            return
        name = _name(path)
        if name.startswith(root + os.sep):
            reached(event, name)

    def synced(original: Callable[[int], None]) -> Callable[[Any], None]:
        def fsync(descriptor: Any) -> None:
            name = _name(descriptor if isinstance(descriptor, int) else descriptor.fileno())
            inside = name.startswith(root)
            if inside:
                reached("before fsync", name)
            original(descriptor)
            if inside:
                reached("after fsync", name)

        return fsync

    os.fsync, os.fdatasync = synced(os.fsync), synced(os.fdatasync)  # type: ignore[assignment]
    sys.addaudithook(hook)


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


def _name(path: Any) -> str:
    """The absolute path of a path or an open descriptor; empty where it has none."""
    try:
        if isinstance(path, int):
            return os.readlink(f"/proc/self/fd/{path}")
        return os.path.abspath(os.fsdecode(path))
    except (OSError, TypeError):
        return ""
