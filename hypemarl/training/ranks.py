"""Measurements that need ranks of their own: a module started under mpirun, its answer as JSON."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypemarl.training.jobs import THREAD_LIMITS, without_launcher

LIMIT_SECONDS = 300.0


def launch(ranks: int, module: str, *arguments: str) -> dict[str, Any]:
    """Run ``module`` on ``ranks`` ranks, one thread each; the JSON object of its last line.

    Raises:
        RuntimeError: there is no mpirun, or the launch fails or takes longer than LIMIT_SECONDS.
    """
    command = [_launcher(), "-n", str(ranks), sys.executable, "-m", module, *arguments]
    environment = without_launcher(os.environ) | dict.fromkeys(THREAD_LIMITS, "1")
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=LIMIT_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout).strip().splitlines()[-4:]
        raise RuntimeError(f"{' '.join(command)} failed: {' | '.join(last)}") from error
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{' '.join(command)}: no end in {LIMIT_SECONDS:g} s") from error
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _launcher() -> str:
    own = Path(sys.executable).parent / "mpirun"
    found = str(own) if own.exists() else shutil.which("mpirun")
    if found is None:
        raise RuntimeError("this needs an mpirun beside this Python or on the PATH")
    return found
