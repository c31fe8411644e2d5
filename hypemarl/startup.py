"""Preparations before compiled modules are loaded: their order, and folders they may write to."""

from __future__ import annotations

import importlib.util
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")


def prepare() -> None:
    """Load a wheel's MPI first, and give compilers a cache folder. Local, at the first import.

    Where dolfinx comes as a wheel, the wheel must load its MPI ahead of every compiled module.
    """
    use_writable_cache()
    leave_signals_alone()
    if importlib.util.find_spec("dolfinx_solver") is not None:
        import dolfinx_solver  # noqa: F401


def leave_signals_alone() -> None:
    """Keep PETSc from catching signals: a stop is no fault of a solver. Local.

    With its handler, SIGTERM or Ctrl-C before training listens ends in pages about debuggers.
    """
    options = os.environ.get("PETSC_OPTIONS", "")
    if "signal_handler" not in options:
        os.environ["PETSC_OPTIONS"] = f"{options} -no_signal_handler".strip()


def require_torch_order() -> None:
    """Refuse to load torch where it would end the process later. Local.

    ``dolfinx.fem.petsc`` makes the symbols of PETSc's BLAS global, which torch then takes for its
    own (see :mod:`hypemarl.solvers.fem_petsc`): a batched product is a segmentation fault.

    Raises:
        ImportError: it was imported before hypemarl, and torch was not imported before it.
    """
    helpers = getattr(sys.modules.get("dolfinx.fem.petsc"), "numba_utils", None)
    if not hasattr(helpers, "_llvmlite"):  # not loaded, or by hypemarl.solvers.fem_petsc
        return
    order = list(sys.modules)
    if "torch" not in order or order.index("torch") > order.index("dolfinx.fem.petsc"):
        raise ImportError(
            "dolfinx.fem.petsc was imported before torch, which would crash then: put `import "
            "torch` ahead of it, or take `from hypemarl.solvers.fem_petsc import petsc` instead"
        )


def use_writable_cache() -> None:
    """Keep caches in a temporary folder where they cannot be kept at home. Local.

    numba, FFCx and hypemarl follow XDG_CACHE_HOME, which is then set for this process and its
    children. Rank 0 says so on stderr.
    """
    folder = home_cache()
    if may_write(folder):
        return
    temporary = temporary_cache()
    text = f"nor can {temporary.path}; set XDG_CACHE_HOME to a folder that you may write"
    if temporary.is_private:
        os.environ["XDG_CACHE_HOME"] = str(temporary.path)
        text = f"caches are kept in {temporary.path}; set XDG_CACHE_HOME to a folder that stays"
    if all(os.environ.get(name, "0") == "0" for name in _RANKS):
        print(f"hypemarl: note: {folder} cannot be written, {text}", file=sys.stderr)


def home_cache() -> Path:
    """``$XDG_CACHE_HOME``, else ``~/.cache``. Local."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))


class TemporaryCache(NamedTuple):
    """A folder for caches among the system's temporary files."""

    path: Path
    is_private: bool  # exists, is writable, and nobody else can put compiled code into it


def temporary_cache() -> TemporaryCache:
    """The folder of caches that cannot be kept at home; makes it. Local."""
    folder = Path(tempfile.gettempdir(), f"hypemarl-cache-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return TemporaryCache(folder, False)
    private = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    return TemporaryCache(folder, private and not status.st_mode & 0o022 and may_write(folder))


def try_to_write(folder: Path) -> None:
    """Make and remove a file in ``folder``, or in its nearest ancestor. Raises OSError."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder):
        return


def may_write(folder: Path) -> bool:
    """Whether files can be made in ``folder``, or in its nearest ancestor."""
    try:
        try_to_write(folder)
    except OSError:
        return False
    return True
