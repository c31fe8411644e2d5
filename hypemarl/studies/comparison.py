"""HypeMARL against MARL with the paper's 500 episodes: learning curves and held-out costs.

With the scenario's credit, and with near agents' critics alone (``cooperative``: nothing in
training knows the plant's adjoint).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hypemarl.files import write_text
from hypemarl.studies import pattern
from hypemarl.studies.pattern import Plan, Row
from hypemarl.studies.results import Entry, validation_costs
from hypemarl.visualisation.curves import draw_groups, read_validation

SCENARIO = "density-vacuum"
EPISODES = "training.episodes=500"
COOPERATIVE = ("agent.credit=cooperative", "agent.cloning=0")
SCHEMES = ("hypemarl", "marl")

ENTRIES = (
    *(Entry(scheme, (EPISODES, f"agent.scheme={scheme}")) for scheme in SCHEMES),
    *(
        Entry(f"{scheme}-cooperative", (EPISODES, f"agent.scheme={scheme}", *COOPERATIVE))
        for scheme in SCHEMES
    ),
)
COLUMNS = {"name": "training", **pattern.COSTS, "seconds": "seconds"}


def run(plan: Plan) -> list[Row]:
    """Train what is missing, evaluate; rows with the keys of :data:`COLUMNS`.

    ``curves`` holds each seed's validation cost by episode, ``metrics`` the same as lines of
    :func:`hypemarl.studies.results.validation_costs`.

    Raises:
        ConfigError: a name is unknown. TrainingError: a run failed.
    """
    return pattern.measured(_row, ENTRIES, plan)


def _row(entry: Entry, runs: Sequence[Path], results: Sequence[Row]) -> Row:
    found = [read_validation(run) for run in runs]
    levels = [level for _, levels in found for level in levels]
    return {
        "name": entry.name,
        **pattern.costs(results),
        "seconds": pattern.seconds(runs),
        "curves": [curve for curve, _ in found],
        "uncontrolled_validation": float(np.mean(levels)) if levels else None,
        "metrics": validation_costs(runs),
    }


def ratios(rows: Sequence[Row]) -> dict[str, float | None]:
    """MARL's mean cost over HypeMARL's, ``ratio_marl_over_hypemarl``, for each way to train.

    ``..._cooperative`` without the scenario's credit; None where one of the two is missing.
    """
    costs = {row["name"]: row["cost_mean"] for row in rows}
    found: dict[str, float | None] = {}
    for suffix in ("", "-cooperative"):
        own, marl = (costs.get(scheme + suffix) for scheme in SCHEMES)
        key = f"ratio_marl_over_hypemarl{suffix.replace('-', '_')}"
        found[key] = None if own is None or marl is None else marl / own
    return found


def columns(rows: Sequence[Row]) -> dict[str, str]:
    """Keys and headings of the table; those that no row has are left out."""
    return pattern.present(COLUMNS, rows)


def write(scenario: str, rows: Sequence[Row], output: Path) -> None:
    """``comparison-<scenario>.md``, the curves, the costs over episodes as
    ``metrics/comparison-<scenario>.csv``, and the scenario's entry in ``comparison.json``.

    Rows of earlier calls that are not among ``rows`` stay.
    """
    known = pattern.known("comparison", scenario, rows, ENTRIES, output)
    pattern.write("comparison", scenario, known, COLUMNS, output, **ratios(known))
    heads = [row["metrics"].splitlines(keepends=True) for row in known]
    lines = heads[0][:1] + [line for head in heads for line in head[1:]]
    write_text(output / "metrics" / f"comparison-{scenario}.csv", "".join(lines))
    draw(known, output.parent / "images" / f"comparison-{scenario}.png")


def draw(rows: Sequence[Row], path: Path) -> Path | None:
    """Learning curves with the cost without control, and the optimum's where it is known.

    None where no run has a finite validation cost.
    """
    groups = {
        row["name"].replace("-cooperative", " (cooperative)"): [
            {int(episode): cost for episode, cost in curve.items()} for curve in row["curves"]
        ]
        for row in rows
    }
    names = {"uncontrolled_validation": "uncontrolled", "optimum": "optimum, held-out set"}
    levels = {text: rows[0][key] for key, text in names.items() if rows[0].get(key) is not None}
    return draw_groups(groups, levels, path)
