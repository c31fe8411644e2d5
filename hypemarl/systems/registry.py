"""Controlled systems by name: the ones of this package, registered ones, entry points, files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpi4py import MPI

    from hypemarl.config import Config, EnvConfig
    from hypemarl.coupling.validation import Examine

GROUP = "hypemarl.systems"
"""Entry points of other packages' systems."""


@dataclass(frozen=True)
class NoOptions:
    """Options of a system that has none of its own."""


@dataclass(frozen=True)
class System:
    """A controlled system. Making one imports nothing heavy: ``make`` imports what it needs.

    Attributes:
        name: what ``env.system`` calls it.
        make: the plant of a configuration on a communicator, or an environment with the array
            calls of :class:`~hypemarl.envs.PDEEnv` where there is no plant. Collective.
        options: dataclass of its own settings.
        check: raises ConfigError for settings that cannot work together.
        examine: checks of a mesh (see :mod:`hypemarl.coupling.validation`), None without a mesh.
    """

    name: str
    make: Callable[[EnvConfig, MPI.Intracomm], object]
    options: type = NoOptions
    check: Callable[[Config], None] = lambda config: None
    examine: Examine | None = None


_BUILTIN = {
    "density": "hypemarl.systems.density.system:DENSITY",
    "density-fluid": "hypemarl.systems.density.system:DENSITY_FLUID",
    "flow": "hypemarl.systems.flow.system:FLOW",
    "shape": "hypemarl.systems.shape.system:SHAPE",
    "external": "hypemarl.envs.external.system:EXTERNAL",
}
"""Where the systems of this package are; looked up only when asked for."""


def system(name: str) -> System:
    """The system of this name. Local."""
    module, _, attribute = _BUILTIN[name].partition(":")
    found: System = getattr(import_module(module), attribute)
    return found
