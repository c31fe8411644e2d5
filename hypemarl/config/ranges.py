"""Ends of the ranges that an episode's parameters are drawn from, and steps that must divide."""

from __future__ import annotations

from collections.abc import Iterator

from hypemarl.config.errors import ConfigError


def refuse(*faults: tuple[bool, str]) -> None:
    """Raise :class:`ConfigError` with the first message whose condition holds."""
    for fails, message in faults:
        if fails:
            raise ConfigError(message)


def misordered(options: object, prefix: str, *names: str) -> Iterator[tuple[bool, str]]:
    """Whether ``<name>_low`` exceeds ``<name>_high``, and what to say then, for each name."""
    for name in names:
        low, high = (getattr(options, f"{name}_{end}") for end in ("low", "high"))
        yield low > high, f"{prefix}.{name}_low ({low:g}) exceeds {name}_high ({high:g})"
