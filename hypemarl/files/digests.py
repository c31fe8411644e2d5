"""Digests that name what is kept: by the facts that it depends on, and by the code behind it."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def facts_key(facts: Mapping[str, Any]) -> str:
    """JSON of ``facts`` in one order; sequences of all kinds are lists. Local."""
    return json.dumps(facts, sort_keys=True, default=list)


def short_digest(key: str) -> str:
    """32 hexadecimal digits of a key, for a file's name. Local."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def code_digest(paths: Iterable[Path]) -> str:
    """SHA-256 of Python files without comments, docstrings and layout. Local.

    Raises:
        OSError, SyntaxError: a file cannot be read, or is no Python.
    """
    digest = hashlib.sha256()
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [s for s in body if not _is_text(s)]  # type: ignore[attr-defined]
        digest.update(ast.unparse(tree).encode())
    return digest.hexdigest()


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a string alone, such as a docstring."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
