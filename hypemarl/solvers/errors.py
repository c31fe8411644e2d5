"""Errors of solvers whose solution is not to be trusted."""


class SolverDiverged(RuntimeError):
    """The solution left the trusted range. Raised on every rank."""


class TimeStepTooLong(SolverDiverged):
    """The time step is too long for the flow; shorter ones may do. Raised on every rank."""
