"""The ``hypemarl`` command. Handlers only parse, call the rooms and print; rank 0 alone prints.

Exit status: 0 done, 1 a check failed, 2 bad input or an error, 3 every episode of a run failed,
130 interrupted, 141 the reader closed the output.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hypemarl.cli.output import error_line, say, world_size
from hypemarl.cli.parser import make_parser
from hypemarl.cli.settings import named_sources, stored_code
from hypemarl.config import trusted
from hypemarl.config.errors import UnsupportedError
from hypemarl.config.loading import is_code
from hypemarl.config.user_code import use
from hypemarl.training.children import EXIT_INTERRUPTED, follow_parent

if TYPE_CHECKING:
    from hypemarl.mpi import Comm

__all__ = ["main", "make_parser"]

_EXPECTED = (ValueError, RuntimeError, OSError, ImportError, MemoryError, UnsupportedError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    follow_parent()
    _mend_streams()
    parsed = make_parser().parse_args(arguments)
    try:
        from hypemarl import mpi

        mpi.install_excepthook()
        comm = mpi.world()
        if comm.size > 1:
            # initialising PETSc is collective: rank 0 reads settings alone and would block in it
            import hypemarl.solvers.fem_petsc  # noqa: F401
        for code in _code_of(parsed, comm):
            use(code)
        with trusted(*named_sources(parsed), everything=parsed.trust):
            status = int(parsed.handler(parsed) or 0)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        say("hypemarl: interrupted", error=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return _no_reader()
    except _EXPECTED as error:
        if parsed.debug:
            raise
        return _fail(error_line(error))


def _code_of(parsed: argparse.Namespace, comm: Comm) -> list[str]:
    """The user's code that a command names, or the run that it reads; all ranks import it."""
    named = getattr(parsed, "scenario", None) or []
    scenario = [word for word in ([named] if isinstance(named, str) else named) if is_code(word)]
    from hypemarl import mpi

    return [*parsed.use, *scenario, *mpi.on_root(comm, lambda: stored_code(parsed))]


def _mend_streams() -> None:
    """Replace closed streams by the null device, and escape characters that an encoding lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _no_reader() -> int:
    """End quietly where stdout was closed, as by ``hypemarl list --keys | head``."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the last flush goes there
    return 141


def _fail(message: str) -> int:
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
