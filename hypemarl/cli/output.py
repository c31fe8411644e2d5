"""Output of the commands, which rank 0 alone prints and writes, and errors as one line each."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from hypemarl.config.errors import LONGEST_WORD, cut
from hypemarl.types import Row


def world_size() -> int:
    """Number of ranks of the world; 1 without mpi4py. Local."""
    try:
        from hypemarl import mpi
    except ImportError:
        return 1
    return int(mpi.MPI.COMM_WORLD.size)


def say(text: str, *, error: bool = False) -> None:
    """Print a line on rank 0. Local."""
    from hypemarl import mpi

    if mpi.MPI.COMM_WORLD.rank == 0:
        print(text, file=sys.stderr if error else sys.stdout, flush=True)


def write_json(path: str | None, content: Row) -> None:
    """Write a flat object to ``path``, unless that is None. Collective; raises OSError."""
    from hypemarl import mpi
    from hypemarl.training import records

    with mpi.raise_together(mpi.world()):
        if path is not None and mpi.world().rank == 0:
            records.write_json(path, content)


def table_text(rows: Sequence[Row], columns: dict[str, str]) -> str:
    """``rows`` as text, under the headings that ``columns`` gives their keys."""
    from hypemarl.visualisation.table import format_table

    return format_table(rows, columns)


_EXTRAS = {
    **dict.fromkeys(("basix", "dolfinx", "ffcx", "gmsh", "mpi4py", "petsc4py", "ufl"), "fem"),
    **dict.fromkeys(("gymnasium_robotics", "mpe2", "mujoco", "vmas"), "external"),
}
_LONG_WORD = re.compile(rf"\S{{{LONGEST_WORD},}}")
_LONGEST_MESSAGE = 4000


def error_line(error: BaseException) -> str:
    """One line for the user on ``error``; errors from outside the package point to ``--debug``."""
    if isinstance(error, MemoryError):
        text = "the memory of this machine does not suffice; take a coarser mesh or fewer agents"
    elif isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    elif isinstance(error, ModuleNotFoundError) and _extra(error):
        text = f"{error}: pip install 'hypemarl[{_extra(error)}]'"
    else:
        known = type(error).__module__.partition(".")[0] == "hypemarl" or isinstance(error, OSError)
        hint = "" if known else f" ({type(error).__name__}; --debug shows where)"
        text = f"{str(error).strip() or type(error).__name__}{hint}"
    return f"hypemarl: error: {cut_words(text)}"


def cut_words(text: str) -> str:
    """``text`` with the ends of very long words left out, and not longer than a page."""
    return cut(_LONG_WORD.sub(lambda word: cut(word[0]), text), _LONGEST_MESSAGE)


def _extra(error: ModuleNotFoundError) -> str | None:
    return _EXTRAS.get((error.name or "").partition(".")[0])
