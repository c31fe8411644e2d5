"""How many real episodes it takes: MB-HypeMARL at several budgets beside HypeMARL by TD3 at 500.

A run for every budget and seed, since what is learned with many episodes begins with the same few.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypemarl.studies import pattern
from hypemarl.studies.pattern import Plan, Row
from hypemarl.studies.results import Entry, few_real_episodes
from hypemarl.training.records import RunFolder
from hypemarl.visualisation.budgets import draw_budgets

SCENARIO = "density-vacuum"
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


def run(plan: Plan) -> list[Row]:
    """Train what is missing, evaluate; rows with the keys of :data:`COLUMNS`.

    Costs are means over the held-out set, their spread is over seeds. Entries
    have names such as ``td3`` or ``mbpg-73``.

    Raises:
        ConfigError: a name is unknown. TrainingError: a run failed.
    """
    return pattern.measured(_row, entries(), plan)


def entries() -> list[Entry]:
    """The reference, and every method at every budget."""
    return [
        REFERENCE,
        *(
            Entry(f"{method}-{budget}", few_real_episodes(method, budget))
            for method in METHODS
            for budget in BUDGETS
        ),
    ]


def _row(entry: Entry, runs: Sequence[Path], results: Sequence[Row]) -> Row:
    training = RunFolder(runs[0]).read_config().training
    head = {"name": entry.name, "method": training.method, "episodes": training.episodes}
    return head | pattern.costs(results)


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
    return pattern.present(COLUMNS, rows)


def write(scenario: str, rows: Sequence[Row], output: Path) -> None:
    """``sample-efficiency-<scenario>.md``, the picture, and the entry in the JSON file.

    Rows of earlier calls that are not among ``rows`` stay.
    """
    name = "sample-efficiency"
    known = pattern.known(name, scenario, rows, entries(), output)
    matches = {method: episodes_to_match(known, method) for method in METHODS}
    figures = {
        "real_episodes_to_match": min((m for m in matches.values() if m), default=None),
        **{f"real_episodes_to_match_{method}": value for method, value in matches.items()},
    }
    pattern.write(name, scenario, known, COLUMNS, output, **figures)
    picture = output.parent / "images" / f"{name}-{scenario}.png"
    draw_budgets(known, picture, reference=REFERENCE.name)
