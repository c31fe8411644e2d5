"""Studies: entries times seeds are trained, evaluated, tabulated, kept and drawn, all by one path.

Runs lie in ``folder/<scenario>/<entry>/seed<N>``. Finished ones are kept and unfinished ones
resumed, so that a command may be interrupted and repeated; rows of earlier calls stay in the files.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hypemarl import config as configuration
from hypemarl.config import ConfigError
from hypemarl.files import write_text
from hypemarl.studies import kept
from hypemarl.training import optima, summary, table
from hypemarl.training.jobs import Job, complete_jobs, continue_flags, failure_of
from hypemarl.training.learner import label
from hypemarl.training.records import RunError, RunFolder, read_metrics, write_json
from hypemarl.types import Row
from hypemarl.visualisation.run_pictures import draw_curves
from hypemarl.visualisation.table import format_table

COSTS = {
    "seeds": "seeds",
    "cost_mean": "cost J mean",
    "cost_min": "min",
    "cost_max": "max",
    "ratio_to_uncontrolled": "J / J0",
    "recovered": "recovered",
    "return_mean": "return",
}
"""Columns of :func:`costs`."""


@dataclass(frozen=True)
class Entry:
    """A row of a table: the folder of its runs and its overrides of the scenario."""

    name: str
    overrides: tuple[str, ...]


class Group(NamedTuple):
    """The runs of an entry, by seed, and their results on the held-out set (none by default)."""

    entry: Entry
    runs: list[Path]
    results: list[Row]


@dataclass(frozen=True)
class Study:
    """A table of trained entries; its files are ``<name>.json`` and ``<name>-<scenario>.*``.

    Attributes:
        name: of the command. scenario: the default.
        entries: those of a scenario, in the order of the rows.
        columns: keys and headings; columns that no row has are left out.
        measure: keys of an entry's row beyond its costs, or several rows with their names.
        figures: key figures of a scenario from all its rows, to which it may add comparisons.
        draw: makes the picture of the rows: ``draw(rows, scenario, path)``.
        runs: folder of the runs, ``runs/<name>`` by default.
        usual: entries that are taken where none are named, all by default.
        evaluates: whether runs are evaluated on the held-out set.
        seeds: how many by default.
        by_scheme: rows are schemes (:func:`hypemarl.training.table.summarise`), not entries; the
            key figures are their flat numbers, and the picture shows the learning curves.
        optima: search so many held-out optima before the evaluation.
        yardsticks: fit them with so many episodes, and start the searches from them, too.
        start: entry whose first run starts the searches of optima; from zero control by default.
    """

    name: str
    scenario: str
    entries: Callable[[str], Sequence[Entry]]
    columns: Mapping[str, str] = field(default_factory=dict)
    measure: Callable[[Group], Row | list[Row]] = lambda group: {}
    figures: Callable[[Sequence[Row], str], Row] = lambda rows, scenario: {}
    draw: Callable[[Sequence[Row], str, Path], Path | None] | None = None
    runs: str = ""
    usual: Sequence[str] | None = None
    evaluates: bool = True
    seeds: int = 3
    by_scheme: bool = False
    optima: int = 0
    yardsticks: int = 0
    start: str = ""

    @property
    def run_folder(self) -> Path:
        """Where the runs lie by default."""
        return Path(self.runs or f"runs/{self.name}")

    def stem(self, scenario: str) -> str:
        """The name of a scenario's files, which says what the table is about once."""
        repeated = self.by_scheme and self.name in scenario
        return scenario if repeated else f"{self.name}-{scenario}"

    def shown(self, rows: Sequence[Row]) -> dict[str, str]:
        """Keys and headings of the table of ``rows``."""
        if self.by_scheme:
            return table.columns(rows)
        return {key: text for key, text in self.columns.items() if any(key in r for r in rows)}


@dataclass(frozen=True)
class Plan:
    """The request for a study.

    Attributes:
        scenario: the problem. seeds: of every entry. jobs: so many at a time.
        folder: of the runs.
        names: of the entries; None: all, or those that the study usually takes.
        overrides: settings of all runs, after those of the entries.
        finished_only: leave out unfinished runs and unknown optima.
        episodes: size of the held-out set in place of the scenario's.
        progress: show a bar.
        in_vain: filled in training, with a sentence for each run whose every episode failed.
    """

    scenario: str
    seeds: Sequence[int]
    jobs: int
    folder: Path
    names: Sequence[str] | None = None
    overrides: Sequence[str] = ()
    finished_only: bool = False
    episodes: int | None = None
    progress: bool = True
    in_vain: list[str] = field(default_factory=list)


