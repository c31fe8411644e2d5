"""What every solver raises when its solution is not to be trusted."""

from __future__ import annotations


class SolverDiverged(RuntimeError):
    """The solution left the trusted range. Raised on every rank."""
