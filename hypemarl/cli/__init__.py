"""The ``hypemarl`` command. Handlers only parse, call the rooms and print; rank 0 alone prints.

Exit status: 0 done, 1 a check failed, 2 bad input or an error, 3 every episode of a run failed,
130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from hypemarl.cli.output import say, world_size
from hypemarl.cli.parser import make_parser
from hypemarl.training.children import EXIT_INTERRUPTED, follow_parent

__all__ = ["main", "make_parser"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    follow_parent()
    parsed = make_parser().parse_args(arguments)
    try:
        from hypemarl import mpi

        mpi.world()
        mpi.install_excepthook()
        return int(parsed.handler(parsed) or 0)
    except KeyboardInterrupt:
        say("hypemarl: interrupted", error=True)
        return EXIT_INTERRUPTED
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        if parsed.debug:
            raise
        return _fail(error)


def _fail(error: Exception) -> int:
    """One clean line for an error; errors from outside the package point to ``--debug``."""
    own = type(error).__module__.partition(".")[0] == "hypemarl" or isinstance(error, OSError)
    hint = "" if own else f" ({type(error).__name__}; --debug shows where)"
    message = f"hypemarl: error: {str(error).strip() or type(error).__name__}{hint}"
    if world_size() == 1:
        print(message, file=sys.stderr)
    else:
        _leave_together(message)
    return 2


def _leave_together(message: str) -> None:
    """Rank 0 prints an error that all ranks have; an error of some ranks only stops them all."""
    from hypemarl import mpi

    comm = mpi.world()
    if comm.rank == 0:
        print(message, file=sys.stderr, flush=True)
    if not mpi.all_arrive(comm):
        mpi.report_and_abort(f"rank {comm.rank}: {message}\n", status=2)
