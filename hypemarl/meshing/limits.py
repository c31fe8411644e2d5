"""Limits on memory and time of a reader, so that a damaged count ends in an error."""

import contextlib
import resource
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

ROOM = 2**30
"""Memory that a reader may take beyond a hundred times the size of its files, bytes."""
SECONDS, SECONDS_PER_MEGABYTE = 20.0, 10.0
"""Computing time that a reader may take."""


@contextlib.contextmanager
def limited(size: int) -> Iterator[None]:
    """Bound memory and computing time by the size of what is read, in bytes.

    Raises:
        MemoryError, TimeoutError: beyond the bounds. There is none of time outside the main
            thread, and none of memory on systems that do not tell how much is in use (/proc).
    """
    with _memory(ROOM + 100 * size), _time(SECONDS + SECONDS_PER_MEGABYTE * size / 2**20):
        yield


@contextlib.contextmanager
def _memory(room: int) -> Iterator[None]:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bounds = [pages * resource.getpagesize() + room]
    bounds += [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(bounds), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextlib.contextmanager
def _time(seconds: float) -> Iterator[None]:
    """Timer of computing time: a slow disk does not count, and SIGALRM stays free."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError(
            f"no end of reading within {seconds:.0f} s of computing time; the file is cut off or "
            f"damaged"
        )

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)
