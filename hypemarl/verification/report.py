"""Reports of verification cases: measured beside expected values."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Row(NamedTuple):
    """One quantity: its measured value, the expectation in words, and whether that holds."""

    name: str
    measured: float
    expected: str
    ok: bool


@dataclass
class Report:
    """The rows of a case, in the order in which they were measured."""

    title: str
    rows: list[Row] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """True when there are rows and each of them holds."""
        return bool(self.rows) and all(row.ok for row in self.rows)

    def at_most(self, name: str, measured: float, bound: float) -> None:
        """Expect ``measured <= bound`` (NaN fails)."""
        self.rows.append(Row(name, measured, f"<= {bound:g}", bool(measured <= bound)))

    def at_least(self, name: str, measured: float, bound: float) -> None:
        """Expect ``measured >= bound`` (NaN fails)."""
        self.rows.append(Row(name, measured, f">= {bound:g}", bool(measured >= bound)))

    def within(self, name: str, measured: float, low: float, high: float) -> None:
        """Expect ``low <= measured <= high`` (NaN fails)."""
        ok = bool(low <= measured <= high)
        self.rows.append(Row(name, measured, f"{low:g} .. {high:g}", ok))

    def note(self, name: str, measured: float) -> None:
        """A measured value on which nothing is expected."""
        self.rows.append(Row(name, measured, "-", True))
