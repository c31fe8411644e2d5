"""Outside its own folder nothing knows a system, an algorithm or a sharing scheme by name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hypemarl.config import ALGORITHMS, SYSTEMS
from hypemarl.config.registry import SCHEMES, Registry

PACKAGE = Path(__file__).parent.parent / "hypemarl"
EXCEPTED = (
    "bench",  # of certain systems
    "cli/demo.py",
    "config/migration.py",  # keys of version 0.1
    "config/schema.py",  # defaults
    "studies",  # tables of certain runs
    "training/records.py",  # "density" is an array of a record
    "verification",
    "visualisation",  # likewise; and pictures of a kind, which is not a system
)
HOMONYMS = {
    "hypemarl": "cli/output.py cli/parser.py files/cache.py files/locking.py meshing/shapes.py "
    "training/jobs.py training/optima.py",  # the program
    "problem": "config/problems.py",  # the kind of class, beside the system
    "external": "cli/output.py",  # an extra of the installation
    "shape": "cli/handlers.py",  # env.mesh.shape
    "flow": "systems/density/in_fluid.py",  # an array of its record
}


def modules() -> Iterator[Path]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if not path.relative_to(PACKAGE).as_posix().startswith(EXCEPTED):
            yield path


def folders(registry: Registry[Any]) -> dict[str, str]:
    """name -> folder of the object that has it."""
    return {item.name: item.options.__module__.split(".")[2] for item in registry}


OWN = folders(SYSTEMS) | folders(ALGORITHMS) | dict.fromkeys(SCHEMES.names(), "schemes")


def literals(tree: ast.AST) -> Iterator[ast.Constant]:
    """String constants that are no parts of f-strings."""
    inside = {
        id(v) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for v in node.values
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in inside
        ):
            yield node


def is_own(path: Path, name: str) -> bool:
    """Whether a module may know the name: it lies in its folder, defines it, or means another."""
    place = path.relative_to(PACKAGE)
    means_another = place.as_posix() in HOMONYMS.get(name, "").split()
    return OWN[name] in (*place.parts, place.stem) or means_another


def test_no_literal_is_a_registered_name() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}: {node.value!r}"
        for path in modules()
        for node in literals(ast.parse(path.read_text(encoding="utf-8")))
        if node.value in OWN and not is_own(path, node.value)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("part", ["env", "agent"])
def test_no_setting_is_read_by_a_registered_name(part: str) -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}: {part}.{node.attr}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in OWN and not is_own(path, node.attr)
        if isinstance(node.value, ast.Name | ast.Attribute)
        and (node.value.id if isinstance(node.value, ast.Name) else node.value.attr) == part
    ]
    assert not found, "\n".join(found)
