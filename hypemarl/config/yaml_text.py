"""YAML as plain data: nothing in it is executed, dropped or expanded without bounds."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from hypemarl.config.errors import ConfigError, cut, quoted

LARGEST_BYTES = 200_000
LARGEST_EXPANSION = 100_000
"""Values that a text may stand for once its aliases (``*name``) are written out."""

_UNFIT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Errors of PyYAML for a value that does not fit its tag: ``!!int x``, the date 2020-13-45."""


class _Loader(yaml.SafeLoader):
    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """As of the base; every error has the line of its value."""
        try:
            return super().construct_object(node, deep)
        except _UNFIT as error:
            reason = f"a value does not fit its type ({' '.join(str(error).split())})"
            raise yaml.constructor.ConstructorError(None, None, reason, node.start_mark) from error


class Document(NamedTuple):
    """Plain data, and the line (from 1) of each key by its full name, as in ``agent.gamma``."""

    content: Any
    lines: dict[str, int]


def read_assignments(items: Iterable[str], where: str, example: str) -> dict[str, Any]:
    """The values, in YAML, of items ``name=value``, by name.

    Args:
        where: the key that holds them; example: of an item, for the message.

    Raises:
        ConfigError: an item is none, or a name stands there twice.
    """
    values: dict[str, Any] = {}
    for item in items:
        name, equals, text = item.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier():
            fault = f"expected name=value, as in {example}, got {quoted(item)}"
            raise ConfigError(f"{where}: {fault}", where)
        if name in values:
            raise ConfigError(f"{where}: {quoted(name)} stands there twice", where)
        values[name] = read_text(text, f"{where}: {quoted(item)}").content
    return values


def read_file(path: Path) -> Document:
    """The keys and values in a UTF-8 file. Raises :class:`ConfigError` with file and line."""
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise ConfigError(
                f"{path}: expected a configuration of at most {LARGEST_BYTES} bytes, got {size}"
            )
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}: expected UTF-8 text, got the byte 0x{raw[error.start]:02x}; save the "
            "file as UTF-8"
        ) from error
    document = read_text(text, str(path))
    if document.content is None:
        raise ConfigError(f"{path}: the file is empty; expected keys and values, as in 'seed: 1'")
    if not isinstance(document.content, dict):
        kind = type(document.content).__name__
        raise ConfigError(f"{path}: expected keys and values, got {kind}")
    return document


def read_text(text: str, where: str) -> Document:
    """The only document in ``text``, None where there is none.

    Raises:
        ConfigError: ``where`` and the line of what is no YAML, of a key that stands twice, of a tag
            that is no plain data, or of aliases that stand for too much.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return Document(None, {})
        _check_expansion(root, where)
        lines: dict[str, int] = {}
        _check_keys(root, "", lines, where)
        return Document(loader.construct_document(root), lines)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{_at(where, error.problem_mark)}: {_reason(error)}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{where}:{line}: not valid YAML: the character {_code(error.character)} may not stand "
            "in it"
        ) from error
    except RecursionError as error:
        raise ConfigError(f"{where}: not valid YAML here: nested too deeply") from error


def _at(where: str, mark: yaml.Mark | None) -> str:
    return where if mark is None else f"{where}:{mark.line + 1}"


def _reason(error: yaml.MarkedYAMLError) -> str:
    problem = " ".join(str(error.problem).split())
    if problem.startswith("could not determine a constructor"):
        return f"expected plain values, got the tag {quoted(problem.rpartition(' ')[2].strip("'"))}"
    problem = cut(problem)
    context = f"{error.context}, " if error.context else ""
    return f"not valid YAML: {context}{problem}"


def _code(character: str | int) -> str:
    return f"U+{ord(character) if isinstance(character, str) else int(character):04X}"


def _check_expansion(root: yaml.Node, where: str) -> None:
    """Refuse aliases that nest, as in "a billion laughs", or that contain themselves."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if sizes.get(id(node)) == 0:
            raise ConfigError(f"{_at(where, node.start_mark)}: a value contains itself")
        if id(node) not in sizes:
            sizes[id(node)] = 0
            sizes[id(node)] = 1 + sum(size(inner) for inner in _inside(node))
        return sizes[id(node)]

    if size(root) > LARGEST_EXPANSION:
        raise ConfigError(
            f"{where}: its aliases (*name) stand for more than {LARGEST_EXPANSION} values; write "
            "out what is needed"
        )


def _inside(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _check_keys(node: yaml.Node, prefix: str, lines: dict[str, int], where: str) -> None:
    """Refuse a key that stands twice in one mapping; note the lines of keys of mappings."""
    if not isinstance(node, yaml.MappingNode):
        for inner in _inside(node):
            _check_keys(inner, f"{prefix}[].", {}, where)
        return
    first: dict[tuple[str, str], int] = {}
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in first:
                raise ConfigError(
                    f"{where}:{line}: the key {quoted(prefix + key.value)} stands in line "
                    f"{first[name]} already; put both parts under one"
                )
            first[name] = lines[prefix + key.value] = line
            _check_keys(value, f"{prefix}{key.value}.", lines, where)
