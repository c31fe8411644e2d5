"""Cache of computed results: its folder, and digests that name its files by facts and code."""

import ast
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from hypemarl.files.writing import WriteError
from hypemarl.startup import home_cache, may_write, temporary_cache, try_to_write

CACHE_REMEDY = "set HYPEMARL_CACHE to a folder that can be"


def check_writable(folder: Path, remedy: str) -> None:
    """Make ``folder`` and try a file in it, before long work. Raises WriteError with ``remedy``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try_to_write(folder)
    except OSError as error:
        raise WriteError(f"{folder} cannot be written ({error.strerror}): {remedy}") from error


def cache_folder(say: Callable[[str], None] = lambda text: None) -> Path:
    """``$HYPEMARL_CACHE``, else ``hypemarl`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Where the latter cannot be written it is ``hypemarl`` in the user's private temporary folder, as
    for all caches (:mod:`hypemarl.startup`), and ``say`` gets a note. Creates nothing else.

    Raises:
        WriteError: that temporary folder is writable by others, or by nobody.
    """
    if named := os.environ.get("HYPEMARL_CACHE"):
        return Path(named).expanduser()
    usual = home_cache() / "hypemarl"
    if may_write(usual):
        return usual
    temporary = temporary_cache()
    if not temporary.is_private:
        raise WriteError(f"{usual} and {temporary.path} cannot be used as cache: {CACHE_REMEDY}")
    other = temporary.path / "hypemarl"
    say(f"{usual} cannot be written: what is computed once is kept in {other}; {CACHE_REMEDY}")
    return other


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
