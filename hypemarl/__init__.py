"""HypeMARL: many local agents control a parametric PDE, their policies made by one hypernetwork.

Public names are imported when they are first asked for: torch and dolfinx are heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from hypemarl import startup

if TYPE_CHECKING:
    from hypemarl.agents.policy_file import load_policy
    from hypemarl.agents.schemes import Scheme, register_scheme
    from hypemarl.config.keys import key
    from hypemarl.envs import make
    from hypemarl.training.learner import Algorithm, Learner, register_algorithm

__all__ = [
    "Algorithm",
    "Learner",
    "Scheme",
    "key",
    "load_policy",
    "make",
    "register_algorithm",
    "register_scheme",
]
__version__ = "0.1.0"

_MODULES = {
    "Algorithm": "hypemarl.training.learner",
    "Learner": "hypemarl.training.learner",
    "Scheme": "hypemarl.agents.schemes",
    "key": "hypemarl.config.keys",
    "load_policy": "hypemarl.agents.policy_file",
    "make": "hypemarl.envs",
    "register_algorithm": "hypemarl.training.learner",
    "register_scheme": "hypemarl.agents.schemes",
}
"""The module of each public name."""

startup.prepare()


def __getattr__(name: str) -> object:
    """A public name. Raises AttributeError where there is none."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