def make(study: Study, plan: Plan, output: Path) -> list[Row]:
    """Train and evaluate a study, write its files into ``output``; the table's rows. Serial.

    Raises ConfigError: a name or an override is wrong. TrainingError: a run failed. RunError:
    nothing is finished, or the file of earlier rows is damaged.
    """
    if study.by_scheme:
        jobs = _planned(study, plan)
        made = [
            (table.policy_of(j.config.agent.scheme, label(j.config)), j.config.seed) for j in jobs
        ]
        kept.note_dropped(output / f"{study.name}.json", plan.scenario, made)
    groups = evaluated(study, trained(study, plan), plan.episodes)
    rows = tabulated(study, groups, plan.scenario)
    write(study, plan.scenario, rows, output, groups)
    return rows


# Training and evaluation.


def chosen(entries: Sequence[Entry], names: Sequence[str] | None) -> list[Entry]:
    """The entries of these names, in their order, or all. Raises ConfigError."""
    known = {entry.name: entry for entry in entries}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ConfigError(f"unknown variants {unknown}: take names out of {list(known)}")
    return [known[name] for name in (known if names is None else names)]


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


def _planned(study: Study, plan: Plan) -> list[Job]:
    """The jobs of the entries that the plan names. Raises ConfigError."""
    entries = chosen(study.entries(plan.scenario), plan.names or study.usual)
    changed = [Entry(entry.name, (*entry.overrides, *plan.overrides)) for entry in entries]
    return jobs_of(plan.scenario, changed, plan.seeds, plan.folder)


def trained(study: Study, plan: Plan) -> list[Group]:
    """The runs of the entries that the plan names, trained to their end, and their optima.

    Serial. Raises ConfigError, TrainingError, RunError.
    """
    jobs = _planned(study, plan)
    if plan.finished_only:
        jobs = [job for job in jobs if continue_flags(job.config, job.run_dir) is None]
        plan.in_vain.extend(text for job in jobs if (text := failure_of(job.run_dir)))
        if not jobs:
            raise RunError(f"{plan.folder / plan.scenario}: no run of {study.name} is finished")
    else:
        plan.in_vain.extend(complete_jobs(jobs, plan.jobs, progress=plan.progress))
        _measure_by(study, plan, jobs)
    folders: dict[str, list[Path]] = {}
    for job in jobs:
        folders.setdefault(job.run_dir.parent.name, []).append(job.run_dir)
    entries = chosen(study.entries(plan.scenario), plan.names or study.usual)
    return [Group(entry, folders[entry.name], []) for entry in entries if entry.name in folders]


def _measure_by(study: Study, plan: Plan, jobs: Sequence[Job]) -> None:
    """The yardsticks and optima that a study needs."""
    config, count, progress = jobs[0].config, plan.jobs, plan.progress
    if study.yardsticks:
        optima.fit_yardsticks(config, plan.seeds, study.yardsticks, count, progress=progress)
    if study.optima:
        runs = [job.run_dir for job in jobs if job.run_dir.parent.name == study.start]
        start, several = runs[0] if runs else None, study.yardsticks > 0
        optima.find_held_out(config, study.optima, count, start, several=several, progress=progress)


def evaluated(study: Study, groups: Sequence[Group], episodes: int | None = None) -> list[Group]:
    """The groups with their held-out results, see :func:`summary.evaluate_runs`. Serial."""
    if not study.evaluates:
        return list(groups)
    runs = [run for group in groups for run in group.runs]
    rows = iter(summary.evaluate_runs(runs, episodes=episodes, last=study.by_scheme))
    return [group._replace(results=[next(rows) for _ in group.runs]) for group in groups]


# Tables.


def tabulated(study: Study, groups: Sequence[Group], scenario: str) -> list[Row]:
    """Rows of the table, with the comparisons between them."""
    if study.by_scheme:
        return table.summarise(_results(groups))
    rows = []
    for group in groups:
        measured = study.measure(group)
        for row in measured if isinstance(measured, list) else [measured]:
            rows.append({"name": group.entry.name, **costs(group.results), **row})
    study.figures(rows, scenario)
    return rows


def _results(groups: Sequence[Group]) -> list[Row]:
    return [row for group in groups for row in group.results]


