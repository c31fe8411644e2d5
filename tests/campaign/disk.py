"""Full disks, files that may not grow, read-only and vanished folders, caches without a place."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from . import content, kills, tiny, trees, trials
from .plan import Scale, Task
from .report import Result
from .tiny import Work

CACHES = ("HOME", "XDG_CACHE_HOME", "HYPEMARL_CACHE")
NOWHERE = "/dev/null/nowhere"  # no one can make a folder there, root neither


def tasks(work: Work, scale: Scale, rng: random.Random) -> Iterator[Task]:
    """All kinds, for the density run."""
    whole = sum(f.stat().st_size for f in work.run("td3").rglob("*") if f.is_file())
    for k in range(scale.disks):
        size = 4096 * max(1, round(rng.uniform(0.02, 1.6) * whole / 4096))
        yield Task("full disk", f"disk-{k}", partial(full, size=size))
        limit = rng.randrange(200, int(0.6 * whole))
        yield Task("file that cannot grow", f"grow-{k}", partial(cannot_grow, limit=limit))
        yield Task("kill within a write", f"torn-{k}", partial(torn, limit=limit))
        yield Task("vanished folder", f"vanish-{k}", partial(vanished, share=rng.random()))
    for verb in ("train", "evaluate", "resume", "simulate", "optimum"):
        yield Task("read-only folder", f"read-only-{verb}", partial(read_only, verb=verb))
    for name in CACHES:
        for verb in ("train", "optimum", "simulate"):
            call = partial(no_cache, variable=name, verb=verb)
            yield Task("no place for caches", f"no-{name}-{verb}", call)


@contextlib.contextmanager
def mounted(folder: Path, size: int) -> Iterator[bool]:
    """A small file system of its own at ``folder``; False where none may be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    there = _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield there
    finally:
        if there:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


def _mount(*arguments: str) -> bool:
    program = shutil.which("mount")
    if program is None or os.geteuid() != 0:
        return False
    return subprocess.run([program, *arguments], capture_output=True, check=False).returncode == 0


def full(work: Work, trial: str, *, size: int) -> Result:
    """Train until the disk is full, make room, go on."""
    kind, folder = "full disk", work.trial(trial)
    arguments = tiny.train_arguments(work, "td3")
    with mounted(folder, size) as there:
        if not there:
            return Result(kind, trial, "not tried", "no file system may be mounted here")
        first = trials.command(arguments, folder)
        if first.status > 0 and first.verdict() is None and "space" not in first.text.lower():
            return Result(kind, trial, "unclear", f"{size}: {first.brief()}")
        _mount("-o", "remount,size=64m", str(folder))
        return _go_on(kind, work, trial, folder, first)


def _go_on(kind: str, work: Work, trial: str, folder: Path, first: trials.Outcome) -> Result:
    if first.status == 0:
        return kills.judge(kind, trial, [first], lambda: kills.compare(work, "td3", folder))
    run = partial(trials.command, folder=folder)
    after = kills.resume(run, tiny.train_arguments(work, "td3"), folder)
    return kills.judge(kind, trial, [first, after], lambda: kills.compare(work, "td3", folder))


def cannot_grow(work: Work, trial: str, *, limit: int) -> Result:
    """As under a quota: writing beyond a size fails."""
    folder = work.trial(trial)
    first = trials.command(
        tiny.train_arguments(work, "td3"), folder, prepare=partial(_limit, limit, signal.SIG_IGN)
    )
    return _go_on("file that cannot grow", work, trial, folder, first)


def torn(work: Work, trial: str, *, limit: int) -> Result:
    """Die in the middle of a write: a part of the file is on disk."""
    folder = work.trial(trial)
    first = trials.command(
        tiny.train_arguments(work, "td3"), folder, prepare=partial(_limit, limit, signal.SIG_DFL)
    )
    return _go_on("kill within a write", work, trial, folder, first)


def _limit(size: int, handler: signal.Handlers) -> None:
    # a core file of a process with torch is large
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    signal.signal(signal.SIGXFSZ, handler)


def vanished(work: Work, trial: str, *, share: float) -> Result:
    """Remove the run's folder while it is trained."""
    kind, folder = "vanished folder", work.trial(trial)

    def remove(pid: int) -> None:
        shutil.rmtree(folder / "run", ignore_errors=True)

    strike = trials.Strike(share * work.seconds("td3"), remove)
    outcome = trials.command(tiny.train_arguments(work, "td3"), folder, strike=strike)
    if fault := outcome.verdict():
        return Result(kind, trial, fault, outcome.brief())
    if outcome.status:
        return Result(kind, trial, "refused", outcome.brief())
    if not (folder / "run").exists():
        return Result(kind, trial, "equal", "removed after its last write")
    if not (folder / "run" / "config.yaml").exists():
        left = ", ".join(sorted(path.name for path in (folder / "run").rglob("*")))
        return Result(kind, trial, "lost", f"status 0, and of the run there is only {left}"[:300])
    found = content.run_differences(folder / "run", work.run("td3"))
    return Result(kind, trial, "silent" if found else "equal", "; ".join(found)[:300])


def read_only(work: Work, trial: str, *, verb: str) -> Result:
    """A folder in which nothing can be written."""
    kind, like = "read-only folder", {"evaluate": "td3", "resume": "td3"}.get(verb)
    folder = work.trial(trial)
    with mounted(folder, 2**26) as there:
        if like is not None:
            shutil.copytree(work.reference(like), folder, dirs_exist_ok=True)
        if not there and os.geteuid() == 0:
            return Result(kind, trial, "not tried", "no file system may be mounted here")
        if there:
            _mount("-o", "remount,ro", str(folder))
        else:
            folder.chmod(0o555)
        outcome = trials.command(_arguments(work, verb), folder)
        if not there:
            folder.chmod(0o755)
    verdict = outcome.verdict() or ("refused" if outcome.status else "did without")
    return Result(kind, trial, verdict, outcome.brief())


def _arguments(work: Work, verb: str) -> list[str]:
    return {
        "train": tiny.train_arguments(work, "td3"),
        "resume": tiny.train_arguments(work, "td3", "--episodes", "8", "--resume"),
        "evaluate": tiny.EVALUATE,
        "simulate": tiny.developed_arguments(work),
        "optimum": tiny.optimum_arguments(work),
    }[verb]


def no_cache(work: Work, trial: str, *, variable: str, verb: str) -> Result:
    """A process whose home or cache folder cannot be made."""
    folder = work.trial(trial)
    environment = {variable: NOWHERE}
    if variable != "HYPEMARL_CACHE":
        environment["HYPEMARL_CACHE"] = ""
    if variable == "HOME":
        environment["XDG_CACHE_HOME"] = ""
    command = [*trees.HYPEMARL, *_arguments(work, verb)]
    outcome = trials.process(command, folder, environment=environment)
    verdict = outcome.verdict() or ("refused" if outcome.status else "did without")
    if verdict == "refused" and not any(name in outcome.text for name in CACHES):
        verdict = "unclear"  # it has to say which variable to set
    return Result("no place for caches", trial, verdict, outcome.brief())
