"""From the text of ``env.external.source`` to a PettingZoo ``ParallelEnv``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from pettingzoo import ParallelEnv

from hypemarl.config import ConfigError
from hypemarl.config.schema import ExternalConfig


def open_source(config: ExternalConfig) -> ParallelEnv:
    """The environment that ``config`` names, made anew. Local.

    Raises:
        ConfigError: the source is of no known form, its package is not installed, or what it names
            is no ``ParallelEnv``.
    """
    kind, _, rest = config.source.partition(":")
    if kind not in KINDS or not rest:
        raise ConfigError(
            f"env.external.source: expected one of {', '.join(FORMS)}, got {config.source!r}"
        )
    env = KINDS[kind](rest, config.arguments)
    if not isinstance(env, ParallelEnv):
        raise ConfigError(
            f"{config.source} made a {type(env).__name__}, expected a pettingzoo.ParallelEnv; "
            "name the module's parallel_env, not env"
        )
    return env


def _pettingzoo(rest: str, arguments: dict[str, Any]) -> ParallelEnv:
    """``module:factory``, called with the options."""
    module, _, factory = rest.partition(":")
    make = getattr(_imported(module), factory or "parallel_env", None)
    if make is None:
        raise ConfigError(f"module {module} has no {factory!r} to make an environment with")
    return make(**arguments)


def _vmas(scenario: str, arguments: dict[str, Any]) -> ParallelEnv:
    """A scenario of VMAS, with the options that its ``make_world`` takes."""
    _imported("vmas", "homes")
    from hypemarl.envs.vmas_env import VmasEnv

    return VmasEnv(scenario, **arguments)


def _mamujoco(rest: str, arguments: dict[str, Any]) -> ParallelEnv:
    """``Robot`` (every actuator is an agent), or ``Robot:partition`` of multi-agent MuJoCo."""
    module = _imported("gymnasium_robotics", "homes").mamujoco_v1
    robot, _, partition = rest.partition(":")
    if partition:
        return module.parallel_env(robot, partition, **arguments)
    parts, edges, shared = module.get_parts_and_edges(robot, None)
    joints = sorted((joint for part in parts for joint in part), key=lambda joint: joint.act_ids)
    single = {"partition": [(joint,) for joint in joints], "edges": edges, "globals": shared}
    return module.parallel_env(robot, f"{len(joints)}x1", agent_factorization=single, **arguments)


KINDS: dict[str, Callable[[str, dict[str, Any]], ParallelEnv]] = {
    "pettingzoo": _pettingzoo,
    "vmas": _vmas,
    "mamujoco": _mamujoco,
}
FORMS = ("pettingzoo:MODULE:FACTORY", "vmas:SCENARIO", "mamujoco:ROBOT[:PARTITION]")


def _imported(module: str, extra: str = "") -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        remedy = f"pip install hypemarl[{extra}]" if extra else "install its package"
        raise ConfigError(f"{module} cannot be imported ({error}); {remedy}") from error
