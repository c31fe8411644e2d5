"""How many real episodes it takes: MB-HypeMARL at several budgets beside HypeMARL by TD3 at 500.

A run for every budget and seed, since what is learned with many episodes begins with the same few.
Finished runs are kept, so that the command may be repeated.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hypemarl.config import ConfigError
from hypemarl.experiments.results import (
    Entry,
    few_real_episodes,
    jobs_of,
    train_missing,
    write_text,
)
from hypemarl.training import summary
from hypemarl.training.jobs import Job
from hypemarl.training.records import write_json
from hypemarl.visualisation.budgets import draw_budgets
from hypemarl.visualisation.table import format_table

Row = dict[str, Any]

BUDGETS = (10, 24, 50, 73, 100, 200)
REFERENCE = Entry("td3", ("training.episodes=500",))
#: without the adjoint of the plant: gains are the surrogate's own, where the credit asks
METHODS = ("mbpg", "dyna")
#: a budget matches where its mean cost is within this share of the reference's
MARGIN = 0.05

COLUMNS = {
    "name": "training",
    "episodes": "real episodes",
    "seeds": "seeds",
    "cost_mean": "cost J mean",
    "cost_min": "min",
    "cost_max": "max",
    "recovered": "recovered",
}


def run(
    scenario: str,
    *,
    seeds: Sequence[int],
    jobs: int,
    folder: Path,
    names: Sequence[str] | None = None,
    progress: bool = True,
) -> list[Row]:
    """Train what is missing in ``folder/<scenario>/<method>-<budget>/seed<N>``, evaluate, tabulate.

    ``names`` chooses entries such as ``td3`` or ``mbpg-73``. Rows have the keys of
    :data:`COLUMNS`: costs are means over the held-out set, their spread is over seeds. Not under
    mpirun.

    Raises:
        ConfigError: a name is unknown. TrainingError: a run failed.
    """
    entries = chosen(names)
    planned = jobs_of(scenario, [entry for entry, _ in entries], seeds, folder)
    train_missing(planned, jobs, progress=progress)
    found, count = summary.evaluate_runs([job.run_dir for job in planned]), len(seeds)
    return [
        _row(entry.name, budget, found[k * count : (k + 1) * count], planned[k * count])
        for k, (entry, budget) in enumerate(entries)
    ]


def entries() -> list[tuple[Entry, int]]:
    """All runs and their numbers of real episodes."""
    budgets = [
        (Entry(f"{method}-{budget}", few_real_episodes(method, budget)), budget)
        for method in METHODS
        for budget in BUDGETS
    ]
    return [(REFERENCE, 500), *budgets]


def chosen(names: Sequence[str] | None) -> list[tuple[Entry, int]]:
    """The entries of these names, in their order, or all. Raises ConfigError."""
    known = {entry.name: (entry, budget) for entry, budget in entries()}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ConfigError(f"unknown runs {unknown}: take names out of {list(known)}")
    return [known[name] for name in (known if names is None else names)]


def _row(name: str, budget: int, runs: Sequence[Row], job: Job) -> Row:
    costs = np.array([row["cost"] for row in runs])
    shares = [row["recovered"] for row in runs if "recovered" in row]
    return {
        "name": name,
        "method": job.config.training.method,
        "episodes": budget,
        "seeds": len(runs),
        "cost_mean": float(costs.mean()),
        "cost_min": float(costs.min()),
        "cost_max": float(costs.max()),
        "uncontrolled": float(runs[0]["uncontrolled"]),
        **({"optimum": float(runs[0]["optimum_cost"])} if "optimum_cost" in runs[0] else {}),
        **({"recovered": float(np.mean(shares))} if shares else {}),
        "costs": costs.tolist(),
    }


def episodes_to_match(rows: Sequence[Row], method: str) -> int | None:
    """The fewest real episodes whose mean cost is within :data:`MARGIN` of the reference's."""
    reference = [row["cost_mean"] for row in rows if row["name"] == REFERENCE.name]
    if not reference:
        return None
    bound = (1.0 + MARGIN) * reference[0]
    fits = [r["episodes"] for r in rows if r["method"] == method and r["cost_mean"] <= bound]
    return min(fits, default=None)


def columns(rows: Sequence[Row]) -> dict[str, str]:
    """Keys and headings of the table; those that no row has are left out."""
    return {key: text for key, text in COLUMNS.items() if any(key in row for row in rows)}


def write(scenario: str, rows: Sequence[Row], output: Path) -> None:
    """``sample-efficiency-<scenario>.md``, the picture, and the entry in the JSON file.

    Rows of earlier calls that are not among ``rows`` stay.
    """
    file = output / "sample-efficiency.json"
    stored = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    kept = {row["name"]: row for row in stored.get(scenario, {}).get("rows", [])}
    kept |= {row["name"]: dict(row) for row in rows}
    order = [entry.name for entry, _ in entries()]
    known = sorted(kept.values(), key=lambda row: order.index(row["name"]))
    matches = {method: episodes_to_match(known, method) for method in METHODS}
    found = {
        "real_episodes_to_match": min((m for m in matches.values() if m), default=None),
        **{f"real_episodes_to_match_{method}": value for method, value in matches.items()},
        "rows": known,
    }
    write_json(file, stored | {scenario: found})
    text = format_table(known, columns(known), markdown=True) + "\n"
    write_text(output / f"sample-efficiency-{scenario}.md", text)
    draw_budgets(known, output.parent / "images" / f"sample-efficiency-{scenario}.png")
