"""Systems and algorithms by name: who adds one, and where its settings stand.

A configuration holds the settings of a system under its name (``env.<system>.*``), those of an
algorithm under ``agent.<algorithm>.*``. Nothing else in this room knows which there are: they are
registered with their dataclass of options, and imported when they are first asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from hypemarl.config.errors import ConfigError, nearest, shown

if TYPE_CHECKING:
    from hypemarl.config.schema import Config


def _unchecked(config: Config) -> None:
    del config


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A system or an algorithm, as far as configurations know it.

    Attributes:
        name: what configurations and tables call it.
        options: the dataclass of its settings, every field made by
            :func:`hypemarl.config.keys.key`.
        check: raises :class:`ConfigError` where settings cannot work together. Local.
        aliases: keys of earlier versions, relative to ``env`` or ``agent``, and the option that
            each is now.
        context: of a system: parameters that mu holds where nothing else is said.
        needs: of an algorithm: "adjoint", "local_model", what it asks of the plant.
        reads: of an algorithm: others whose settings it reads as well.
        ignores: of an algorithm: common keys that it does not read, which a resume may change.
        check_training: of a system: as ``check``, of settings that only training minds.
    """

    name: str
    options: type
    check: Callable[[Config], None] = _unchecked
    aliases: Mapping[str, str] = field(default_factory=dict)
    context: tuple[str, ...] = ("all",)
    needs: frozenset[str] = frozenset()
    reads: tuple[str, ...] = ()
    ignores: frozenset[str] = frozenset()
    check_training: Callable[[Config], None] = _unchecked


class Registry[T: Registered]:
    """Objects by name: of this package, of other packages (entry points), or of a user's file.

    Args:
        kind: of what it holds, in messages.
        group: of the entry points that other packages declare.
        builtins: ``module:NAME`` by name, imported when asked for.
    """

    def __init__(self, kind: str, group: str, builtins: Mapping[str, str]) -> None:
        self.kind, self.group = kind, group
        self._builtins = dict(builtins)
        self._items: dict[str, T] = {}
        self._installed: dict[str, str] | None = None

    def register(self, item: T) -> None:
        """Add an object; one of the same name that was registered before is replaced. Local.

        Raises:
            ConfigError: the package or an installed one has the name already.
        """
        if item.name in self._places():
            raise ConfigError(f"{self.kind} {shown(item.name)} is taken: choose another name")
        self._items[item.name] = item

    def names(self) -> list[str]:
        """All names: of the package, installed, registered."""
        return list(dict.fromkeys((*self._places(), *self._items)))

    def get(self, name: str) -> T:
        """The object of this name. Raises :class:`ConfigError` where there is none."""
        if name not in self._items:
            place = self._places().get(name) if isinstance(name, str) else None
            if place is None:
                raise ConfigError(self.unknown(name))
            module, _, attribute = place.partition(":")
            self._items[name] = getattr(importlib.import_module(module), attribute)
        return self._items[name]

    def unknown(self, name: object) -> str:
        """The sentence for a name that nothing here has."""
        names = self.names()
        hint = nearest(str(name), names, ".")
        return f"no {self.kind} {shown(name)}{hint} There are: {', '.join(names)}"

    def __contains__(self, name: object) -> bool:
        return name in self._items or name in self._places()

    def __iter__(self) -> Iterator[T]:
        return map(self.get, self.names())

    def _places(self) -> dict[str, str]:
        if self._installed is None:
            self._installed = {e.name: e.value for e in entry_points(group=self.group)}
        return self._builtins | self._installed


SYSTEMS: Registry[Registered] = Registry(
    "system",
    "hypemarl.systems",
    {
        "density": "hypemarl.systems.density.options:DENSITY",
        "density-fluid": "hypemarl.systems.density.options:IN_FLUID",
        "flow": "hypemarl.systems.flow.options:FLOW",
        "shape": "hypemarl.systems.shape.options:SHAPE",
        "external": "hypemarl.config.external:EXTERNAL",
    },
)
ALGORITHMS: Registry[Registered] = Registry(
    "algorithm",
    "hypemarl.algorithms",
    {
        "td3": "hypemarl.algorithms.td3.options:TD3",
        "apg": "hypemarl.algorithms.apg.options:APG",
        "imitate": "hypemarl.algorithms.imitation.options:IMITATE",
        "irl": "hypemarl.algorithms.imitation.options:IRL",
        "mbpg": "hypemarl.algorithms.model_based.options:MBPG",
        "dyna": "hypemarl.algorithms.model_based.options:DYNA",
    },
)
