"""Errors of the surrogate on and off the policy's distribution, in one step and rolled out.

Of MB-HypeMARL's finished runs (``experiment sample-efficiency``): see
:mod:`hypemarl.algorithms.model_based.errors`.
"""

from __future__ import annotations

import numpy as np

from hypemarl.algorithms.model_based.errors import surrogate_errors
from hypemarl.studies import pipeline, sample_efficiency
from hypemarl.studies.pipeline import Entry, Group, Study
from hypemarl.types import Row
from hypemarl.visualisation.charts import draw_errors

EPISODES = 8  # of the held-out set
COLUMNS = {
    "name": "run: actions of",
    "seeds": "seeds",
    "surrogate_error": "one step",
    "surrogate_rollout_error": "whole episode",
    "surrogate_cost_error": "cost",
}


def measure(group: Group) -> list[Row]:
    """A row for every policy whose episodes are predicted, ``<run>: <policy>``, its own first.

    Means over seeds, and by_step (T, 3: mean, min, max over seeds).
    """
    errors = [surrogate_errors(path, episodes=EPISODES) for path in group.runs]
    names = sorted(errors[0], key=lambda name: (name != "policy", name))
    return [_row(f"{group.entry.name}: {name}", [seed[name] for seed in errors]) for name in names]


def _row(name: str, seeds: list[Row]) -> Row:
    steps = np.array([seed["by_step"] for seed in seeds])
    bands = [steps.mean(axis=0), steps.min(axis=0), steps.max(axis=0)]
    means = {key: pipeline.mean_of(seeds, key) for key in seeds[0] if key != "by_step"}
    return {"name": name, "seeds": len(seeds), **means, "by_step": np.stack(bands, axis=1).tolist()}


def entries(scenario: str) -> list[Entry]:
    """Those of the study whose runs these are, but for the one without a surrogate."""
    return sample_efficiency.entries(scenario)[1:]


STUDY = Study(
    "surrogate",
    "density-vacuum",
    entries,
    COLUMNS,
    measure,
    draw=lambda rows, _, path: draw_errors(rows, path),
    runs="runs/sample-efficiency",
    usual=("mbpg-73",),
    evaluates=False,
)
