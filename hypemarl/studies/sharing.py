"""Schemes of sharing a policy: HyperMARL's schemes, their gradients and their behaviour.

Separate networks, one network, one network that sees the index of the agent, the same without
observations, and hypernetworks (HyperMARL, arXiv:2412.04233), all with the scenario's training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hypemarl.studies import pipeline
from hypemarl.studies.pipeline import Entry, Group, Study
from hypemarl.training.diagnosis import NothingToDiagnose, diagnose_run
from hypemarl.training.records import read_metrics
from hypemarl.types import Row
from hypemarl.visualisation.charts import Panel, draw_dots

DIAGNOSE_EVERY = 20
EPISODES = 4  # of the held-out set, for the diagnosis of a finished run


def _entry(name: str, scheme: str, *changes: str) -> Entry:
    diagnosed = f"training.diagnose_every={DIAGNOSE_EVERY}"
    return Entry(name, (f"agent.scheme={scheme}", *changes, diagnosed))


ENTRIES = (
    _entry("nops", "nops"),
    _entry("fups", "marl"),
    _entry("fups-id", "fups-id"),
    _entry("fups-id-no-state", "fups-id-no-state"),
    *(
        _entry(f"hyper-{kind}", "hypemarl", f"agent.hypernetwork={kind}")
        for kind in ("linear", "mlp", "chunked", "low-rank")
    ),
)

MEASURED = {
    "conflict_cosine": "gradient cosine",
    "conflict_negative": "pairs in conflict",
    "gradient_noise": "gradient noise",
    "observation_variance": "observation term",
    "jacobian_gain": "Jacobian gain",
    "cross_agent_share": "cross-agent share",
    "diversity": "diversity",
    "diversity_relative": "relative",
}
"""Diagnostics of :mod:`hypemarl.agents.diagnostics`, of the finished run."""
DURING = {
    "training_conflict_cosine": "cosine, training",
    "training_gradient_noise": "noise, training",
}
"""The same, means over what was logged while training."""
COLUMNS = {
    "name": "scheme",
    **pipeline.COSTS,
    **MEASURED,
    **DURING,
    "actor_parameters": "parameters",
    "seconds": "seconds",
}


def measure(group: Group) -> Row:
    """Diagnostics, means over seeds, and ``by_seed`` each of them."""
    by_seed = [_diagnosis(run) for run in group.runs]
    names = [name for name in (*MEASURED, *DURING) if all(name in row for row in by_seed)]
    size = next(({"actor_parameters": row["actor_parameters"]} for row in by_seed if row), {})
    return {
        **{name: pipeline.mean_of(by_seed, name) for name in names},
        **size,
        "seconds": pipeline.seconds(group.runs),
        "by_seed": by_seed,
    }


def _diagnosis(run: Path) -> Row:
    """Of the finished run, and ``training_<name>``, means over the lines logged while training.

    Empty where every episode failed.
    """
    try:
        row = diagnose_run(run, episodes=EPISODES)
    except NothingToDiagnose:
        return {}  # the command ends with the run's failure
    row.pop("run")  # a path is no diagnostic
    lines = [line for line in read_metrics(run) if line["kind"] == "diagnostic"]
    for name in (*MEASURED, "gradient_variance"):
        logged = [line[name] for line in lines if line.get(name) is not None]
        if logged:
            row[f"training_{name}"] = float(np.mean(logged))
    return row


def draw(rows: Sequence[Row], scenario: str, path: Path) -> Path:
    """Cost, conflict, noise, diversity and size of every scheme, seeds as dots."""

    def of(name: str) -> list[list]:
        return [[seed.get(name, np.nan) for seed in row["by_seed"]] for row in rows]

    panels = [
        Panel("held-out cost J", [row["costs"] for row in rows], levels=pipeline.levels(rows)),
        Panel("cosine between agents' gradients", of("training_conflict_cosine")),
        Panel("gradient noise (variance / mean²)", of("training_gradient_noise"), True),
        Panel("share of variance across agents", of("training_cross_agent_share")),
        Panel("behavioural diversity", of("diversity")),
        Panel("parameters of the actor", of("actor_parameters"), True),
    ]
    return draw_dots([row["name"] for row in rows], panels, path)


STUDY = Study("sharing", "density-vacuum", lambda _: ENTRIES, COLUMNS, measure, draw=draw)
