"""How a setting is declared: a dataclass field with its default, explanation and limits."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def key(
    default: Any,
    explanation: str,
    *,
    above: float | None = None,
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """A dataclass field with its explanation, which ``hypemarl list --keys`` prints.

    Values (every entry, of a tuple) must be ``> above``, ``>= low`` and ``<= high``.
    """
    return field(
        default=default,
        metadata={"help": explanation, "above": above, "low": low, "high": high},
    )
