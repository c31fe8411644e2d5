"""What every solver raises when its solution is not to be trusted."""

from __future__ import annotations


class SolverDiverged(RuntimeError):
    """The solution left the trusted range. Raised on every rank."""


class CourantExceeded(SolverDiverged):
    """A time step is too long for the velocity it meets; shorter ones may do. On every rank."""
