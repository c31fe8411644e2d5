"""What experiments share: entries times seeds are trained, evaluated, tabulated and kept.

An experiment is a module with ``SCENARIO``, the scenario where none is named, where it uses another
one's runs ``RUNS``, their folder's name, and

- ``run(plan)``, rows of its table for a :class:`Plan`,
- ``columns(rows)``, keys and headings of that table,
- ``write(scenario, rows, output)``, which writes table, numbers and picture.

Runs lie in ``folder/<scenario>/<entry>/seed<N>``. Finished ones are kept and unfinished ones
resumed, so that a command may be interrupted and repeated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hypemarl.config import ConfigError
from hypemarl.files import write_text
from hypemarl.studies.results import Entry, jobs_of, train_missing
from hypemarl.training import summary
from hypemarl.training.records import read_metrics, write_json
from hypemarl.types import Row
from hypemarl.visualisation.table import format_table


@dataclass(frozen=True)
class Plan:
    """What an experiment is asked for.

    Attributes:
        scenario: what is trained. seeds: of every entry. jobs: so many at a time.
        folder: of the runs.
        names: of the entries; None: all, or those that the experiment usually takes.
        overrides: settings of all runs, after those of the entries.
        progress: show a bar.
        in_vain: filled in training, with a sentence for each run whose every episode failed.
    """

    scenario: str
    seeds: Sequence[int]
    jobs: int
    folder: Path
    names: Sequence[str] | None = None
    overrides: Sequence[str] = ()
    progress: bool = True
    in_vain: list[str] = field(default_factory=list)


COSTS = {
    "seeds": "seeds",
    "cost_mean": "cost J mean",
    "cost_min": "min",
    "cost_max": "max",
    "ratio_to_uncontrolled": "J / J0",
    "recovered": "recovered",
    "return_mean": "return",
}
"""Columns of :func:`costs`; those that no row has are left out by :func:`present`."""


def chosen(entries: Sequence[Entry], names: Sequence[str] | None) -> list[Entry]:
    """The entries of these names, in their order, or all. Raises ConfigError."""
    known = {entry.name: entry for entry in entries}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ConfigError(f"unknown variants {unknown}: take names out of {list(known)}")
    return [known[name] for name in (known if names is None else names)]


def trained(entries: Sequence[Entry], plan: Plan) -> list[list[Path]]:
    """Train what is missing; the run folders of every entry, by seed. Not under mpirun.

    Raises:
        ConfigError: an override is wrong. TrainingError: a run failed.
    """
    changed = [Entry(entry.name, (*entry.overrides, *plan.overrides)) for entry in entries]
    planned = jobs_of(plan.scenario, changed, plan.seeds, plan.folder)
    plan.in_vain.extend(train_missing(planned, plan.jobs, progress=plan.progress))
    return by_entry([job.run_dir for job in planned], len(entries))


def by_entry[T](found: Sequence[T], count: int) -> list[list[T]]:
    """What was found of all runs, cut into ``count`` parts of equal length, one per entry."""
    length = len(found) // count
    return [list(found[k * length : (k + 1) * length]) for k in range(count)]


def evaluated(runs: Sequence[Sequence[Path]]) -> list[list[Row]]:
    """Held-out rows of the runs of every entry, see :func:`summary.evaluate_runs`."""
    rows = summary.evaluate_runs([run for group in runs for run in group])
    return by_entry(rows, len(runs))


def measured(
    row: Callable[[Entry, Sequence[Path], Sequence[Row]], Row],
    entries: Sequence[Entry],
    plan: Plan,
) -> list[Row]:
    """The entries that the plan names :func:`trained` and evaluated; a ``row`` for each one.

    ``row`` gets the entry, its runs and their results. Raises ConfigError where a name is unknown,
    and as :func:`trained`.
    """
    asked = chosen(entries, plan.names)
    runs = trained(asked, plan)
    return [row(*group) for group in zip(asked, runs, evaluated(runs), strict=True)]


def costs(runs: Sequence[Row]) -> Row:
    """Spread over seeds of the held-out costs (means over the set), with the yardsticks.

    Keys: those of :data:`COSTS` (``return_mean`` only where costs are minus returns), cost_median,
    costs (one per seed), uncontrolled, and where optima are known ``optimum``.
    """
    found = np.array([row["cost"] for row in runs])
    row: Row = {
        "seeds": len(runs),
        "cost_mean": float(found.mean()),
        "cost_median": float(np.median(found)),
        "cost_min": float(found.min()),
        "cost_max": float(found.max()),
        "costs": found.tolist(),
        "uncontrolled": float(runs[0]["uncontrolled"]),
    }
    if "optimum_cost" in runs[0]:
        row["optimum"] = float(runs[0]["optimum_cost"])
    ratio = "ratio_to_uncontrolled"
    if ratio not in runs[0]:
        row["return_mean"] = float(np.mean([run["return"] for run in runs]))
    for name in (ratio, "recovered"):
        if all(name in run for run in runs):
            row[name] = float(np.mean([run[name] for run in runs]))
    return row


def levels(rows: Sequence[Row]) -> dict[str, float]:
    """The cost of the optimum, where it is known, and that without control."""
    known = ("optimum", "uncontrolled")
    return {name: float(rows[0][name]) for name in known if name in rows[0]}


def validations(run: str | Path) -> list[Row]:
    """The validation lines of a run's metrics."""
    return [line for line in read_metrics(run) if line["kind"] == "validation"]


