"""Problems by name: PDEs that are written in UFL, of the package and of a user's files.

A problem is a class, see :class:`hypemarl.Problem`. Its module is imported when it is asked for.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hypemarl.config.errors import ConfigError
from hypemarl.config.registry import Named, Registry

SYSTEM = "problem"
"""Name of the system that problems are."""


class ProblemError(ValueError):
    """A problem's class does not fit what is asked of it. Raised on every rank."""


class ProblemClass:
    """Base of :class:`hypemarl.Problem`, as far as configurations know it."""

    #: in configurations and tables; by default the class's own name in kebab-case
    name: ClassVar[str] = ""

    def __init_subclass__(cls, **options: Any) -> None:
        """Name the class."""
        super().__init_subclass__(**options)
        if "name" not in vars(cls):
            parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", cls.__name__)
            cls.name = parts.lower()

    @classmethod
    def scenario(cls) -> dict[str, Any]:
        """The settings that a run of this problem starts from, nested."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ProblemEntry(Named):
    """A problem in the registry.

    Attributes:
        load: gives its class. description: one line.
    """

    load: Callable[[], type[ProblemClass]] = field(compare=False)
    description: str = ""


def entry_of(cls: type[ProblemClass]) -> ProblemEntry:
    """The registry's entry of a class."""
    text = next(iter((cls.__doc__ or "").strip().splitlines()), "")
    return ProblemEntry(name=cls.name, load=lambda: cls, description=text)


def shipped(name: str, place: str, description: str) -> ProblemEntry:
    """The entry of a problem of the package, whose module:class is imported when it is used."""
    return ProblemEntry(name=name, load=lambda: _resolved(place), description=description)


def _resolved(place: str) -> type[ProblemClass]:
    cls = pkgutil.resolve_name(place)
    assert isinstance(cls, type)
    assert issubclass(cls, ProblemClass)
    return cls


PROBLEMS = Registry("problem", "hypemarl.systems.problem", "PROBLEMS", ProblemEntry)


def problem_of(name: str) -> type[ProblemClass]:
    """The class of a problem. Raises ConfigError: there is none of this name."""
    return PROBLEMS.get(name).load()


def settings_of(name: str) -> dict[str, Any]:
    """The settings of a problem as those of a scenario."""
    entry = PROBLEMS.get(name)
    settings = entry.load().scenario()
    return {"scenario": name, "description": entry.description, **settings}


def classes_in(module: object) -> Mapping[str, type[ProblemClass]]:
    """The problems that a module itself defines, by the names of their classes."""
    return {
        key: item
        for key, item in vars(module).items()
        if isinstance(item, type)
        and issubclass(item, ProblemClass)
        and item.__module__ == getattr(module, "__name__", None)
        and not key.startswith("_")
    }


def only(code: str, items: Iterable[object]) -> str:
    """The name of the one problem of a user's code. Raises ConfigError: not one."""
    names = [item.name for item in items if isinstance(item, ProblemEntry)]
    if len(names) == 1:
        return names[0]
    raise ConfigError(
        f"{code}: expected one problem (a subclass of hypemarl.Problem), got "
        f"{', '.join(names) or 'none'}; name one as FILE.py:CLASS"
    )
