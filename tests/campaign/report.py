"""Results of trials as a table, on the screen and in docs/reliability.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FAULTS = (
    "lost",
    "silent",
    "traceback",
    "unclear",
    "code run",
    "orphan",
    "hang",
    "leftover",
    "memory",
)
"""Verdicts that must not occur, see docs/reliability.md."""


@dataclass(frozen=True)
class Result:
    """Verdict of one trial: one of :data:`FAULTS`, or what soundly happened."""

    kind: str
    name: str
    verdict: str
    detail: str = ""
    seconds: float = 0.0
    processor: float = 0.0  # seconds of processor time, which other load does not change


@dataclass
class Tally:
    """Results of one kind."""

    kind: str
    verdicts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def tried(self) -> int:
        """Number of trials that came to a verdict."""
        return sum(n for verdict, n in self.verdicts.items() if verdict != "not tried")

    def row(self) -> list[str]:
        """Cells of the table."""
        sound = [f"{name} {n}" for name, n in sorted(self.verdicts.items()) if name not in FAULTS]
        faults = [str(self.verdicts[name]) for name in FAULTS]
        return [self.kind, str(self.tried), ", ".join(sound), *faults, f"{self.seconds:.0f}"]


def tally(results: Iterable[Result]) -> list[Tally]:
    """One tally for each kind, in the order of their first results."""
    found: dict[str, Tally] = {}
    for result in results:
        entry = found.setdefault(result.kind, Tally(result.kind))
        entry.verdicts[result.verdict] += 1
        entry.seconds += result.seconds
    return list(found.values())


def table(tallies: Sequence[Tally]) -> str:
    """The table in Markdown."""
    head = ["kind", "tried", "sound", *FAULTS, "seconds"]
    rows = [head, ["-" * len(name) for name in head], *(entry.row() for entry in tallies)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    )


def faults(results: Iterable[Result]) -> list[Result]:
    """Results that must not occur."""
    return [result for result in results if result.verdict in FAULTS]


def write(path: Path, tallies: Sequence[Tally], notes: Sequence[str], how: str) -> None:
    """Put the figures between the markers of docs/reliability.md."""
    begin, end = "<!-- figures -->\n", "<!-- /figures -->"
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(begin)
    _, marker, after = rest.partition(end)
    if not marker:
        raise ValueError(f"{path}: expected the lines {begin.strip()} and {end}")
    found = "\n".join(f"- {note}" for note in notes)
    figures = f"{how}\n\n{table(tallies)}\n" + (f"\n{found}\n" if found else "")
    path.write_text(f"{before}{begin}{figures}{end}{after}", encoding="utf-8")
