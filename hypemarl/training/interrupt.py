"""Ctrl-C, SIGTERM and SIGHUP during training: finish what can be resumed, then stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


@contextmanager
def handled_stops(handler: Handler) -> Iterator[None]:
    """Let ``handler`` take Ctrl-C, SIGTERM and SIGHUP inside the block. Local.

    A hang-up that is ignored, as under nohup, stays so. Outside the main thread, where no signal
    arrives, nothing changes.
    """
    old: dict[int, signal._HANDLER] = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        old = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in old.items():
            signal.signal(number, previous)


def tell(text: str) -> None:
    """Write a line to stderr from a signal handler, which may have interrupted a print. Local."""
    with suppress(OSError):  # the terminal that hung up is gone
        os.write(2, f"\n{text}\n".encode())


@contextmanager
def deferred_interrupt(speaks: bool) -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into a flag; a second one interrupts. Local.

    Gives a function that tells whether to stop. Outside the main thread, where no signal arrives,
    it never does.
    """
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        if speaks:
            tell("finishing the episode, then saving (again: stop at once)")

    with handled_stops(ask):
        yield lambda: asked
