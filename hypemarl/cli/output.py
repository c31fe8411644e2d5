"""What handlers print and write: rank 0 alone does."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from hypemarl.types import Row


def world_size() -> int:
    """Number of ranks that were started; 1 where there is no mpi4py. Local."""
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
    """Write a flat object where a ``path`` is given. Collective; raises OSError."""
    from hypemarl import mpi
    from hypemarl.training import records

    with mpi.raise_together(mpi.world()):
        if path is not None and mpi.world().rank == 0:
            records.write_json(path, content)


def table_text(rows: Sequence[Row], columns: dict[str, str]) -> str:
    """``rows`` as text, under the headings that ``columns`` gives their keys."""
    from hypemarl.visualisation.table import format_table

    return format_table(rows, columns)
