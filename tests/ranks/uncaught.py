"""An error that nobody catches, on the ranks that are named; ``shared``: raised by all together."""

from __future__ import annotations

import sys
import time

from hypemarl import mpi

failing = {int(rank) for rank in sys.argv[2:]}
mpi.install_excepthook()
comm = mpi.world()
if sys.argv[1] == "shared":
    with mpi.raise_together(comm):
        if comm.rank in failing:
            raise ValueError("no such thing")
elif comm.rank in failing:
    if comm.rank == 0:
        time.sleep(0.1)  # rank 0 speaks for all even where it is the later one
    raise ValueError("no such thing")
comm.Barrier()  # would wait for ever
