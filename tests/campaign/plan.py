"""How much is tried, and the trials as tasks of a pool."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

from . import trials
from .report import Result
from .tiny import METHODS, Work

PARALLEL = 2


@dataclass(frozen=True)
class Scale:
    """Numbers of trials; :data:`FULL` fills about 15 minutes of two cores."""

    points: int  # boundaries for each command
    moments: int  # random moments for each command
    trees: int  # kills for each kind of process tree
    flips: int  # bit flips for each file, by loaders
    damaged: int  # damaged files for each file, by commands
    configurations: int
    meshes: int
    disks: int
    cheap_episodes: int
    flow_episodes: int
    crafted: int = 1  # every so many of the crafted files
    methods: tuple[str, ...] = METHODS
    cached: tuple[str, ...] = ("evaluate", "optimum", "developed")  # commands that write caches


FULL = Scale(20, 5, 9, 200, 16, 600, 120, 8, 200, 60)
QUICK = Scale(3, 1, 2, 20, 2, 24, 12, 2, 40, 4)
SHORT = Scale(3, 0, 0, 16, 1, 8, 6, 0, 0, 0, 9, ("td3",), ("evaluate",))
SHORT_KINDS = ("kills", "damage", "hostile", "crafted")


@dataclass(frozen=True)
class Task:
    """One or more trials; ``run(work, name)`` returns a Result or a list of them."""

    kind: str
    name: str
    run: Callable[..., Any]


def run_all(work: Work, tasks: list[Task], say: Callable[[int, Result], None]) -> list[Result]:
    """All tasks, :data:`PARALLEL` at a time; ``say(done, result)`` hears of each result."""
    results: list[Result] = []
    with pool() as workers:
        futures = [workers.submit(_run, work, task) for task in tasks]
        for done, future in enumerate(as_completed(futures), 1):
            for result in future.result():
                results.append(result)
                say(done, result)
    return results


def pool() -> ProcessPoolExecutor:
    """Workers that are forks of this process and adopt what their trials leave."""
    return ProcessPoolExecutor(
        PARALLEL, mp_context=get_context("fork"), initializer=trials.adopt_orphans
    )


def _run(work: Work, task: Task) -> list[Result]:
    began = time.monotonic()
    try:
        found = task.run(work, task.name)
    except Exception as error:
        # the harness could not judge: no soundness may follow from that
        detail = f"the trial could not be judged: {type(error).__name__}: {error}"
        found = Result(task.kind, task.name, "lost", detail)
    results = found if isinstance(found, list) else [found]
    share = (time.monotonic() - began) / max(1, len(results))
    return [replace(result, seconds=share) for result in results]
