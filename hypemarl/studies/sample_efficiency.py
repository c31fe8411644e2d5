"""Real episodes that learning takes: MB-HypeMARL at several budgets beside HypeMARL by TD3 at 500.

A run for every budget and seed, since what is learned with many episodes begins with the same few.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypemarl.studies.pipeline import Entry, Group, Study
from hypemarl.studies.results import few_real_episodes
from hypemarl.training.records import RunFolder
from hypemarl.types import Row
from hypemarl.visualisation.charts import draw_budgets

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


def entries(scenario: str) -> list[Entry]:
    """The reference, and every algorithm at every budget: ``td3``, ``mbpg-73``, ..."""
    return [
        REFERENCE,
        *(
            Entry(f"{method}-{budget}", few_real_episodes(method, budget))
            for method in METHODS
            for budget in BUDGETS
        ),
    ]


def measure(group: Group) -> Row:
    """The algorithm and its budget."""
    training = RunFolder(group.runs[0]).read_config().training
    return {"method": training.algorithm, "episodes": training.episodes}


def episodes_to_match(rows: Sequence[Row], method: str) -> int | None:
    """The fewest real episodes whose mean cost is within :data:`MARGIN` of the reference's."""
    reference = [row["cost_mean"] for row in rows if row["name"] == REFERENCE.name]
    if not reference:
        return None
    bound = (1.0 + MARGIN) * reference[0]
    fits = [r["episodes"] for r in rows if r["method"] == method and r["cost_mean"] <= bound]
    return min(fits, default=None)


def figures(rows: Sequence[Row], scenario: str) -> Row:
    """The fewest real episodes that match, of each algorithm and of all."""
    matches = {method: episodes_to_match(rows, method) for method in METHODS}
    return {
        "real_episodes_to_match": min((m for m in matches.values() if m), default=None),
        **{f"real_episodes_to_match_{method}": value for method, value in matches.items()},
    }


STUDY = Study(
    "sample-efficiency",
    "density-vacuum",
    entries,
    COLUMNS,
    measure,
    figures,
    lambda rows, _, path: draw_budgets(rows, path, reference=REFERENCE.name),
)
