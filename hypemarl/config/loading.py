"""YAML <-> dataclasses: scenarios, files, overrides; messages name unknown and unfit settings."""

import dataclasses
import difflib
import math
import operator
import os
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from hypemarl.config.checks import check_combinations
from hypemarl.config.errors import LONGEST_NAME, ConfigError, nearest, quoted
from hypemarl.config.external import NAME as EXTERNAL
from hypemarl.config.external import source_in
from hypemarl.config.migration import USUAL, migrated, put, system_of
from hypemarl.config.problems import PROBLEMS, only, settings_of
from hypemarl.config.schema import Config
from hypemarl.config.user_code import remedy, use
from hypemarl.config.yaml_text import Document, read_file, read_text

LARGEST_INTEGER = 2**63 - 1  # of NumPy and torch
SCENARIOS = Path(__file__).parent.parent / "scenarios"


def load(source: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a scenario, a YAML file or a problem, with overrides applied last.

    ``source`` is a scenario's name, the path of a YAML file, or the code of a user's problem,
    ``FILE.py:CLASS`` or ``MODULE:CLASS``, which is imported; a YAML file may name its base by
    ``scenario: density-1d`` and then holds differences only. ``overrides`` are like
    ``agent.gamma=0.95``, the value in YAML. Rank-local. Raises :class:`ConfigError`.
    """
    path, (settings, lines) = _read(source)
    settings, overridden = _overridden(settings, overrides)
    return _located(settings, path, lines, overridden)


def override(config: Config, overrides: Sequence[str]) -> Config:
    """``config`` with overrides as of :func:`load`. Rank-local. Raises :class:`ConfigError`."""
    return from_dict(_overridden(to_dict(config), overrides)[0])


def _overridden(
    settings: dict[str, Any], overrides: Sequence[str]
) -> tuple[dict[str, Any], set[str]]:
    """Settings with overrides on top, and the keys of these. Raises :class:`ConfigError`."""
    changes: dict[str, Any] = {}
    for entry in overrides:
        name, equals, text = entry.partition("=")
        where = f"override {quoted(entry)}"
        if not equals or not name.strip():
            raise ConfigError(f"{where}: expected key=value, as in agent.gamma=0.95")
        if name.strip() == "scenario":
            raise ConfigError("override 'scenario': a scenario is chosen by its name, not by --set")
        put(changes, name.strip().split("."), read_text(text, where).content)
    changes = migrated(changes, system_of(changes, system_of(settings)))
    return _merge(settings, changes), set(_paths(changes))


def _paths(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in settings.items():
        yield f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{name}.")


def load_file(path: str | Path) -> Config:
    """The configuration in a file that holds all of it, as a run's ``config.yaml``. Rank-local.

    Raises:
        ConfigError: names the file, the line where there is one, and what is wrong there.
    """
    path = Path(path)
    settings, lines = read_file(path)
    return _located(migrated(settings, system_of(settings), lines), path, lines)


def from_dict(settings: Mapping[str, Any]) -> Config:
    """A checked :class:`Config` from nested mappings; keys that are absent keep their defaults."""
    config: Config = _build(Config, settings, "")
    check_combinations(config)
    return config


def to_dict(config: Any) -> dict[str, Any]:
    """Nested dictionaries with lists in place of tuples: what YAML, JSON and checkpoints hold."""
    settings: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if "registry" in item.metadata:
            selector = item.metadata["selector"]
            named = {getattr(config, selector): value} if selector else value
            settings |= {name: to_dict(options) for name, options in named.items()}
        elif dataclasses.is_dataclass(value):
            settings[item.name] = to_dict(value)
        else:
            settings[item.name] = _listed(value)
    return settings


def _listed(value: Any) -> Any:
    return [_listed(entry) for entry in value] if isinstance(value, tuple) else value


def to_yaml(config: Config) -> str:
    """The whole configuration as YAML, which :func:`load` reads back to an equal one."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)


def scenarios() -> list[str]:
    """Names of the scenarios that come with the package, sorted."""
    return sorted(path.stem for path in SCENARIOS.glob("*.yaml"))


def scenario_of(source: str) -> str:
    """The scenario made for this ``env.external.source``, or the general one, ``external``."""
    for name in scenarios():
        if source_in(_read(name)[1].content) == source:
            return name
    return EXTERNAL


def choices(name: str) -> tuple[str, ...]:
    """Values of a key that is a choice, such as ``agent.scheme``."""
    item, hint = next((item, hint) for full, item, hint in _keys(Config) if full == name)
    names = item.metadata.get("names")
    return typing.get_args(hint) if names is None else tuple(names.names())


def explain() -> str:
    """Every key with its type, default, range and explanation, one line each."""
    return "\n".join(
        f"{name} = {yaml_value(item.default)}  # {item.metadata['help']} "
        f"[{_spell(hint)}{_range(item)}]"
        for name, item, hint in _keys(Config)
    )


def yaml_value(value: Any) -> str:
    """A value as it may be written after ``key=`` on the command line."""
    text = yaml.safe_dump(_listed(value), default_flow_style=True)
    return text.removesuffix("...\n").strip()


def _keys(cls: type, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        if (registry := item.metadata.get("registry")) is not None:
            for entry in registry:
                yield from _keys(entry.options, f"{prefix}{entry.name}.")
        elif dataclasses.is_dataclass(hints[item.name]):
            yield from _keys(hints[item.name], f"{prefix}{item.name}.")
        else:
            yield prefix + item.name, item, hints[item.name]


def is_code(source: str) -> bool:
    """Whether a word names a user's code: ``FILE.py``, ``FILE.py:NAME`` or ``MODULE:NAME``."""
    place, colon, name = source.rpartition(":")
    dotted = all(part.isidentifier() for part in place.split("."))
    code = source.endswith(".py") or place.endswith(".py") or (bool(colon) and dotted)
    return code and (source.endswith(".py") or name.isidentifier())


def _read(source: str | Path) -> tuple[Path, Document]:
    """The file of a scenario or of the user, its settings on top of their base, and its lines."""
    name = str(source)
    if is_code(name):
        name = only(name, use(name))
    if name in scenarios():
        path = SCENARIOS / f"{name}.yaml"
    elif name in PROBLEMS:
        return Path(name), Document(settings_of(name), {})
    else:
        path = Path(source)
        if not os.path.isfile(path):  # False of an unfit name, where Path.is_file raises
            hint = nearest(name, (*scenarios(), *PROBLEMS.names()), ".")
            raise ConfigError(
                f"no scenario or file {quoted(name)}{hint} Scenarios: {', '.join(scenarios())}; "
                "`hypemarl list` names problems too, one of your own is FILE.py:CLASS"
            )
    settings, lines = read_file(path)
    start, base = dict[str, Any](), settings.get("scenario")
    if base is not None and path.parent != SCENARIOS:
        if base not in scenarios() and base not in PROBLEMS:
            raise ConfigError(
                f"{path}:{lines['scenario']}: scenario {quoted(base)} is none of "
                f"{', '.join((*scenarios(), *PROBLEMS.names()))}"
            )
        start = _read(base)[1].content
    settings = migrated(settings, system_of(settings, system_of(start)), lines)
    return path, Document(_merge(start, settings), lines)


def _located(
    settings: dict[str, Any], path: Path, lines: Mapping[str, int], overridden: Collection[str] = ()
) -> Config:
    """The configuration; an error about a key of the file names its line."""
    try:
        return from_dict(settings)
    except ConfigError as error:
        key = "" if error.key in (None, *overridden) else str(error.key)
        while key and key not in lines:
            key = key.rpartition(".")[0]
        hint = remedy(map(str, code)) if isinstance(code := settings.get("code"), list) else ""
        if not key and not hint:
            raise
        where = f"{path}:{lines[key]}: " if key else ""
        raise ConfigError(f"{where}{error}{hint}", error.key) from error


def _merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with changes on top; of a system that they replace nothing stays."""
    merged = dict(base)
    if "system" in changes and changes["system"] != (before := base.get("system", USUAL)):
        merged.pop(before, None)
    for name, value in changes.items():
        old = merged.get(name)
        nested = isinstance(old, dict) and isinstance(value, dict)
        merged[name] = _merge(old, value) if nested and isinstance(old, dict) else value
    return merged


def _build(cls: Any, settings: Any, prefix: str) -> Any:
    if not isinstance(settings, Mapping):
        where = prefix.rstrip(".")
        got = f"expected keys and values, got {quoted(settings)}"
        raise ConfigError(f"{where or 'configuration'}: {got}", where)
    items = {item.name: item for item in dataclasses.fields(cls)}
    held = next((item for item in items.values() if "registry" in item.metadata), None)
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if held is not None and name in held.metadata["registry"]:
            _check_selected(held, str(name), settings, cls, prefix)
            options = held.metadata["registry"].get(name).options
            values[name] = _build(options, value, f"{prefix}{name}.")
        elif name not in items or items[name] is held:
            sentence = _unknown(prefix, str(name), _siblings(cls))
            if held is not None and isinstance(value, Mapping):
                sentence += "; name your code by --use"
            raise ConfigError(sentence, f"{prefix}{name}")
        elif dataclasses.is_dataclass(hints[name]):
            values[name] = _build(hints[name], value, f"{prefix}{name}.")
        else:
            values[name] = _convert(value, hints[name], prefix + name)
            _check_range(values[name], items[name], prefix + name)
    return cls(**values) if held is None else _with_sections(cls, held, values)


def _with_sections(cls: Any, held: dataclasses.Field[Any], values: dict[str, Any]) -> Any:
    """``cls`` of ``values``, whose sections go to the field that holds them."""
    inside = {name: values.pop(name) for name in list(values) if name in held.metadata["registry"]}
    content = next(iter(inside.values()), None) if held.metadata["selector"] else inside
    return cls(**(values | {held.name: content}))


def _check_selected(
    held: dataclasses.Field[Any], name: str, settings: Mapping[str, Any], cls: Any, prefix: str
) -> None:
    """Refuse the section of another system than the selected one."""
    selector = held.metadata["selector"]
    selected = settings.get(selector, getattr(cls, selector)) if selector else name
    if name != selected:
        keys = ", ".join(f"{prefix}{name}.{key}" for key in list(settings[name] or ())[:3])
        raise ConfigError(
            f"{prefix}{name}: settings of {selector} {name} ({keys}), but {prefix}{selector} is "
            f"{quoted(selected)}; take them out, or set {prefix}{selector}={name}",
            f"{prefix}{name}",
        )


def _siblings(cls: type) -> list[str]:
    """The keys that stand beside each other in ``cls``, sections among them."""
    held = ((item.name, item.metadata.get("registry")) for item in dataclasses.fields(cls))
    return [key for name, inside in held for key in (inside.names() if inside else [name])]


def _unknown(prefix: str, name: str, siblings: list[str]) -> str:
    near: list[str] = []
    if len(name) <= LONGEST_NAME:
        known = [full for full, _, _ in _keys(Config)]
        near += [prefix + close for close in difflib.get_close_matches(name, siblings, 1)]
        near += [full for full in known if full.rsplit(".")[-1] == name]
        near += difflib.get_close_matches(prefix + name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"unknown key {quoted(prefix + name)}{hint} Keys here: {', '.join(siblings)}"


def _convert(value: Any, hint: Any, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in arguments:
            raise _unfit(name, f"one of {', '.join(arguments)}", value)
        return value
    if origin is types.UnionType:
        return None if value is None else _convert(value, arguments[0], name)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _unfit(name, "a list, as in [1, 2]", value)
        return tuple(_convert(entry, arguments[0], f"{name}[{i}]") for i, entry in enumerate(value))
    if hint is float and not isinstance(value, bool):
        return _convert_float(value, name)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise _unfit(name, _spell(hint), value)
    if hint is int and abs(value) > LARGEST_INTEGER:
        raise _unfit(name, f"an integer of at most {LARGEST_INTEGER}", value)
    return value


def _convert_float(value: Any, name: str) -> float:
    try:  # YAML 1.1 reads 1e-6 as text; it means a number here
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise _unfit(name, "a number", value) from None
    if not math.isfinite(number):
        raise _unfit(name, "a finite number", value)
    return number


def _unfit(name: str, expected: str, value: Any) -> ConfigError:
    return ConfigError(f"{name}: expected {expected}, got {quoted(value)}", name.partition("[")[0])


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
    texts = [f"{sign} {limit:g}" for sign, _, limit in _limits(item)]
    return f" {' and '.join(texts)}" if texts else ""


def _limits(item: dataclasses.Field[Any]) -> list[tuple[str, Callable[..., bool], float]]:
    """The limits of a key, each with its sign and the comparison of a value with it."""
    signs = {"above": (">", operator.gt), "low": (">=", operator.ge), "high": ("<=", operator.le)}
    limits = {name: item.metadata.get(name) for name in signs}
    return [(*signs[name], limit) for name, limit in limits.items() if limit is not None]


def _check_range(value: Any, item: dataclasses.Field[Any], name: str) -> None:
    if (names := item.metadata.get("names")) is not None and value not in names:
        raise ConfigError(f"{name}: {names.unknown(value)}", name)
    for entry in value if isinstance(value, tuple) else (value,):
        if entry is not None and not all(holds(entry, limit) for _, holds, limit in _limits(item)):
            raise _unfit(name, f"a value{_range(item)}", entry)
