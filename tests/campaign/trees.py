"""Kill trees of processes (seeds side by side, ranks) and write one run twice at once."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from . import content, kills, tiny, trials
from .injected import boundaries
from .plan import Scale, Task
from .report import Result
from .tiny import Work
from .trials import Outcome

INJECTED = Path(boundaries.__file__).parent
HYPEMARL = [sys.executable, "-m", "hypemarl"]
LONG = ["--episodes", "20"]  # most of a process's time is its start: training has to take some too
SEEDS = [*LONG, "--seeds", "0", "1", "--jobs", "2"]
TAKEN = re.compile(r"another (run|process|writer)\b.*\b(writes?|trains?|holds?)\b")
START = 0.25  # share of the kills that hit processes while they start


def tasks(work: Work, scale: Scale, rng: random.Random) -> Iterator[Task]:
    """Kills in ``--jobs`` and under ``mpirun``."""
    for k in range(scale.trees):
        number = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[k % 3]
        whom = ("parent", "child")[(k // 3) % 2] if number != signal.SIGINT else "group"
        # Ctrl-C while Python itself starts ends in its traceback, whatever we do
        share = rng.uniform(START if number == signal.SIGINT else 0.0, 1.0)
        call = partial(jobs_killed, number=int(number), whom=whom, share=share)
        yield Task("kill of --jobs", f"jobs-{whom}-{number}-{k}", call)
    for k in range(scale.trees // 2):
        call = partial(jobs_injected, at=rng.randint(1, 40))
        yield Task("kill of --jobs", f"jobs-at-{k}", call)
    for flag in ("--resume", "--overwrite"):
        for k in range(max(1, scale.trees // 3)):
            call = partial(two_writers, flag=flag)
            yield Task("two writers", f"two-writers-{flag[2:]}-{k}", call)
    for k in range(scale.trees):
        whom = ("launcher", "rank", "injected")[k % 3]
        groups = bool((k // 3) % 2)
        call = partial(ranks_killed, whom=whom, groups=groups, share=rng.random(), at=k)
        yield Task("kill of ranks", f"ranks-{whom}-{k}", call)


def jobs_reference(work: Work) -> str:
    """Two seeds side by side, unharmed."""
    return _reference(work, "jobs", [*HYPEMARL, *tiny.train_arguments(work, "apg", *SEEDS)])


def ranks_reference(work: Work, *, groups: bool) -> str:
    """Two ranks, unharmed."""
    return _reference(work, _ranks_name(groups), _ranks_command(work, groups))


def _reference(work: Work, name: str, command: list[str]) -> str:
    outcome = trials.process(command, work.reference(name))
    (work.path / "reference" / f"{name}.json").write_text(f'{{"seconds": {outcome.seconds}}}')
    return "" if outcome.status == 0 else f"{name}: {outcome.text}"


def jobs_killed(work: Work, trial: str, *, number: int, whom: str, share: float) -> Result:
    """A signal to the parent, to one child or (as Ctrl-C) to all."""

    def hit(pid: int) -> None:
        targets = {"parent": [pid], "group": [pid, *trials.descendants(pid)]}
        for target in targets.get(whom) or list(trials.descendants(pid))[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(target, number)

    folder = work.trial(trial)
    arguments = tiny.train_arguments(work, "apg", *SEEDS)
    strike = _strike(folder, share, work.seconds("jobs"), hit)
    killed = trials.process([*HYPEMARL, *arguments], folder, strike=strike)
    return _jobs_go_on(work, trial, folder, arguments, killed)


def jobs_injected(work: Work, trial: str, *, at: int) -> Result:
    """One child kills itself at its ``at``-th boundary."""
    folder = work.trial(trial)
    arguments = tiny.train_arguments(work, "apg", *SEEDS)
    killed = trials.process(
        [*HYPEMARL, *arguments], folder, environment=_injection(folder, at, "seed1")
    )
    return _jobs_go_on(work, trial, folder, arguments, killed)


def _strike(
    folder: Path, share: float, seconds: float, hit: Callable[[int], None]
) -> trials.Strike:
    """A moment while processes start, or within the second after the first checkpoint."""
    if share < START:
        return trials.Strike(share * seconds, hit)
    late = (share - START) / (1.0 - START)
    return trials.Strike(late, hit, lambda: any(folder.rglob("last.pt")))


def _injection(folder: Path, at: int, mark: str) -> dict[str, str]:
    return {boundaries.VARIABLE: f"{folder}|{at}|{mark}", "PYTHONPATH": str(INJECTED)}


def _jobs_go_on(
    work: Work, trial: str, folder: Path, arguments: list[str], killed: Outcome
) -> Result:
    def again(given: list[str]) -> Outcome:
        return trials.process([*HYPEMARL, *given], folder)

    after = kills.resume(again, arguments, folder)
    reference = work.run("jobs")

    def compare() -> list[str]:
        found = [f"leftover {file}" for file in content.leftovers(folder / "run", reference)]
        for seed in ("seed0", "seed1"):
            found += content.run_differences(folder / "run" / seed, reference / seed)
        return found

    return kills.judge("kill of --jobs", trial, [killed, after], compare)


def _ranks_name(groups: bool) -> str:
    return "groups" if groups else "ranks"


def _ranks_command(work: Work, groups: bool) -> list[str]:
    launcher = str(Path(sys.executable).parent / "mpirun")
    split = ["--ranks-per-env", "1"] if groups else []
    # checkpoints end rounds, and a round of two groups has two episodes
    return [launcher, "-n", "2", *HYPEMARL, *tiny.train_arguments(work, "td3", *LONG, *split)]


def ranks_killed(
    work: Work, trial: str, *, whom: str, groups: bool, share: float, at: int
) -> Result:
    """Kill the launcher, a rank, or rank 0 at a boundary."""

    def hit(pid: int) -> None:
        ranks = [child for child in trials.descendants(pid) if _is_rank(child)]
        target = pid if whom == "launcher" or not ranks else ranks[at % len(ranks)]
        os.kill(target, signal.SIGKILL)

    folder, name = work.trial(trial), _ranks_name(groups)
    command = _ranks_command(work, groups)
    if whom == "injected":
        environment = _injection(folder, 5 + 7 * at, "PMI_RANK=0")
        killed = trials.process(command, folder, environment=environment)
    else:
        strike = _strike(folder, share, work.seconds(name), hit)
        killed = trials.process(command, folder, strike=strike)
    after = kills.resume(partial(trials.process, folder=folder), command, folder)

    def compare() -> list[str]:
        found = content.leftovers(folder / "run", work.run(name))
        differing = content.run_differences(folder / "run", work.run(name))
        return [f"leftover {file}" for file in found] + differing

    # the launcher's own words about its dead ranks are no business of ours
    if killed.verdict() == "unclear":
        killed = after
    return kills.judge("kill of ranks", trial, [killed, after], compare)


def _is_rank(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"hypemarl" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[2:3]
    return False


def two_writers(work: Work, trial: str, *, flag: str) -> Result:
    """A second command on the folder of a run that is being trained: refused, the first whole."""
    kind, folder = "two writers", work.trial(trial)
    arguments = tiny.train_arguments(work, "dyna")
    answer = folder.parent / f"{trial}-second"

    def second(pid: int) -> None:
        answer.mkdir()
        (answer / "cache").mkdir()
        outcome = nested(pid)
        (answer / "status").write_text(f"{outcome.status}\n{outcome.text}")

    def nested(pid: int) -> Outcome:
        log = answer / "log"
        with log.open("wb") as stream:
            other = os.fork()
            if other == 0:
                from hypemarl.cli import main

                trials._inside(lambda: main([*arguments, flag]), folder, stream.fileno())
        began = time.monotonic()
        _, code = os.waitpid(other, 0)
        status = os.waitstatus_to_exitcode(code)
        return Outcome(status, log.read_text(), time.monotonic() - began, False, 0)

    strike = trials.Strike(0.0, second, lambda: any(folder.rglob("last.pt")))
    first = trials.command(arguments, folder, strike=strike)
    if not (answer / "status").is_file():
        return Result(kind, trial, "not reached")
    status, _, words = (answer / "status").read_text().partition("\n")
    if fault := second_writer(int(status), words):
        return Result(kind, trial, fault, f"[{status}] {words[-300:]}")
    return kills.judge(kind, trial, [first], lambda: kills.compare(work, "dyna", folder))


def second_writer(status: int, words: str) -> str | None:
    """The fault of a command on a folder that is being written, None where it is refused so."""
    outcome = Outcome(status, words, 0.0, False, 0)
    if fault := outcome.verdict():
        return fault
    if status == 0:
        return "silent"  # it trained into the same folder
    return None if TAKEN.search(outcome.error) else "unclear"
