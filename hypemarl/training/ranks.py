"""Measurements that need ranks of their own: a module started under mpirun, its answer as JSON."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from hypemarl.training.children import Children, python_module
from hypemarl.types import Row

LIMIT_SECONDS = 300.0


def launch(ranks: int, module: str, *arguments: str) -> Row:
    """Run ``module`` on ``ranks`` ranks, one thread each; the JSON object of its last line.

    Raises:
        RuntimeError: there is no mpirun, or the launch fails or takes longer than LIMIT_SECONDS.
    """
    command = [_launcher(), "-n", str(ranks), *python_module(module), *arguments]
    with Children() as children:
        launcher = children.start(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            out, err = launcher.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"{' '.join(command)}: no end in {LIMIT_SECONDS:g} s") from error
    if children.asked:
        raise KeyboardInterrupt
    if launcher.returncode:
        last = (err or out).strip().splitlines()[-4:]
        raise RuntimeError(f"{' '.join(command)} failed: {' | '.join(last)}")
    answer: Row = json.loads(out.splitlines()[-1])
    return answer


def _launcher() -> str:
    own = Path(sys.executable).parent / "mpirun"
    found = str(own) if own.exists() else shutil.which("mpirun")
    if found is None:
        raise RuntimeError("this needs an mpirun beside this Python or on the PATH")
    return found
