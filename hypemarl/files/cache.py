"""Folder of computed results, and whether it can be written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypemarl.files.writing import WriteError


def check_writable(folder: Path, remedy: str) -> None:
    """Make ``folder`` and try a file in it, before work whose result goes there.

    Raises:
        WriteError: with ``remedy``, when that cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise WriteError(f"{folder} cannot be written ({error.strerror}): {remedy}") from error


CACHE_REMEDY = "set HYPEMARL_CACHE to a folder that can be"


def cache_folder(say: Callable[[str], None] = lambda text: None) -> Path:
    """``$HYPEMARL_CACHE``, else ``hypemarl`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Where the latter cannot be written it is a folder of the user's own among the system's
    temporary files, reported through ``say``. Creates nothing.

    Raises:
        WriteError: that temporary folder belongs to another user.
    """
    if named := os.environ.get("HYPEMARL_CACHE"):
        return Path(named).expanduser()
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    usual = Path(home) / "hypemarl"
    if may_write(usual):
        return usual
    other = Path(tempfile.gettempdir()) / f"hypemarl-{_user()}"
    if other.exists() and hasattr(os, "getuid") and other.stat().st_uid != os.getuid():
        raise WriteError(f"{usual} and {other} cannot be used as cache: {CACHE_REMEDY}")
    say(f"{usual} cannot be written: what is computed once is kept in {other}; {CACHE_REMEDY}")
    return other


def may_write(folder: Path) -> bool:
    """Whether files may be made in ``folder``, or where it is missing in what it would be in."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
