"""The tables of docs/results: every scheme, several seeds, the optimum beside them, one command.

What is finished is kept, what is not is resumed, so that the command may be repeated; each part can
also be made by ``hypemarl train``, ``optimum`` and ``evaluate`` alone.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hypemarl import config as configuration
from hypemarl.files import write_text
from hypemarl.studies import optima
from hypemarl.studies.pictures import draw_curves
from hypemarl.training import summary
from hypemarl.training.jobs import Job, complete_jobs, continue_flags, failure_of
from hypemarl.training.records import RunError, RunFolder, read_metrics, write_json
from hypemarl.training.table import columns, flat, summarise
from hypemarl.types import Row
from hypemarl.visualisation.table import format_table


@dataclass(frozen=True)
class Entry:
    """A row of a table: the folder of its runs and what it overrides in the scenario."""

    name: str
    overrides: tuple[str, ...]


NAMES = ("marl", "fups-id", "nops", "hypemarl")
SCHEMES = tuple(Entry(scheme, (f"agent.scheme={scheme}",)) for scheme in NAMES)
COOPERATIVE = ("agent.credit=cooperative", "agent.cloning=0.0", "training.episodes=400")
#: without the adjoint in training
WITHOUT = tuple(Entry(scheme, (f"agent.scheme={scheme}", *COOPERATIVE)) for scheme in NAMES)
#: with the adjoint's share as credit, where that is the scenario's own
WITH = tuple(
    Entry(f"{scheme}-adjoint", (f"agent.scheme={scheme}",)) for scheme in ("marl", "hypemarl")
)
#: decentralised training on own rewards, as the papers have it
PLAIN = tuple(
    Entry(name, (f"agent.scheme={scheme}", *COOPERATIVE[1:], "agent.credit=local"))
    for name, scheme in (("local", "hypemarl"), ("marl-local", "marl"))
)
GRADIENT = tuple(
    Entry(name, (f"agent.scheme={scheme}", "training.algorithm=apg", "training.episodes=400"))
    for name, scheme in (("apg", "hypemarl"), ("marl-apg", "marl"))
)


def few_real_episodes(method: str, episodes: int) -> tuple[str, ...]:
    """Overrides of a run that learns in a surrogate, with so many real episodes."""
    return (
        f"training.algorithm={method}",
        f"training.episodes={episodes}",
        "training.random_episodes=8",
        "training.validation_every=10",
    )


MODEL = Entry("mbpg", few_real_episodes("mbpg", 73))
OBSERVED = tuple(
    Entry(f"{entry.name}-flow", (*entry.overrides, "env.density-fluid.observe_flow=true"))
    for entry in (SCHEMES[0], SCHEMES[3], MODEL)
)
#: what optima teach: a start to gradients, and a local reward
SHOWN = (
    Entry("imitate", ("training.algorithm=imitate",)),
    Entry("irl", ("training.algorithm=irl", "agent.credit=local")),
)
#: a flow's gradient costs seconds, and few are enough
FLOW_GRADIENT = {
    episodes: Entry(
        "apg", ("agent.scheme=hypemarl", "training.algorithm=apg", f"training.episodes={episodes}")
    )
    for episodes in (60, 80, 100)
}
#: the flow of a moving obstacle, which has no adjoint; with a fifth of the time step an episode's
#: cost changes by less than 0.01%
MOVING = ("env.shape.mode=unsteady", "env.shape.time_step=0.01")
UNSTEADY = tuple(
    Entry(f"{entry.name}-unsteady", (*entry.overrides, *MOVING))
    for entry in (SCHEMES[3], SCHEMES[0])
)
#: problem -> entries, seeds, and how many held-out optima are found
TABLES: dict[str, dict[str, tuple[tuple[Entry, ...], int, int]]] = {
    "density": {
        "density-1d": ((*SCHEMES, *PLAIN, *GRADIENT, MODEL), 3, 32),
        "density-vacuum": ((*WITHOUT, *WITH, PLAIN[0], GRADIENT[0], MODEL), 3, 32),
        "density-fluid": ((*SCHEMES, GRADIENT[0]), 3, 32),
    },
    # agents that see the flow, which a surrogate of near patches has to
    "observed-flow": {"density-fluid": (OBSERVED, 3, 32)},
    "imitation": {"density-1d": ((SCHEMES[3], PLAIN[0], GRADIENT[0], *SHOWN), 3, 32)},
    "flow": {
        "flow-cylinder": ((FLOW_GRADIENT[60], SCHEMES[3], SCHEMES[0]), 2, 2),
        "flow-dissipation": ((FLOW_GRADIENT[100], SCHEMES[3], SCHEMES[0]), 2, 2),
    },
    "shape": {"shape-morphing": ((FLOW_GRADIENT[80], SCHEMES[3], SCHEMES[0]), 2, 4)},
    "unsteady": {"shape-morphing": (UNSTEADY, 2, 0)},
}


def jobs_of(scenario: str, entries: Sequence[Entry], seeds: Sequence[int], runs: Path) -> list[Job]:
    """A job for every entry and seed, in ``runs/<scenario>/<entry>/seed<N>``."""
    return [
        Job(
            configuration.load(scenario, [*entry.overrides, f"seed={seed}"]),
            runs / scenario / entry.name / f"seed{seed}",
        )
        for entry in entries
        for seed in seeds
    ]


def make_table(
    name: str,
    *,
    runs: Path,
    output: Path,
    parallel: int,
    seeds: Sequence[int] | None = None,
    scenarios: Sequence[str] | None = None,
    finished_only: bool = False,
    episodes: int | None = None,
    progress: bool = True,
    in_vain: list[str] | None = None,
) -> dict[str, tuple[list[Row], dict[str, str]]]:
    """Train what is missing, find the optima, evaluate, and write ``output``.

    ``finished_only`` leaves out what is missing instead, optima too; ``episodes`` replaces the size
    of the held-out set. A sentence for each run whose every episode failed is appended to
    ``in_vain``.

    Writes ``<name>.json`` (see below), ``<stem>-table.md``, ``../images/<stem>-curves.png`` and
    ``metrics/<stem>.csv``, the validation costs of every run; the stem is the scenario, after the
    name where that is not in it. Returns per scenario the table's rows and headings. Not under
    mpirun.

    ``<name>.json`` holds per scenario what :func:`hypemarl.training.table.flat` gives, with
    ``ratio_marl_over_hypemarl`` and ``best_recovered``, and ``rows``: each run's own.
    """
    chosen = TABLES[name] if scenarios is None else {s: TABLES[name][s] for s in scenarios}
    written = _read_json(output / f"{name}.json")
    tables, failed = {}, [] if in_vain is None else in_vain
    for scenario, (entries, count, held_out) in chosen.items():
        jobs = jobs_of(scenario, entries, seeds or range(count), runs)
        if finished_only:
            jobs = [job for job in jobs if continue_flags(job.config, job.run_dir) is None]
            failed += [text for job in jobs if (text := failure_of(job.run_dir))]
        else:
            failed += train_missing(jobs, parallel, progress=progress)
            start = _start(jobs)
            optima.find_held_out(jobs[0].config, held_out, parallel, start, progress=progress)
        rows = summary.evaluate_runs([job.run_dir for job in jobs], episodes=episodes)
        table = summarise(rows)
        written[scenario] = flat(rows) | {"command": f"hypemarl results {name}", "rows": rows}
        tables[scenario] = (table, columns(table))
        _write(output, scenario if name in scenario else f"{name}-{scenario}", jobs, table)
        write_json(output / f"{name}.json", written)
    return tables


def _start(jobs: Sequence[Job]) -> Path | None:
    """For flows a policy from which a search is short; others are searched from zero control."""
    gradient = [job for job in jobs if job.config.training.algorithm == "apg"]
    flow = jobs[0].config.env.system == "flow"
    return gradient[0].run_dir if flow and gradient else None


def train_missing(jobs: Sequence[Job], parallel: int, *, progress: bool) -> list[str]:
    """Bring every job to its end, ``parallel`` at a time; finished ones are left as they are.

    Returns a sentence for each run whose every episode failed.

    Raises:
        TrainingError: a run failed.
    """
    planned = [(job, continue_flags(job.config, job.run_dir)) for job in jobs]
    return complete_jobs(planned, parallel, progress=progress)


def _write(output: Path, stem: str, jobs: Sequence[Job], table: Sequence[Row]) -> None:
    draw_curves([job.run_dir for job in jobs], output.parent / "images" / f"{stem}-curves.png")
    text = format_table(table, columns(table), markdown=True) + "\n"
    write_text(output / f"{stem}-table.md", text)
    write_text(output / "metrics" / f"{stem}.csv", validation_costs([job.run_dir for job in jobs]))


def validation_costs(run_dirs: Sequence[Path]) -> str:
    """Comma-separated: run, scheme, credit, method, seed, episode, seconds, validation cost."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = ("run", "scheme", "credit", "method", "seed", "episode", "seconds", "cost")
    writer.writerow(names)
    for run_dir in run_dirs:
        config = RunFolder(run_dir).read_config()
        agent, method = config.agent, config.training.algorithm
        head = (run_dir.parent.name, agent.scheme, agent.credit, method, config.seed)
        for line in read_metrics(run_dir):
            if line["kind"] == "validation":
                cost = "" if line["cost"] is None else f"{line['cost']:.6g}"
                writer.writerow((*head, line["episode"], f"{line['seconds']:.0f}", cost))
    return stream.getvalue()


def _read_json(path: Path) -> Row:
    try:
        return dict(json.loads(path.read_bytes())) if path.is_file() else {}
    except (ValueError, TypeError) as error:
        raise RunError(
            f"{path}: expected the numbers of this table's scenarios as a JSON object, got "
            f"something else ({error}); restore it, or remove it to make every scenario anew"
        ) from error
