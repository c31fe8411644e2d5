"""Error of a configuration that cannot work, and values as its messages show them."""

from __future__ import annotations

from typing import Any

_LONGEST = 80


class ConfigError(ValueError):
    """A setting is unknown, of the wrong type, out of range, or at odds with another.

    ``key`` is the setting's full name, as in ``agent.gamma``, where the error is about one.
    """

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


def shown(value: Any) -> str:
    """``repr(value)`` as it may stand in a message: the end of a long one is left out."""
    return cut(repr(value))


def cut(text: str) -> str:
    """``text`` without the end of a long one, and how long it was."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}... ({len(text)} characters)"
