"""Preparations before compiled modules are loaded: their order, and folders they may write to."""

from __future__ import annotations

import importlib.util
import os
import stat
import sys
import tempfile
from pathlib import Path

_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")


def prepare() -> None:
    """Load a wheel's MPI first, and give compilers a cache folder. Local, at the first import.

    Where dolfinx comes as a wheel, the wheel must load its MPI ahead of every compiled module.
    """
    use_writable_cache()
    if importlib.util.find_spec("dolfinx_solver") is not None:
        import dolfinx_solver  # noqa: F401


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
    """Let caches be kept in a temporary folder where they cannot be kept at home. Local.

    numba, FFCx and hypemarl follow XDG_CACHE_HOME, which is then set for this process and its
    children. Rank 0 says so on stderr.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.path.expanduser("~"), ".cache"))
    if _writable(folder):
        return
    temporary = Path(tempfile.gettempdir(), f"hypemarl-cache-{os.getuid()}")
    if _writable(temporary) and _private(temporary):
        os.environ["XDG_CACHE_HOME"] = str(temporary)
        text = f"caches are kept in {temporary}; set XDG_CACHE_HOME to a folder that stays"
    else:
        text = f"nor can {temporary}; set XDG_CACHE_HOME to a folder that you may write"
    if all(os.environ.get(name, "0") == "0" for name in _RANKS):
        print(f"hypemarl: note: {folder} cannot be written, {text}", file=sys.stderr)


def _writable(folder: Path) -> bool:
    """Whether a file can be made in ``folder``; makes the folder where it is not there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _private(folder: Path) -> bool:
    """Whether nobody else can put compiled code into ``folder``."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
