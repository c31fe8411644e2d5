"""Values of options: numbers within their range, and seeds."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping

from hypemarl.config import ConfigError


def integer(low: int = 1) -> Callable[[str], int]:
    """A type for the parser: an integer of ``low`` or more; others are refused with the range."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(f"expected an integer of {low} or more, got {text!r}")
        return value

    return convert


def number(above: float = -math.inf) -> Callable[[str], float]:
    """A type for the parser: a finite number, larger than ``above``."""
    limit = f" above {above:g}" if math.isfinite(above) else ""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > above):
            raise argparse.ArgumentTypeError(f"expected a finite number{limit}, got {text!r}")
        return value

    return convert


def named_seeds(given: argparse.Namespace) -> list[int] | None:
    """``--seeds``, where they are there: each of them once, and no other seed beside them.

    Raises:
        ConfigError: a seed is repeated, or ``--set seed=...`` stands beside ``--seeds``.
    """
    seeds: list[int] | None = given.seeds
    listed = seeds or []
    repeated = [seed for seed in listed if listed.count(seed) > 1]
    if repeated:
        raise ConfigError(
            f"--seeds {' '.join(map(str, listed))}: expected each seed once; {repeated[0]} is "
            f"there {listed.count(repeated[0])} times"
        )
    if seeds is not None:
        require_once(given, {"seed": "seeds"})
    return seeds


def require_once(given: argparse.Namespace, options: Mapping[str, str]) -> None:
    """Refuse ``--set KEY=...`` beside an option (key to option) that sets the same."""
    for entry in getattr(given, "set", []):
        key = entry.partition("=")[0].strip()
        if key in options:
            raise ConfigError(
                f"--{options[key]} and --set {key}=... exclude each other; leave out --set {key}"
            )
