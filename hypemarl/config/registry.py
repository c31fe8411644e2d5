"""Systems, algorithms and sharing schemes by name: who adds one, and where its settings stand.

A configuration holds the settings of a system under its name (``env.<system>.*``), those of an
algorithm under ``agent.<algorithm>.*``. Nothing else in this room knows which there are: they are
registered with their dataclass of options, and imported when they are first asked for.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from hypemarl.config.errors import ConfigError, nearest, quoted

if TYPE_CHECKING:
    from hypemarl.config.schema import Config, EnvConfig


@dataclass(frozen=True, kw_only=True)
class Named:
    """Something that a configuration chooses by its ``name``, also its name in tables."""

    name: str


@dataclass(frozen=True, kw_only=True)
class SchemeSettings(Named):
    """A sharing scheme.

    Attributes:
        has_codes: its networks read the agents' codes, so that ``agent.encoder`` matters.
    """

    has_codes: bool = False


@dataclass(frozen=True, kw_only=True)
class Registered(Named):
    """A system or an algorithm, as far as configurations know it.

    Attributes:
        options: the dataclass of its settings, every field made by
            :func:`hypemarl.config.keys.key`.
        check: raises :class:`ConfigError` where settings cannot work together. Local.
        aliases: keys of earlier versions, relative to ``env`` or ``agent``, and the option that
            each is now.
    """

    options: type
    check: Callable[[Config], None] = lambda config: None
    aliases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SystemSettings(Registered):
    """A system.

    Attributes:
        context: parameters that mu holds by default.
        parameters: all that it may hold; none: the plant knows.
        check_training: as ``check``, of settings that matter to training alone.
        code: digest of code that ``env`` names and that decides what J is; empty where there is
            none. Local.
    """

    context: tuple[str, ...] = ("all",)
    parameters: tuple[str, ...] = ()
    check_training: Callable[[Config], None] = lambda config: None
    code: Callable[[EnvConfig], str] = lambda env: ""


@dataclass(frozen=True, kw_only=True)
class AlgorithmSettings(Registered):
    """An algorithm, whose ``check`` is made when something is trained.

    Attributes:
        needs: "adjoint", "local_model": abilities of the plant that it uses.
    """

    needs: frozenset[str] = frozenset()


class Registry[T: Named]:
    """Objects by name: of this package, of other packages (entry points), or of a user's file.

    Args:
        kind: of what it holds, in messages.
        package: it, or its folders, list their objects in the tuple ``attribute``; entry points
            of other packages are in the group of this name. Imported at first use.
        base: class of the objects.
    """

    def __init__(self, kind: str, package: str, attribute: str, base: type[T]) -> None:
        self.kind, self.package, self.attribute, self.base = kind, package, attribute, base
        self._items: dict[str, T] = {}
        self._installed: dict[str, T] | None = None

    def register(self, item: T) -> None:
        """Add an object; the same one again is no error. Local.

        Raises:
            ConfigError: another one has this name.
        """
        if self._known().get(item.name, item) != item:
            raise ConfigError(f"{self.kind} {quoted(item.name)} is taken: choose another name")
        self._items[item.name] = item

    def take(self, item: object) -> None:
        """Register an object if it is of this registry's class. Local; raises as above."""
        if isinstance(item, self.base):
            self.register(item)

    def names(self) -> list[str]:
        """All names: of the package, installed, registered."""
        return list(self._known())

    def get(self, name: str) -> T:
        """The object of this name. Raises :class:`ConfigError` where there is none."""
        if name not in self:
            raise ConfigError(self.unknown(name))
        return self._known()[name]

    def unknown(self, name: object) -> str:
        """The sentence for a name that nothing here has."""
        names = self.names()
        hint = nearest(str(name), names, ".")
        known = f"Known: {', '.join(names)}; name your code by --use"
        return f"no {self.kind} {quoted(name)}{hint} {known}"

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._known()

    def __iter__(self) -> Iterator[T]:
        return iter(self._known().values())

    def _known(self) -> dict[str, T]:
        if self._installed is None:
            package = importlib.import_module(self.package)
            inside = pkgutil.iter_modules(getattr(package, "__path__", ()))
            folders = [f"{self.package}.{m.name}" for m in inside if m.ispkg]
            modules = [package, *map(importlib.import_module, folders)]
            items = [item for module in modules for item in getattr(module, self.attribute, ())]
            items += [entry.load() for entry in entry_points(group=self.package)]
            self._installed = {item.name: item for item in items}
        return self._installed | self._items


SYSTEMS = Registry("system", "hypemarl.systems", "SYSTEMS", SystemSettings)
ALGORITHMS = Registry("algorithm", "hypemarl.algorithms", "ALGORITHMS", AlgorithmSettings)
SCHEMES = Registry("scheme", "hypemarl.agents.schemes", "SCHEMES", SchemeSettings)
