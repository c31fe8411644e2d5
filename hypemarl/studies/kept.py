"""Entries of the tables' files, which earlier calls wrote. Every call is local."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from hypemarl.mpi import note
from hypemarl.training.records import RunError
from hypemarl.types import Row

_INFINITE = ("cost_mean", "cost_median", "cost_min", "cost_max", "costs", "last_cost")
"""Costs of rows, infinite where an episode failed, which JSON holds as null."""


def read(path: Path) -> Row:
    """Entries by scenario; none where there is no file. Raises RunError: it is damaged."""
    try:
        return dict(json.loads(path.read_bytes())) if path.is_file() else {}
    except (ValueError, TypeError) as error:
        raise RunError(
            f"{path}: expected the numbers of this table's scenarios as a JSON object, got "
            f"something else ({error}); restore it, or remove it to make every scenario anew"
        ) from error


def rows(path: Path, scenario: str) -> list[Row]:
    """Rows of a scenario; none where there are none. Raises RunError."""
    entry = read(path).get(scenario, [])
    found = entry["rows"] if isinstance(entry, dict) else entry  # a list in version 0.1
    return [row | {key: _infinite(row[key]) for key in _INFINITE if key in row} for row in found]


def note_dropped(path: Path, scenario: str, made: Iterable[tuple[str, int]]) -> None:
    """Name the runs in a table by scheme that are not among those that are to be ``made``.

    ``made``: policies, as records have them, and seeds. Raises RunError.
    """
    new, seeds = set(made), dict[str, set[int]]()
    for record in rows(path, scenario):
        policy, seed = record.get("policy", ""), record.get("seed")
        if seed is not None and (policy, seed) not in new:
            seeds.setdefault(policy, set()).add(seed)
    if seeds:
        listed = [f"{name} of seeds {sorted(numbers)}" for name, numbers in seeds.items()]
        note(
            f"{path}: the entry of {scenario} is replaced as a whole, which drops the rows of "
            f"{', '.join(listed)}; to keep them make them again with the others"
        )


def _infinite(value: Any) -> Any:
    if isinstance(value, list):
        return [_infinite(entry) for entry in value]
    return np.inf if value is None else value
