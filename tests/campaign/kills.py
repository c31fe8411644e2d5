"""Kill a command at every kind of write and at random moments, go on, compare bit for bit."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from . import content, tiny, trials
from .injected import boundaries
from .plan import Scale, Task
from .report import Result
from .tiny import Work
from .trials import Outcome


def tasks(work: Work, scale: Scale, rng: random.Random) -> Iterator[Task]:
    """Kills of every algorithm and of commands that write caches, in one process."""
    for name in (*scale.methods, *scale.cached):
        points = boundary_sample(work.boundaries(name), scale.points, rng)
        for at in points:
            yield Task("kill at a write", f"{name}-at-{at}", partial(injected, name=name, at=at))
    for name in (*scale.methods, *scale.cached):
        for k in range(scale.moments):
            share, number = rng.uniform(0.05, 1.0), rng.choice((9, 9, 9, 15, 2))
            call = partial(at_random, name=name, share=share, number=number)
            yield Task("kill at a moment", f"{name}-moment-{k}", call)


def boundary_sample(labels: list[str], size: int, rng: random.Random) -> list[int]:
    """Boundaries (from 1): the first of each operation on each file, then others at random."""
    seen: dict[str, int] = {}
    for number, label in enumerate(labels, 1):
        stem = "".join(c for c in label if not c.isdigit())
        seen.setdefault(stem, number)
    first = list(seen.values())
    if len(first) >= size:
        return sorted(rng.sample(first, size))
    rest = sorted(set(range(1, len(labels) + 1)) - set(first))
    return sorted(first + rng.sample(rest, min(len(rest), size - len(first))))


def injected(work: Work, trial: str, *, name: str, at: int) -> Result:
    """Kill at the ``at``-th boundary."""
    folder = _start(work, trial, name)
    killed = trials.command(
        _arguments(work, name), folder, prepare=partial(boundaries.arm, str(folder), at)
    )
    if killed.status != -signal.SIGKILL:
        return Result("kill at a write", trial, "not reached", killed.brief())
    return _go_on("kill at a write", work, trial, name, folder, killed)


def at_random(work: Work, trial: str, *, name: str, share: float, number: int) -> Result:
    """A signal after a share of the time that the whole takes."""
    folder = _start(work, trial, name)
    moment = share * work.seconds(name)
    strike = trials.Strike(moment, lambda pid: os.kill(pid, number))
    killed = trials.command(_arguments(work, name), folder, strike=strike)
    return _go_on("kill at a moment", work, trial, name, folder, killed)


def _start(work: Work, trial: str, name: str) -> Path:
    folder = work.trial(trial)
    if name == "evaluate":
        shutil.copytree(work.run("td3"), folder / "run")
    return folder


def _arguments(work: Work, name: str) -> list[str]:
    if name == "evaluate":
        return tiny.EVALUATE
    if name == "optimum":
        return tiny.optimum_arguments(work)
    if name == "developed":
        return tiny.developed_arguments(work)
    return tiny.train_arguments(work, name)


def _go_on(kind: str, work: Work, trial: str, name: str, folder: Path, killed: Outcome) -> Result:
    """The same command again, with --resume where it trains; then compare."""
    if name not in tiny.METHODS:
        after = trials.command(_arguments(work, name), folder)
    else:
        after = resume(partial(trials.command, folder=folder), _arguments(work, name), folder)
    return judge(kind, trial, [killed, after], lambda: compare(work, name, folder))


def resume(run: Callable[[list[str]], Outcome], arguments: list[str], folder: Path) -> Outcome:
    """Go on with a run; where nothing had been written, a refusal is sound and it starts anew."""
    begun = any(folder.rglob("last.pt"))
    after = run([*arguments, "--resume"])
    if after.status == 2 and after.clear and not begun:
        after = run([*arguments, "--overwrite"])
    return after


def judge(
    kind: str, trial: str, outcomes: list[Outcome], compare: Callable[[], list[str]]
) -> Result:
    """The first fault among the outcomes, else whether what is there equals what should be."""
    for outcome in outcomes:
        if fault := outcome.verdict():
            return Result(kind, trial, fault, outcome.brief())
    if outcomes[-1].status != 0:
        return Result(kind, trial, "lost", outcomes[-1].brief())
    found = compare()
    left = [text for text in found if text.startswith("leftover")]
    if len(found) > len(left):
        return Result(kind, trial, "lost", "; ".join(found)[:300])
    if left:
        return Result(kind, trial, "leftover", left[0])
    return Result(kind, trial, "bit-equal")


def compare(work: Work, name: str, folder: Path) -> list[str]:
    """Differences from the reference, and leftovers."""
    reference = work.reference(name)
    found = [f"leftover {file}" for file in content.leftovers(folder, reference)]
    if name == "optimum":
        return found + _cached(folder, reference, "optimum.json", content.json_file)
    if name == "developed":
        same = (folder / "out" / "trajectory.npz", reference / "out" / "trajectory.npz")
        return found + content.differences(*map(content.trajectory, same))[:1]
    if name == "evaluate":
        found += _cached(folder, reference, "run/evaluation.json", content.json_file)
        reference = work.reference("td3")
    return found + content.run_differences(folder / "run", reference / "run")


def _cached(folder: Path, reference: Path, name: str, read: Callable[[Path], dict]) -> list[str]:
    places = content.differences(read(folder / name), read(reference / name))
    # a search that goes on from a stored optimum has fewer evaluations of its own
    places = [p for p in places if not p.rpartition("/")[2].startswith("evaluations")]
    return [f"{name} differs in {places[0]}"] if places else []
