"""A parent that starts a child by ``Children``, and the child; both write down what reaches them.

``family.py parent FOLDER SECONDS`` and, started by that, ``family.py child FOLDER SECONDS``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from hypemarl.training.children import Children, follow_parent


def child(folder: Path, seconds: float) -> None:
    """Live for so long, or half a second after the first stop; a second one stops at once."""
    follow_parent()
    end = time.monotonic() + seconds
    asked = 0

    def note(number: int, frame: Any) -> None:
        nonlocal end, asked
        asked += 1
        with (folder / "child.log").open("a") as log:
            log.write(f"{signal.Signals(number).name}\n")
        end = time.monotonic() + (0.5 if asked == 1 else 0.0)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, note)
    (folder / "child.pid").write_text(f"{os.getpid()}\n")
    while time.monotonic() < end:
        time.sleep(0.01)
    (folder / "child.end").write_text("saved")


def parent(folder: Path, seconds: str) -> None:
    with Children() as children:
        process = children.start([sys.executable, __file__, "child", str(folder), seconds])
        process.wait()
    raise SystemExit(f"asked {children.asked}, child {process.returncode}")


if __name__ == "__main__":
    if sys.argv[1] == "child":
        child(Path(sys.argv[2]), float(sys.argv[3]))
    else:
        parent(Path(sys.argv[2]), sys.argv[3])
