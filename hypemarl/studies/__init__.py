"""Studies: the tables of docs/results and the papers' experiments, trained, evaluated and drawn."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypemarl.studies.pipeline import Study

NAMES = (
    "ablation",
    "comparison",
    "encoding",
    "moving-agents",
    "sample-efficiency",
    "sensitivity",
    "sharing",
    "surrogate",
)
"""Experiments: a module of this room each, with its ``STUDY``."""

TABLES = ("density", "observed-flow", "imitation", "flow", "shape", "unsteady", "problems")
"""Tables by scheme, of :mod:`hypemarl.studies.results`, over one or more scenarios each."""


def studies_of(name: str) -> dict[str, Study]:
    """The studies behind a name of the command line, by scenario; imported when asked for."""
    if name in NAMES:
        study: Study = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").STUDY
        return {study.scenario: study}
    from hypemarl.studies.results import TABLES

    return TABLES[name]
