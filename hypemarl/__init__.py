"""HypeMARL: many local agents control a parametric PDE, their policies made by one hypernetwork.

All that a user's own system needs is here, imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from hypemarl import startup

if TYPE_CHECKING:
    from hypemarl.config import options_of as options_of
    from hypemarl.config.keys import key as key
    from hypemarl.coupling.neighbourhood import Neighbourhood as Neighbourhood
    from hypemarl.coupling.plant import Plant as Plant
    from hypemarl.coupling.plant import StepCosts as StepCosts
    from hypemarl.envs import make as make
    from hypemarl.systems.registry import System as System
    from hypemarl.systems.registry import register_system as register_system

__version__ = "0.1.0"

_PLACES = {
    "Neighbourhood": "hypemarl.coupling.neighbourhood",
    "Plant": "hypemarl.coupling.plant",
    "StepCosts": "hypemarl.coupling.plant",
    "System": "hypemarl.systems.registry",
    "key": "hypemarl.config.keys",
    "make": "hypemarl.envs",
    "options_of": "hypemarl.config",
    "register_system": "hypemarl.systems.registry",
}

startup.prepare()


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module 'hypemarl' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
