"""YAML <-> dataclasses: scenarios, files, overrides; what is unknown or unfit is named."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from hypemarl.config.checks import ConfigError, check_combinations
from hypemarl.config.schema import Config

SCENARIOS = Path(__file__).parent.parent / "scenarios"


def load(source: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a scenario or a YAML file, with overrides applied last.

    ``source`` is a scenario's name or the path of a YAML file; a file may name its base by
    ``scenario: density-1d`` and then holds differences only. ``overrides`` are like
    ``agent.gamma=0.95``, the value in YAML. Rank-local. Raises :class:`ConfigError`.
    """
    return _with_overrides(_read(source), overrides)


def override(config: Config, overrides: Sequence[str]) -> Config:
    """``config`` with overrides as of :func:`load`. Rank-local. Raises :class:`ConfigError`."""
    return _with_overrides(to_dict(config), overrides)


def _with_overrides(settings: dict[str, Any], overrides: Sequence[str]) -> Config:
    for entry in overrides:
        name, equals, text = entry.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"override {entry!r}: expected key=value, as in agent.gamma=0.95")
        if name.strip() == "scenario":
            raise ConfigError("override 'scenario': a scenario is chosen by its name, not by --set")
        _put(settings, name.strip().split("."), _parse(text, f"override {entry!r}"))
    return from_dict(settings)


def from_dict(settings: Mapping[str, Any]) -> Config:
    """A checked :class:`Config` from nested mappings; what is missing keeps its default."""
    config: Config = _build(Config, settings, "")
    check_combinations(config)
    return config


def to_dict(config: Any) -> dict[str, Any]:
    """Nested dictionaries with lists in place of tuples: what YAML, JSON and checkpoints hold."""
    return {
        name: to_dict(value)
        if dataclasses.is_dataclass(value)
        else (list(value) if isinstance(value, tuple) else value)
        for name, value in ((f.name, getattr(config, f.name)) for f in dataclasses.fields(config))
    }


def to_yaml(config: Config) -> str:
    """The whole configuration as YAML, which :func:`load` reads back to an equal one."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)


def scenarios() -> list[str]:
    """Names of the scenarios that come with the package, sorted."""
    return sorted(path.stem for path in SCENARIOS.glob("*.yaml"))


def scenario_of(source: str) -> str:
    """The scenario made for this ``env.external.source``, or the general one, ``external``."""
    for name in scenarios():
        if _read(name).get("env", {}).get("external", {}).get("source") == source:
            return name
    return "external"


def choices(name: str) -> tuple[str, ...]:
    """What a key such as ``agent.scheme`` may be, for keys that are a choice."""
    hints = {full: hint for full, _, hint in _keys(Config)}
    return typing.get_args(hints[name])


def explain() -> str:
    """Every key with its type, default, range and explanation, one line each."""
    return "\n".join(
        f"{name} = {yaml_value(item.default)}  # {item.metadata['help']} "
        f"[{_spell(hint)}{_range(item)}]"
        for name, item, hint in _keys(Config)
    )


def yaml_value(value: Any) -> str:
    """A value as it may be written after ``key=`` on the command line."""
    listed = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(listed, default_flow_style=True)
    return text.removesuffix("...\n").strip()


def _keys(cls: type, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[item.name]):
            yield from _keys(hints[item.name], f"{prefix}{item.name}.")
        else:
            yield prefix + item.name, item, hints[item.name]


def _read(source: str | Path) -> dict[str, Any]:
    if str(source) in scenarios():
        path = SCENARIOS / f"{source}.yaml"
    else:
        path = Path(source)
        if not path.is_file():
            near = difflib.get_close_matches(str(source), scenarios(), 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ConfigError(
                f"no scenario or file {str(source)!r}{hint} Scenarios: {', '.join(scenarios())}"
            )
    settings = _parse(path.read_text(encoding="utf-8"), str(path)) or {}
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: expected keys and values, got {type(settings).__name__}")
    base = settings.get("scenario")
    if base is None or path.parent == SCENARIOS:
        return settings
    if base not in scenarios():
        raise ConfigError(f"{path}: scenario {base!r} is none of {', '.join(scenarios())}")
    return _merge(_read(base), settings)


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from error


def _merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        old = merged.get(name)
        nested = isinstance(old, dict) and isinstance(value, dict)
        merged[name] = _merge(old, value) if nested and isinstance(old, dict) else value
    return merged


def _put(settings: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        inner = settings.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{'.'.join(path)}: {name} is a single value, it holds no keys")
        settings = inner
    settings[path[-1]] = value


def _build(cls: Any, settings: Any, prefix: str) -> Any:
    if not isinstance(settings, Mapping):
        where = prefix.rstrip(".") or "configuration"
        raise ConfigError(f"{where}: expected keys and values, got {settings!r}")
    items = {item.name: item for item in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in items:
            raise ConfigError(_unknown(prefix, str(name), list(items)))
        if dataclasses.is_dataclass(hints[name]):
            values[name] = _build(hints[name], value, f"{prefix}{name}.")
        else:
            values[name] = _convert(value, hints[name], prefix + name)
            _check_range(values[name], items[name], prefix + name)
    return cls(**values)


def _unknown(prefix: str, name: str, siblings: list[str]) -> str:
    known = [full for full, _, _ in _keys(Config)]
    near = [prefix + close for close in difflib.get_close_matches(name, siblings, 1)]
    near += [full for full in known if full.rsplit(".")[-1] == name]
    near += difflib.get_close_matches(prefix + name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"unknown key {prefix + name!r}{hint} Keys here: {', '.join(siblings)}"


def _convert(value: Any, hint: Any, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{name}: expected one of {', '.join(arguments)}, got {value!r}")
        return value
    if origin is types.UnionType:
        return None if value is None else _convert(value, arguments[0], name)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{name}: expected a list, as in [1, 2], got {value!r}")
        return tuple(_convert(entry, arguments[0], f"{name}[{i}]") for i, entry in enumerate(value))
    if hint is float and not isinstance(value, bool):
        return _convert_float(value, name)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"{name}: expected {_spell(hint)}, got {value!r}")
    return value


def _convert_float(value: Any, name: str) -> float:
    try:  # YAML 1.1 reads 1e-6 as text; it means a number here
        number = float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name}: expected a number, got {value!r}") from None
    if not math.isfinite(number):
        raise ConfigError(f"{name}: expected a finite number, got {value!r}")
    return number


def _spell(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "|".join(arguments)
    if origin is tuple:
        return f"[{_spell(arguments[0])}, ...]"
    if origin is types.UnionType:
        return " or ".join("null" if a is type(None) else _spell(a) for a in arguments)
    return {int: "integer", float: "number", bool: "true|false", str: "text"}[hint]


def _range(item: dataclasses.Field[Any]) -> str:
    limits = [
        f"{sign} {item.metadata[name]:g}"
        for name, sign in (("above", ">"), ("low", ">="), ("high", "<="))
        if item.metadata.get(name) is not None
    ]
    return f" {' and '.join(limits)}" if limits else ""


def _check_range(value: Any, item: dataclasses.Field[Any], name: str) -> None:
    above, low, high = (item.metadata.get(limit) for limit in ("above", "low", "high"))
    for entry in value if isinstance(value, tuple) else (value,):
        if entry is not None and (
            (above is not None and not entry > above)
            or (low is not None and not entry >= low)
            or (high is not None and not entry <= high)
        ):
            raise ConfigError(f"{name}: expected a value{_range(item)}, got {entry!r}")
