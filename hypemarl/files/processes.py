"""Whether a process that is named in a file still runs."""

from __future__ import annotations

import os
import time
from pathlib import Path

_SLACK = 2.0  # seconds to which clocks of a file system and of processes agree


def is_running(pid: int, at: float) -> bool:
    """Whether a process of this machine that was there at time ``at`` (epoch) runs still."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    return _began(pid) <= at + _SLACK


def _began(pid: int) -> float:
    """When a process began (epoch); infinity where it has ended, 0 where the system hides it."""
    if not Path("/proc/self/stat").exists():
        return 0.0
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return float("inf")
    fields = status.rpartition(")")[2].split()
    if fields[0] in "ZX":
        return float("inf")
    since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot
