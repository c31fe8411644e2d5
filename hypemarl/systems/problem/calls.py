"""Calls of a problem's methods by the names of their arguments; errors name the user's lines."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hypemarl.config.errors import nearest
from hypemarl.config.problems import ProblemError
from hypemarl.coupling.layout import LayoutError
from hypemarl.meshing import MeshError


def place(method: Callable[..., Any]) -> str:
    """File, line and name of a method, for messages."""
    code = getattr(method, "__code__", None)
    name = getattr(method, "__qualname__", str(method))
    return name if code is None else f"{code.co_filename}:{code.co_firstlineno} ({name})"


def refuse(method: Callable[..., Any], fault: str) -> ProblemError:
    """The error of a method's result."""
    return ProblemError(f"{place(method)}: {fault}")


def where(problem: object, name: str) -> str:
    """File and name of a class's member, with the line of a method, for messages."""
    stated, cls = getattr(problem, name), type(problem)
    if callable(stated):
        return place(stated)
    try:
        return f"{inspect.getfile(cls)} ({cls.__name__}.{name})"
    except (TypeError, OSError):  # typed into a session, so that it has no file
        return f"{cls.__name__}.{name}"


@contextmanager
def member(problem: object, name: str) -> Iterator[None]:
    """Let errors of places and parts inside the block name the class's member ``name``. Local."""
    try:
        yield
    except (LayoutError, MeshError) as error:
        raise type(error)(f"{where(problem, name)}: {error}") from error


def call(method: Callable[..., Any], available: Mapping[str, Any]) -> Any:
    """Call a method with those of the ``available`` arguments that it names. Local.

    Raises:
        ProblemError: it names another one, or fails; says in which line.
    """
    names = [
        name
        for name, item in inspect.signature(method).parameters.items()
        if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)
    ]
    unknown = [name for name in names if name not in available]
    if unknown:
        raise refuse(
            method,
            f"unknown argument {unknown[0]!r}{nearest(unknown[0], available, ';')} arguments here: "
            f"{', '.join(available)}",
        )
    try:
        return method(**{name: available[name] for name in names})
    except ProblemError:
        raise
    except Exception as error:
        file = inspect.getsourcefile(method)
        stack = traceback.extract_tb(error.__traceback__)
        frames = [frame for frame in stack if frame.filename == file]
        line = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else place(method)
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ProblemError(f"{line} ({method.__qualname__}): {reason}") from error


class Parameters:
    """mu: the parameters by name, UFL constants in forms and numbers elsewhere."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        vars(self).update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"mu has no {name!r}{nearest(name, vars(self), ';')} it has "
            f"{', '.join(vars(self)) or 'no parameters (Problem.parameters)'}"
        )
