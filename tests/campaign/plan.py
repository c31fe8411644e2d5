"""How much is tried, and the trials as tasks of a pool."""

from __future__ import annotations

import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
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
    """Numbers of trials; :data:`FULL` fills 15 to 18 minutes of two idle cores."""

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


FULL = Scale(16, 4, 6, 200, 12, 600, 100, 6, 200, 60)
QUICK = Scale(3, 1, 2, 20, 2, 24, 12, 2, 40, 4)
SHORT = Scale(3, 0, 0, 16, 1, 8, 6, 0, 0, 0, 9, ("td3",), ("evaluate",))
SHORT_KINDS = ("kills", "damage", "hostile", "crafted")


@dataclass(frozen=True)
class Task:
    """One or more trials; ``run(work, name)`` returns a Result or a list of them."""

    kind: str
    name: str
    run: Callable[..., Any]
    size: int = 1  # trials in it


def estimate(tried: Sequence[Task], results: Iterable[Result], wanted: Iterable[Task]) -> float:
    """Seconds that ``wanted`` takes on :data:`PARALLEL` idle cores, by the processor time so far.

    Kinds that were not tried count nothing.
    """
    sizes: dict[str, int] = defaultdict(int)
    for task in tried:
        sizes[task.kind] += task.size
    spent: dict[str, float] = defaultdict(float)
    for result in results:
        spent[result.kind] += result.processor
    each = {kind: spent[kind] / size for kind, size in sizes.items()}
    return sum(each.get(task.kind, 0.0) * task.size for task in wanted) / PARALLEL


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
    began, spent = time.monotonic(), _processor()
    try:
        found = task.run(work, task.name)
    except Exception as error:
        # the harness could not judge: no soundness may follow from that
        detail = f"the trial could not be judged: {type(error).__name__}: {error}"
        found = Result(task.kind, task.name, "lost", detail)
    results = found if isinstance(found, list) else [found]
    count = max(1, len(results))
    share, spent = (time.monotonic() - began) / count, (_processor() - spent) / count
    return [replace(result, seconds=share, processor=spent) for result in results]


def _processor() -> float:
    """Seconds of processor time of this process and of those that it has reaped."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
