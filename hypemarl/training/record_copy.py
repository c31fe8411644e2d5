"""A copy of a run's records beside its checkpoints, written with each of them.

It shows whether ``config.yaml`` or ``metrics.jsonl``, which people may edit, were changed since,
and restores metrics that were lost. The metrics in it are always a beginning of the file's.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from hypemarl import files
from hypemarl.mpi import note


class Records(NamedTuple):
    """The bytes of ``config.yaml`` and ``metrics.jsonl``."""

    config: bytes
    metrics: bytes


def write(path: Path, records: Records) -> None:
    """Write the copy. Raises :class:`hypemarl.files.WriteError`."""
    fields = records._asdict().items()
    files.write_arrays(path, {name: np.frombuffer(text, np.uint8) for name, text in fields})


def read(path: Path) -> Records | None:
    """The copy, None where there is none (runs from before checksums) or a damaged one (said)."""
    if not path.is_file():
        return None
    try:
        arrays, _ = files.read_arrays(path)
        return Records(*(arrays[name].tobytes() for name in Records._fields))
    except (files.DamagedError, OSError, KeyError) as error:
        note(f"{path}: not used as a copy of the records ({error})")
        return None


def how_to_go_on(last: Path) -> str:
    """Advice after a failed write beside the checkpoint ``last``: is it whole, how to go on."""
    if last.exists():
        return "the last checkpoint is whole: then run the same command with --resume"
    return "there is no checkpoint yet: then run the same command with --overwrite"