def costs(runs: Sequence[Row]) -> Row:
    """Spread over seeds of the held-out costs (means over the set), with the yardsticks.

    Keys: those of :data:`COSTS` (``return_mean`` only where costs are minus returns), cost_median,
    costs (one per seed), uncontrolled, and where optima are known ``optimum``. None without runs.
    """
    if not runs:
        return {}
    values = [row["cost"] for row in runs]
    row: Row = {"seeds": len(runs), **table.spread(values), "costs": values}
    row["uncontrolled"] = float(runs[0]["uncontrolled"])
    if "optimum_cost" in runs[0]:
        row["optimum"] = float(runs[0]["optimum_cost"])
    if table.RATIO not in runs[0]:
        row["return_mean"] = mean_of(runs, "return")
    shared = [name for name in (table.RATIO, "recovered") if all(name in run for run in runs)]
    return row | {name: mean_of(runs, name) for name in shared}


def mean_of(rows: Iterable[Row], name: str) -> float:
    """The mean of a key over rows."""
    return float(np.mean([row[name] for row in rows]))


def levels(rows: Sequence[Row]) -> dict[str, float]:
    """The cost of the optimum, where it is known, and that without control."""
    return {name: float(rows[0][name]) for name in ("optimum", "uncontrolled") if name in rows[0]}


def seconds(runs: Sequence[str | Path]) -> float:
    """Mean time that training took."""
    return float(np.mean([read_metrics(run)[-1]["seconds"] for run in runs]))


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


# Files.


def write(
    study: Study, scenario: str, rows: Sequence[Row], output: Path, groups: Sequence[Group] = ()
) -> None:
    """Table, numbers, validation costs and picture of a scenario, with rows of earlier calls.

    Writes ``<stem>.md`` (of tables by scheme ``<stem>-table.md``), the scenario's entry in
    ``<name>.json``, ``metrics/<stem>.csv`` and ``../images/<stem>.png`` (``<stem>-curves.png``).
    An entry holds the key figures and ``rows``: of tables by scheme long records, see
    :func:`hypemarl.training.table.records`, else the table's rows, with the records of their runs
    as ``records``. Raises RunError where the JSON file is damaged.
    """
    runs = [run for group in groups for run in group.runs]
    stem = study.stem(scenario)
    images = output.parent / "images"
    if study.by_scheme:
        results = _results(groups)
        command = {"command": f"hypemarl results {study.name}"}
        entry = table.flat(results) | command | {"rows": table.records(results)}
        metrics, suffix = [validation_costs(runs)], "-table"
        draw_curves(runs, images / f"{stem}-curves.png")
    else:
        rows = known(study, scenario, rows, output)
        figures = study.figures(rows, scenario)
        records = _records(study, scenario, groups, output)
        entry = figures | {"rows": list(rows)} | ({"records": records} if records else {})
        metrics, suffix = [row["metrics"] for row in rows if "metrics" in row], ""
        if study.draw is not None:
            study.draw(rows, scenario, images / f"{stem}.png")
    file = output / f"{study.name}.json"
    write_json(file, kept.read(file) | {scenario: entry})
    text = format_table(rows, study.shown(rows), markdown=True) + "\n"
    if study.by_scheme and (worth := table.worth(_results(groups))):
        shown = {key: key.replace("_", " ") for key in worth if key.startswith("worth")}
        text += "\n" + format_table([worth], shown, markdown=True) + "\n" if shown else ""
    write_text(output / f"{stem}{suffix}.md", text)
    if metrics:
        parts = [text.splitlines(keepends=True) for text in metrics]
        lines = parts[0][:1] + [line for part in parts for line in part[1:]]
        write_text(output / "metrics" / f"{stem}.csv", "".join(lines))


def known(study: Study, scenario: str, rows: Sequence[Row], output: Path) -> list[Row]:
    """``rows`` and those of earlier calls that are not among them, in the entries' order."""
    places = {entry.name: k for k, entry in enumerate(study.entries(scenario))}
    by_name = {row["name"]: row for row in (*stored(study, scenario, output), *rows)}
    # an entry may have several rows: "<entry>: <part>" or "<entry>, <part>"
    order = {name: places.get(re.split("[:,] ", name)[0], len(places)) for name in by_name}
    return [by_name[name] for name in sorted(by_name, key=lambda name: order[name])]


def stored(study: Study, scenario: str, output: Path) -> list[Row]:
    """Rows that earlier calls wrote; none where there are none. Raises RunError."""
    return kept.rows(output / f"{study.name}.json", scenario)


def _records(study: Study, scenario: str, groups: Sequence[Group], output: Path) -> list[Row]:
    """Long records of the runs, with those that earlier calls wrote of other entries."""
    entry = kept.read(output / f"{study.name}.json").get(scenario, [])
    old = entry.get("records", []) if isinstance(entry, dict) else []
    names = [group.entry.name for group in groups for _ in group.results]
    new = table.records(_results(groups), names) if names else []
    replaced = {record["policy"] for record in new}
    return [record for record in old if record["policy"] not in replaced] + new
