"""Keys of earlier versions: where they stand now.

Up to version 0.1 the settings of all systems stood side by side in ``env`` (``env.beta``,
``env.flow.speed_low``), those of all algorithms in ``agent`` (``agent.apg_rate``), and
``training.method`` named the algorithm. They stay as aliases for one version: a file or an override
with an old key is read, and the new key is named. The ``config.yaml`` of an older run holds the
keys of all systems; those of other systems, which nothing read, are left out.
"""

import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from hypemarl.config.errors import ConfigError
from hypemarl.config.registry import ALGORITHMS, SYSTEMS, Registered
from hypemarl.config.schema import EnvConfig

_WHOLE = frozenset({"flow", "shape", "external"})
"""Sections that ``env`` of a whole configuration had, whatever its system."""
USUAL = EnvConfig.system
"""The system where none is named."""


class RenamedKey(FutureWarning):
    """A key is read under its old name, for one version."""


def system_of(settings: Mapping[str, Any], default: str = USUAL) -> str:
    """The system that settings name, or ``default``."""
    env = settings.get("env")
    system = env.get("system", default) if isinstance(env, Mapping) else default
    return system if isinstance(system, str) else default


def migrated(
    settings: Mapping[str, Any], system: str, lines: dict[str, int] | None = None
) -> dict[str, Any]:
    """Settings with every old key under its new name; warns of each. Changes nothing in place.

    Args:
        settings: nested mappings, whole or in part. system: whose they are.
        lines: where keys stand, to which the new names are added.
    """
    result = copy.deepcopy(dict(settings))
    env = result.get("env")
    whole = isinstance(env, dict) and env.keys() >= _WHOLE and "agents" in env
    renamed = list(_renamed(result, system))
    for old, places in renamed:
        value = _take(result, old)
        for new in places:
            put(result, new, value)
            if lines is not None and ".".join(old) in lines:
                lines[".".join(new)] = lines[".".join(old)]
    if whole and isinstance(env, dict):
        _drop_unread(env, system)
    elif renamed:
        changes = [
            f"{'.'.join(old)} is now {' and '.join('.'.join(new) for new in places)}"
            for old, places in renamed
        ]
        text = f"{'; '.join(changes)}; the old names are read for one version"
        warnings.warn(text, RenamedKey, stacklevel=2)
    return result


def _renamed(
    settings: Mapping[str, Any], system: str
) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Old keys that are there, and the places that each has now."""
    known: Iterable[Registered] = [SYSTEMS.get(system)] if system in SYSTEMS else []
    for part, registered in (("env", known), ("agent", ALGORITHMS)):
        aliases: dict[str, list[list[str]]] = {}
        for item in registered:
            for old, new in item.aliases.items():
                aliases.setdefault(f"{part}.{old}", []).append([part, item.name, new])
        for old, places in aliases.items():
            if _has(settings, old.split(".")):
                yield old.split("."), places
    if _has(settings, ["training", "method"]):
        yield ["training", "method"], [["training", "algorithm"]]


def _has(settings: Any, path: list[str]) -> bool:
    for name in path:
        if not isinstance(settings, Mapping) or name not in settings:
            return False
        settings = settings[name]
    return True


def _take(settings: dict[str, Any], path: list[str]) -> Any:
    """Remove a value, and the section that it leaves empty."""
    inner = settings
    for name in path[:-1]:
        inner = inner[name]
    value = inner.pop(path[-1])
    if not inner and len(path) > 2:
        _take(settings, path[:-1])
    return value


def put(settings: dict[str, Any], path: list[str], value: Any) -> None:
    """Set a nested value. Raises :class:`ConfigError` where a single value is in its way."""
    for name in path[:-1]:
        inner = settings.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{'.'.join(path)}: {name} is a single value, it holds no keys")
        settings = inner
    settings[path[-1]] = value


def _drop_unread(env: dict[str, Any], system: str) -> None:
    """Remove the settings of other systems from the ``env`` of a whole configuration."""
    common = {item.name for item in fields(EnvConfig)}
    read = {item.name for item in fields(SYSTEMS.get(system).options)} if system in SYSTEMS else ()
    for name in list(env):
        if name == system:
            env[name] = {key: value for key, value in env[name].items() if key in read}
        elif name not in common:
            del env[name]
