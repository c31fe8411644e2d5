"""Nothing outside of its own folder knows an algorithm or a sharing scheme by name."""

from __future__ import annotations

import ast
from pathlib import Path

import hypemarl
from hypemarl.config import ALGORITHMS, AgentConfig, TrainingConfig
from hypemarl.config.registry import SCHEMES

PACKAGE = Path(hypemarl.__file__).parent
EXCEPT = ("algorithms", "bench", "studies", "verification", "agents/schemes.py", "cli/demo.py")


def literals(path: Path) -> list[str]:
    return [
        node.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def test_no_literal_is_the_name_of_an_algorithm_or_scheme() -> None:
    names = {*ALGORITHMS.names(), *SCHEMES.names()} - {"hypemarl"}  # the package's own too
    files = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}
    files = {name: path for name, path in files.items() if not name.startswith(EXCEPT)}
    assert len(files) > 100
    found = {f"{name}: {t}" for name, path in files.items() for t in literals(path) if t in names}
    assert found == {f"config/schema.py: {TrainingConfig().algorithm}"}  # the default
    assert AgentConfig().scheme in SCHEMES


def test_an_algorithm_stands_in_its_own_folder() -> None:
    for folder in (PACKAGE / "algorithms").iterdir():
        if not folder.is_dir() or folder.name == "__pycache__":
            continue
        own = {a.name for a in ALGORITHMS if a.options.__module__.split(".")[2] == folder.name}
        others = set(ALGORITHMS.names()) - own
        texts = {text for path in folder.glob("*.py") for text in literals(path)} & others
        allowed = {name for a in ALGORITHMS if a.name in own for name in a.builds_on}
        assert texts <= allowed, f"{folder.name} names {sorted(texts - allowed)}"
