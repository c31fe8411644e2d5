"""Contents of a run's files without what may differ between equal runs: times and checksums."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

VOLATILE = ("seconds", "checksum", "sha256", "digest", "created", "run")


def flat(value: Any, where: str = "") -> dict[str, Any]:
    """Every number, text and array of nested containers by its place, bit for bit."""
    return dict(_entries(value, where))


def _entries(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    import torch

    if isinstance(value, Mapping):
        for name, entry in value.items():
            if str(name) not in VOLATILE and not str(name).startswith("seconds"):
                yield from _entries(entry, f"{where}/{name}")
    elif isinstance(value, list | tuple):
        yield where, len(value)
        for number, entry in enumerate(value):
            yield from _entries(entry, f"{where}/{number}")
    elif isinstance(value, torch.Tensor):
        yield from _entries(value.detach().numpy(), where)
    elif isinstance(value, np.ndarray):
        yield where, (value.dtype.str, value.shape, value.tobytes())
    else:
        yield where, repr(value)


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Places whose entries differ."""
    return sorted(k for k in one.keys() | other.keys() if one.get(k) != other.get(k))


def checkpoint(path: Path) -> dict[str, Any]:
    """All of a checkpoint, through the product's loader; raises its CheckpointError."""
    from hypemarl.training import checkpoint

    return flat(checkpoint.load(path))


def metrics(path: Path) -> dict[str, Any]:
    """The lines of ``metrics.jsonl``."""
    return flat([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])


def json_file(path: Path) -> dict[str, Any]:
    """A JSON file."""
    return flat(json.loads(path.read_text(encoding="utf-8")))


def trajectory(path: Path) -> dict[str, Any]:
    """A recorded episode, through the product's reader; raises its RunError."""
    from hypemarl.training import records

    return flat(records.read_trajectory(path))


def arrays(path: Path) -> dict[str, Any]:
    """Named arrays, through the product's reader; raises its DamagedError."""
    from hypemarl import files

    return flat(files.read_arrays(path)[0])


def run_differences(run: Path, reference: Path) -> list[str]:
    """Differences between two finished runs; every file counts, also one too many or too few."""
    found = []
    for name, read in (
        ("checkpoints/last.pt", checkpoint),
        ("checkpoints/best.pt", checkpoint),
        ("metrics.jsonl", metrics),
    ):
        if not (run / name).is_file():
            found.append(f"{name} is missing")
            continue
        places = differences(read(run / name), read(reference / name))
        if places:
            found.append(f"{name} differs in {len(places)} entries, as {places[0]}")
    if (run / "config.yaml").read_bytes() != (reference / "config.yaml").read_bytes():
        found.append("config.yaml differs")
    return found


def leftovers(folder: Path, reference: Path) -> list[str]:
    """Files in ``folder`` that ``reference`` has not, such as temporary files of dead writers."""
    return sorted(set(_names(folder)) - set(_names(reference)))


def _names(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
