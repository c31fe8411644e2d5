"""Ends of the ranges that an episode's parameters are drawn from."""

from __future__ import annotations

from collections.abc import Iterator

from hypemarl.config.schema import FlowConfig


def misordered(flow: FlowConfig, *names: str) -> Iterator[tuple[bool, str]]:
    """Whether ``<name>_low`` exceeds ``<name>_high``, and what to say then, for each name."""
    for name in names:
        low, high = (getattr(flow, f"{name}_{end}") for end in ("low", "high"))
        yield low > high, f"env.flow.{name}_low ({low:g}) exceeds {name}_high ({high:g})"
