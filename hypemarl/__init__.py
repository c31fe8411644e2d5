"""HypeMARL: many local agents control a parametric PDE, their policies made by one hypernetwork.

Public names are imported when they are first asked for: torch and dolfinx are heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from hypemarl import startup

if TYPE_CHECKING:
    from hypemarl.agents.policy_file import load_policy
    from hypemarl.agents.schemes import Scheme, register_scheme
    from hypemarl.config import options_of
    from hypemarl.config.keys import key
    from hypemarl.coupling.neighbourhood import Neighbourhood
    from hypemarl.coupling.plant import Plant, StepCosts
    from hypemarl.envs import make
    from hypemarl.systems.problem.actuators import Actuators, Bumps, Fields, Hats, Patches
    from hypemarl.systems.problem.agents import Grid, Parts, Points
    from hypemarl.systems.problem.problem import Dirichlet, Problem
    from hypemarl.systems.problem.sensors import PointValue
    from hypemarl.systems.registry import System, register_system
    from hypemarl.training.learner import Algorithm, Learner, register_algorithm

__all__ = [
    "Actuators",
    "Algorithm",
    "Bumps",
    "Dirichlet",
    "Fields",
    "Grid",
    "Hats",
    "Learner",
    "Neighbourhood",
    "Parts",
    "Patches",
    "Plant",
    "PointValue",
    "Points",
    "Problem",
    "Scheme",
    "StepCosts",
    "System",
    "key",
    "load_policy",
    "make",
    "options_of",
    "register_algorithm",
    "register_scheme",
    "register_system",
]
__version__ = "0.1.0"

_MODULES = {
    "Actuators": "hypemarl.systems.problem.actuators",
    "Algorithm": "hypemarl.training.learner",
    "Bumps": "hypemarl.systems.problem.actuators",
    "Dirichlet": "hypemarl.systems.problem.problem",
    "Fields": "hypemarl.systems.problem.actuators",
    "Grid": "hypemarl.systems.problem.agents",
    "Hats": "hypemarl.systems.problem.actuators",
    "Learner": "hypemarl.training.learner",
    "Neighbourhood": "hypemarl.coupling.neighbourhood",
    "Parts": "hypemarl.systems.problem.agents",
    "Patches": "hypemarl.systems.problem.actuators",
    "Plant": "hypemarl.coupling.plant",
    "PointValue": "hypemarl.systems.problem.sensors",
    "Points": "hypemarl.systems.problem.agents",
    "Problem": "hypemarl.systems.problem.problem",
    "Scheme": "hypemarl.agents.schemes",
    "StepCosts": "hypemarl.coupling.plant",
    "System": "hypemarl.systems.registry",
    "key": "hypemarl.config.keys",
    "load_policy": "hypemarl.agents.policy_file",
    "make": "hypemarl.envs",
    "options_of": "hypemarl.config",
    "register_algorithm": "hypemarl.training.learner",
    "register_scheme": "hypemarl.agents.schemes",
    "register_system": "hypemarl.systems.registry",
}
"""The module of each public name."""

startup.prepare()


def __getattr__(name: str) -> object:
    """A public name. Raises AttributeError where there is none."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
