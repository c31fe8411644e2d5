"""``python -m tests.campaign``: try everything, print a table, exit 1 where a fault was found."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

from . import crafted, damage, disk, episodes, hostile, kills, plan, report, tiny, trees, trials
from .plan import FULL, QUICK, SHORT, SHORT_KINDS, Scale, Task
from .report import Result
from .tiny import Work

# The longest trials first, so that the last ones fill the gaps.
KINDS: dict[str, ModuleType] = {
    "episodes": episodes,
    "trees": trees,
    "kills": kills,
    "disk": disk,
    "damage": damage,
    "hostile": hostile,
    "crafted": crafted,
}
REPORT = Path("docs/reliability.md")


def main() -> int:
    """Parse, prepare, try, report."""
    given = _parser().parse_args()
    if not Path("/proc/self/task").is_dir():
        print("the campaign needs /proc (Linux): it finds orphans there", file=sys.stderr)
        return 2
    began = time.monotonic()
    kinds = given.only or list(SHORT_KINDS if given.short else KINDS)
    folder = Path(given.work or tempfile.mkdtemp(prefix="hypemarl-campaign-")).resolve()
    work = Work(folder / "campaign")
    scale = SHORT if given.short else QUICK if given.quick else FULL
    try:
        results = _campaign(work, scale, given.seed, kinds)
    finally:
        if not given.keep:
            shutil.rmtree(work.path, ignore_errors=True)
    seconds = time.monotonic() - began
    return _report(given, results, kinds, seconds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few trials of each kind")
    parser.add_argument("--short", action="store_true", help="what `make test` runs, in seconds")
    parser.add_argument("--only", nargs="+", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--seed", type=int, default=0, help="of all random choices (default 0)")
    parser.add_argument("--write", action="store_true", help=f"put the figures into {REPORT}")
    parser.add_argument("--work", metavar="DIR", help="folder of the trials (default: a new one)")
    parser.add_argument("--keep", action="store_true", help="leave the trials' folders")
    return parser


def _campaign(work: Work, scale: Scale, seed: int, kinds: list[str]) -> list[Result]:
    tiny.write_configurations(work)
    os.environ["OMP_NUM_THREADS"] = "1"
    tiny.warm(work, scale.methods, scale.cached)
    _prepare(work, scale, kinds)
    tasks = list(_tasks(work, scale, seed, kinds))
    # the short version makes too few references for the tasks of the whole
    whole = [] if scale is SHORT else list(_tasks(work, FULL, seed, kinds))
    print(f"{len(tasks)} tasks, {plan.PARALLEL} at a time", file=sys.stderr)

    def say(done: int, result: Result) -> None:
        if result.verdict in report.FAULTS:
            print(f"{result.verdict}: {result.name}: {result.detail}", file=sys.stderr)
        elif done % 50 == 0:
            print(f"{done} of {len(tasks)} tasks done", file=sys.stderr)

    results = plan.run_all(work, tasks, say)
    if whole:
        minutes = plan.estimate(tasks, results, whole) / 60.0
        print(f"whole campaign of {', '.join(kinds)}: {minutes:.1f} minutes on idle cores")
    return results


def _prepare(work: Work, scale: Scale, kinds: list[str]) -> None:
    """References, each in the pool; a reference that fails ends the campaign."""
    calls = [partial(tiny.make_reference, work, name) for name in scale.methods]
    later = [partial(tiny.make_reference, work, name) for name in scale.cached]
    if "trees" in kinds:
        calls.append(partial(trees.jobs_reference, work))
        for groups in (False, True):
            calls.append(partial(trees.ranks_reference, work, groups=groups))
    modules = [KINDS[kind] for kind in kinds]
    later += [partial(module.prepare, work) for module in modules if hasattr(module, "prepare")]
    for group in (calls, later):
        with plan.pool() as workers:
            problems = [future.result() for future in [workers.submit(call) for call in group]]
        if any(problems):
            raise SystemExit("a command failed unharmed:\n" + "\n".join(filter(None, problems)))


def _tasks(work: Work, scale: Scale, seed: int, kinds: list[str]) -> Iterator[Task]:
    for kind in kinds:
        # a generator of each kind's own: --only tries what the whole campaign tries
        yield from KINDS[kind].tasks(work, scale, random.Random(f"{seed}-{kind}"))


def _report(
    given: argparse.Namespace, results: list[Result], kinds: list[str], seconds: float
) -> int:
    tallies = report.tally(results)
    found = report.faults(results)
    print(report.table(tallies))
    for result in found[:200]:
        print(f"{result.verdict}: {result.kind}: {result.name}: {result.detail}")
    notes = episodes.notes(results)
    print("\n".join(notes))
    how = (
        f"`python -m tests.campaign --seed {given.seed}`: {seconds:.0f} s, {plan.PARALLEL} trials "
        f"at a time, {len(found)} faults."
    )
    print(how)
    if given.write:
        report.write(REPORT, tallies, notes, how)
    return 1 if found else 0


if __name__ == "__main__":
    trials.adopt_orphans()
    raise SystemExit(main())
