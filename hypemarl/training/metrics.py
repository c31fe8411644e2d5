"""Lines of ``metrics.jsonl``, checked against the checkpoint, and the copy of the records.

The copy lies beside the checkpoints and is written with each of them. It shows whether
``config.yaml`` or ``metrics.jsonl``, which people may edit, were changed since, and restores lost
metrics. Its metrics are always a beginning of the file's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hypemarl import files
from hypemarl.mpi import note
from hypemarl.types import Row

Metric = Row

HEAD = ("kind", "episode", "step", "seconds")
"""Keys of every record."""


class RunError(RuntimeError):
    """A run folder is missing, occupied or damaged."""


class Line(NamedTuple):
    """A record and the bytes that it was read from, with the end of the line."""

    text: bytes
    record: Metric


class Gap(NamedTuple):
    """Episodes whose records are lost: how many, the first and the last of them."""

    missing: int
    first: int
    last: int


def parse(content: bytes, where: Path) -> list[Line]:
    """The records of a file's content; a last line that was cut while written is left out.

    Raises RunError: an inner line is damaged, or a line is JSON but no record.
    """
    texts = content.split(b"\n")
    lines = []
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
        except ValueError as error:  # not JSON, or no UTF-8
            if number == len(texts):
                break
            raise RunError(_refusal(where, number, "a JSON object", text)) from error
        if not _is_record(record):
            raise RunError(_refusal(where, number, f"a record with {', '.join(HEAD)}", text))
        lines.append(Line(text + b"\n", record))
    return lines


def _is_record(record: object) -> bool:
    return (
        isinstance(record, dict)
        and record.keys() >= set(HEAD)
        and isinstance(record["kind"], str)
        and isinstance(record["episode"], int)
        and not isinstance(record["episode"], bool)
    )


def _refusal(where: Path, number: int, expected: str, text: bytes) -> str:
    shown = text[:60].decode(errors="replace")
    return f"{where}:{number}: expected {expected}, got {shown!r}; mend or remove that line"


def until(lines: Sequence[Line], episode: int) -> list[Line]:
    """The lines up to and including ``episode``."""
    return [line for line in lines if line.record["episode"] <= episode]


def joined(lines: Sequence[Line]) -> bytes:
    """The content of a file of these lines."""
    return b"".join(line.text for line in lines)


def gap(lines: Sequence[Line], episode: int) -> Gap | None:
    """Episodes up to ``episode`` that ``lines`` have no record of, None where all have one."""
    recorded: set[int] = set()
    for _, record in lines:
        if record["kind"] in ("episode", "failure"):
            recorded.add(record["episode"])
        elif record["kind"] == "gap":  # marked already
            recorded.update(range(int(record["first"]), int(record["last"]) + 1))
    lost = [number for number in range(1, episode + 1) if number not in recorded]
    return Gap(len(lost), lost[0], lost[-1]) if lost else None


class Records(NamedTuple):
    """The bytes of ``config.yaml`` and ``metrics.jsonl``."""

    config: bytes
    metrics: bytes


def write_copy(path: Path, records: Records) -> None:
    """Write the copy. Raises :class:`hypemarl.files.WriteError`."""
    fields = records._asdict().items()
    files.write_arrays(path, {name: np.frombuffer(text, np.uint8) for name, text in fields})


def read_copy(path: Path) -> Records | None:
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
    """Advice on how to continue after a failed write beside the checkpoint ``last``."""
    if last.exists():
        return "the last checkpoint is whole: then run the same command with --resume"
    return "there is no checkpoint yet: then run the same command with --overwrite"
