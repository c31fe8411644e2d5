"""Folder of computed results, and whether it can be written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from hypemarl.files.writing import WriteError
from hypemarl.startup import may_write, temporary_cache, try_to_write

CACHE_REMEDY = "set HYPEMARL_CACHE to a folder that can be"


def check_writable(folder: Path, remedy: str) -> None:
    """Make ``folder`` and try a file in it, before work whose result goes there.

    Raises:
        WriteError: with ``remedy``, when that cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try_to_write(folder)
    except OSError as error:
        raise WriteError(f"{folder} cannot be written ({error.strerror}): {remedy}") from error


def cache_folder(say: Callable[[str], None] = lambda text: None) -> Path:
    """``$HYPEMARL_CACHE``, else ``hypemarl`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Where the latter cannot be written it is ``hypemarl`` in the user's own folder among the
    system's temporary files, as for all caches (:mod:`hypemarl.startup`), and ``say`` gets a note.
    Creates nothing but that.

    Raises:
        WriteError: others may write in that temporary folder, or nobody.
    """
    if named := os.environ.get("HYPEMARL_CACHE"):
        return Path(named).expanduser()
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    usual = Path(home) / "hypemarl"
    if may_write(usual):
        return usual
    temporary = temporary_cache()
    if not temporary.is_private:
        raise WriteError(f"{usual} and {temporary.path} cannot be used as cache: {CACHE_REMEDY}")
    other = temporary.path / "hypemarl"
    say(f"{usual} cannot be written: what is computed once is kept in {other}; {CACHE_REMEDY}")
    return other
