"""Experiments: training, evaluation and pictures put together."""

from __future__ import annotations

import importlib
from types import ModuleType

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
"""What ``hypemarl experiment`` runs: modules of this room, see its ``pattern``."""


def module_of(name: str) -> ModuleType:
    """The module of an experiment, imported when it is asked for."""
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
