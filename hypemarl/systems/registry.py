"""Controlled systems: what one is made of, and how others are added.

Those of the package are the folders beside this file, each of which names its own in ``SYSTEMS``.
Looking one up imports no solver.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypemarl.config.registry import SYSTEMS, SystemSettings
from hypemarl.mpi import Comm

if TYPE_CHECKING:
    from hypemarl.config import EnvConfig
    from hypemarl.coupling.validation import Examine


@dataclass(frozen=True, kw_only=True)
class System(SystemSettings):
    """A controlled system, chosen by ``env.system``. Its functions import what they need.

    Attributes:
        make: the :class:`~hypemarl.coupling.plant.Plant` of a configuration on a communicator, or
            an :class:`~hypemarl.envs.ArrayEnv` where there is no plant. Collective.
        examine: checks of a mesh (see :mod:`hypemarl.coupling.validation`), None without a mesh.
    """

    make: Callable[[EnvConfig, Comm], object]
    examine: Examine | None = None


def register_system(system: System) -> System:
    """Make a system known as ``env.system=<name>``; returns it. Local: on every rank.

    Raises ConfigError: another one has this name.
    """
    SYSTEMS.register(system)
    return system


def system_of(env: EnvConfig) -> System:
    """The system of a configuration. Local.

    Raises ConfigError: it is unknown; names the known ones.
    """
    system = SYSTEMS.get(env.system)
    assert isinstance(system, System)
    return system


def deferred(place: str) -> Callable[..., Any]:
    """The function at ``module:name``, which is imported when it is first called."""
    return lambda *args, **options: pkgutil.resolve_name(place)(*args, **options)