def seconds(runs: Sequence[str | Path]) -> float:
    """Mean time that training took."""
    return float(np.mean([read_metrics(run)[-1]["seconds"] for run in runs]))


def present(columns: Mapping[str, str], rows: Sequence[Row]) -> dict[str, str]:
    """The columns that at least one row has."""
    return {key: text for key, text in columns.items() if any(key in row for row in rows)}


def stored(name: str, scenario: str, output: Path) -> list[Row]:
    """Rows of an experiment that earlier calls wrote; none where there are none."""
    entry = _read(output / f"{name}.json").get(scenario, [])
    rows = entry["rows"] if isinstance(entry, dict) else entry
    return [row | {key: _infinite(row[key]) for key in _INFINITE if key in row} for row in rows]


_INFINITE = ("cost_mean", "cost_median", "cost_min", "cost_max", "costs", "last_cost")
"""Costs of rows, infinite where an episode failed, which JSON holds as null."""


def _infinite(value: Any) -> Any:
    if isinstance(value, list):
        return [_infinite(entry) for entry in value]
    return np.inf if value is None else value


def merged(old: Sequence[Row], rows: Sequence[Row], order: Sequence[str]) -> list[Row]:
    """Rows by name, the new ones in place of old ones of the same name, in ``order``."""
    kept = {row["name"]: dict(row) for row in (*old, *rows)}
    return sorted(kept.values(), key=lambda row: order.index(row["name"]))


def known(
    name: str, scenario: str, rows: Sequence[Row], order: Sequence[Entry], output: Path
) -> list[Row]:
    """``rows`` and those of earlier calls that are not among them, in the entries' order."""
    return merged(stored(name, scenario, output), rows, [entry.name for entry in order])


def write(
    name: str,
    scenario: str,
    rows: Sequence[Row],
    columns: Mapping[str, str],
    output: Path,
    **figures: Any,
) -> None:
    """``<name>-<scenario>.md``, the table, and the scenario's entry in ``<name>.json``.

    The entry holds ``figures`` and ``rows``; without figures it is the rows.
    """
    file = output / f"{name}.json"
    entry = figures | {"rows": list(rows)} if figures else list(rows)
    write_json(file, _read(file) | {scenario: entry})
    text = format_table(rows, present(columns, rows), markdown=True) + "\n"
    write_text(output / f"{name}-{scenario}.md", text)


def _read(file: Path) -> Row:
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
