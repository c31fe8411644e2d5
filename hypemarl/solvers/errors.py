"""Errors of solvers: numbers that make no sense, solutions that are not to be trusted."""

import math


class SolverDiverged(RuntimeError):
    """The solution left the trusted range. Raised on every rank."""


class TimeStepTooLong(SolverDiverged):
    """The time step is too long for the flow; shorter ones may do. Raised on every rank."""


def require_positive(name: str, value: float, reason: str = "") -> None:
    """Refuse a number that is not positive and finite, by a ValueError with the ``reason``."""
    if not (math.isfinite(value) and value > 0):
        why = f" ({reason})" if reason else ""
        raise ValueError(f"{name}: expected a positive finite number{why}, got {value!r}")
