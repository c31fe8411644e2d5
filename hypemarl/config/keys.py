"""Declaration of a setting: a dataclass field with its default, explanation and limits."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from hypemarl.config.registry import Registry

LinearSolver = Literal["auto", "lu", "redundant", "mumps", "iterative"]
Displacement = Literal[
    "radial-bspline", "radial-fourier", "normal-bspline", "normal-fourier", "free-form"
]
"""Displacement of an outline by an agent's amplitude."""


def key(
    default: Any,
    explanation: str,
    *,
    above: float | None = None,
    low: float | None = None,
    high: float | None = None,
    names: Registry[Any] | None = None,
) -> Any:
    """A dataclass field with its explanation, which ``hypemarl list --keys`` prints.

    Values (every entry, of a tuple) must be ``> above``, ``>= low`` and ``<= high``, or one of the
    ``names`` of a registry.
    """
    return field(
        default=default,
        metadata={"help": explanation, "above": above, "low": low, "high": high, "names": names},
    )


def sections(registry: Registry[Any], selector: str = "") -> Any:
    """A field that holds registered options, in YAML a section under the name of each.

    With a ``selector``, a sibling key, it holds the options of the one that this names and others
    are refused; without, a mapping of all.
    """
    metadata = {"registry": registry, "selector": selector}
    if selector:
        return field(default=None, metadata=metadata)
    return field(default_factory=dict, metadata=metadata)
