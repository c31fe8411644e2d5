"""Errors of the surrogate on and off the policy's distribution, in one step and rolled out.

Of MB-HypeMARL's finished runs (``experiment sample-efficiency``): see
:mod:`hypemarl.algorithms.model_based.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hypemarl.algorithms.model_based.errors import surrogate_errors
from hypemarl.config import ConfigError
from hypemarl.studies import pattern, sample_efficiency
from hypemarl.studies.pattern import Plan, Row
from hypemarl.visualisation.surrogate_errors import draw_errors

SCENARIO = "density-vacuum"
RUNS = "sample-efficiency"
USUAL = ("mbpg-73",)
EPISODES = 8  # of the held-out set
COLUMNS = {
    "name": "run: actions of",
    "seeds": "seeds",
    "surrogate_error": "one step",
    "surrogate_rollout_error": "whole episode",
    "surrogate_cost_error": "cost",
}


def run(plan: Plan) -> list[Row]:
    """Measure the surrogates of finished runs; what is missing is trained.

    ``names`` are those of ``experiment sample-efficiency``, :data:`USUAL` by default. A row for
    every run and every policy whose episodes are predicted, ``<run>: <policy>``, with the keys of
    :data:`COLUMNS`, means over seeds, and by_step (T, 3: mean, min, max over seeds).

    Raises:
        ConfigError: a name is unknown, or of a run without a surrogate.
        TrainingError: a run failed.
    """
    entries = pattern.chosen(sample_efficiency.entries(), plan.names or USUAL)
    if sample_efficiency.REFERENCE in entries:
        raise ConfigError(f"{sample_efficiency.REFERENCE.name} learns without a surrogate")
    runs = pattern.trained(entries, plan)
    rows = []
    for entry, own in zip(entries, runs, strict=True):
        found = [surrogate_errors(path, episodes=EPISODES) for path in own]
        rows += [_row(f"{entry.name}: {name}", [seed[name] for seed in found]) for name in found[0]]
    return rows


def _row(name: str, seeds: Sequence[Row]) -> Row:
    steps = np.array([seed["by_step"] for seed in seeds])
    bands = [steps.mean(axis=0), steps.min(axis=0), steps.max(axis=0)]
    means = {key: float(np.mean([s[key] for s in seeds])) for key in seeds[0] if key != "by_step"}
    return {"name": name, "seeds": len(seeds), **means, "by_step": np.stack(bands, axis=1).tolist()}


def columns(rows: Sequence[Row]) -> dict[str, str]:
    """Keys and headings of the table; those that no row has are left out."""
    return pattern.present(COLUMNS, rows)


def write(scenario: str, rows: Sequence[Row], output: Path) -> None:
    """``surrogate-<scenario>.md``, the picture, and the scenario's entry in ``surrogate.json``.

    Rows of earlier calls that are not among ``rows`` stay; the picture shows ``rows``.
    """
    old = pattern.stored("surrogate", scenario, output)
    order = sorted({row["name"] for row in (*old, *rows)}, key=_place)
    pattern.write("surrogate", scenario, pattern.merged(old, rows, order), COLUMNS, output)
    draw_errors(rows, output.parent / "images" / f"surrogate-{scenario}.png")


def _place(name: str) -> tuple[int, str]:
    """Runs in the order of their experiment; of each the policy's own episodes first."""
    known = [entry.name for entry in sample_efficiency.entries()]
    run_name, _, policy = name.partition(": ")
    return known.index(run_name), "" if policy == "policy" else policy
