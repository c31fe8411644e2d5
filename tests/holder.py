"""A process that holds a run folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HOLDER = """
import sys, time
from pathlib import Path
from hypemarl.files import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def held_by_another(folder: Path) -> subprocess.Popen:
    """The process, once it holds ``folder``; end it by ``kill``."""
    program = [sys.executable, "-c", HOLDER, str(folder)]
    child = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child
