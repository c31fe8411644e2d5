"""Checks of what a problem's class states beside its forms."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

from hypemarl.config.problems import ProblemError

if TYPE_CHECKING:
    from hypemarl.systems.problem.problem import Problem


BASE = "hypemarl.systems.problem.problem"
ALIKE = 0.85  # of two names, from where on one is taken for a misspelling of the other


def require_sound(problem: Problem) -> None:
    """Refuse attributes that no episode can be run with. Local.

    Raises:
        ProblemError: names the first one, with the file of the class.
    """
    fault = next(_faults(problem), None)
    if fault is not None:
        cls = type(problem)
        raise ProblemError(f"{inspect.getfile(cls)} ({cls.__name__}): {fault}")


def _faults(problem: Problem) -> Iterator[str]:
    yield from _member_faults(type(problem))
    for name in ("control_steps", "substeps", "components", "states"):
        if not _whole(value := getattr(problem, name)):
            yield f"{name}: expected a whole number of 1 or more, got {value!r}"
    if not (_number(problem.horizon) and problem.horizon > 0):
        yield f"horizon: expected a positive number, got {problem.horizon!r}"
    if not (_number(problem.spin_up) and problem.spin_up >= 0):
        yield f"spin_up: expected a length of time, 0 or more, got {problem.spin_up!r}"
    if problem.quadrature not in ("end", "trapezoid"):
        yield f"quadrature: expected end or trapezoid, got {problem.quadrature!r}"
    if not _ordered(problem.bounds) or problem.bounds[0] == problem.bounds[1]:
        yield f"bounds: expected (low, high) of every amplitude, got {problem.bounds!r}"
    if not isinstance(problem.periodic, tuple | list):
        yield f"periodic: expected axes, as (0,) for the first one, got {problem.periodic!r}"
    if not isinstance(problem.solver, Mapping):
        yield f"solver: expected PETSc options, as {{'ksp_type': 'cg'}}, got {problem.solver!r}"
    yield from _parameter_faults(problem)


def _member_faults(cls: type[Problem]) -> Iterator[str]:
    """Missing members, and names that look like a misspelt member."""
    base = next(c for c in cls.__mro__ if c.__module__ == BASE and c.__name__ == "Problem")
    known = [name for name in dir(base) if not name.startswith("_")]
    unstated = [name for name in known if getattr(cls, name, None) is getattr(base, name, None)]
    own = [name for c in cls.__mro__[: cls.__mro__.index(base)] for name in vars(c)]
    for name in own:
        close = [] if name in known else get_close_matches(name, unstated, 1, ALIKE)
        if close:
            yield f"{name} is no member of a problem; did you mean {close[0]}? Else rename it"
    for name in ("mesh", "residual", "cost"):
        if name in unstated:
            yield f"the method {name} is missing"


def _parameter_faults(problem: Problem) -> Iterator[str]:
    if not isinstance(problem.parameters, Mapping):
        yield f"parameters: expected {{name: (low, high)}}, got {problem.parameters!r}"
        return
    for name, limits in problem.parameters.items():
        if not str(name).isidentifier() or iskeyword(name) or name == "state":
            yield f"parameters: {name!r} cannot be the name of a parameter"
        if not _ordered(limits):
            yield f"parameters: expected {name} in (low, high), got {limits!r}"
    noise = problem.noise
    if isinstance(noise, str) and noise not in problem.parameters:
        known = ", ".join(problem.parameters) or "none"
        yield f"noise: expected a number or the name of a parameter ({known}), got {noise!r}"
    if not isinstance(noise, str) and not (_number(noise) and noise >= 0):
        yield f"noise: expected a standard deviation, 0 or more, got {noise!r}"


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _ordered(pair: Any) -> bool:
    sized = isinstance(pair, tuple | list) and len(pair) == 2
    return sized and all(map(_number, pair)) and pair[0] <= pair[1]
