"""HypeMARL against MARL with the paper's 500 episodes: learning curves and held-out costs.

With the scenario's credit, and with near agents' critics alone (``cooperative``: nothing in
training knows the plant's adjoint).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hypemarl.studies import pipeline
from hypemarl.studies.pipeline import Entry, Group, Study
from hypemarl.types import Row
from hypemarl.visualisation.curves import draw_groups, read_validation

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
COLUMNS = {"name": "training", **pipeline.COSTS, "seconds": "seconds"}


def measure(group: Group) -> Row:
    """``curves``: each seed's validation cost by episode; ``metrics``: the same as lines of
    :func:`hypemarl.studies.pipeline.validation_costs`.
    """
    validations = [read_validation(run) for run in group.runs]
    levels = [level for _, levels in validations for level in levels]
    return {
        "seconds": pipeline.seconds(group.runs),
        "curves": [curve for curve, _ in validations],
        "uncontrolled_validation": float(np.mean(levels)) if levels else None,
        "metrics": pipeline.validation_costs(group.runs),
    }


def ratios(rows: Sequence[Row], scenario: str) -> dict[str, float | None]:
    """MARL's mean cost over HypeMARL's, ``ratio_marl_over_hypemarl``, for each credit.

    ``..._cooperative`` without the scenario's credit; None where one of the two is missing.
    """
    costs = {row["name"]: row["cost_mean"] for row in rows}
    result: dict[str, float | None] = {}
    for suffix in ("", "-cooperative"):
        hypemarl, marl = (costs.get(scheme + suffix) for scheme in SCHEMES)
        key = f"ratio_marl_over_hypemarl{suffix.replace('-', '_')}"
        result[key] = None if hypemarl is None or marl is None else marl / hypemarl
    return result


def draw(rows: Sequence[Row], scenario: str, path: Path) -> Path | None:
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


STUDY = Study(
    "comparison", "density-vacuum", lambda _: ENTRIES, COLUMNS, measure, figures=ratios, draw=draw
)
