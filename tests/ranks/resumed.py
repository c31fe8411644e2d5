"""Resume the run in a folder on all ranks; each prints what came of it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from toy import ToyEnv, toy_config

from hypemarl import mpi
from hypemarl.training import loop
from hypemarl.training.records import RunError

comm, config = mpi.world(), toy_config(episodes=9)
try:
    loop.train(config, sys.argv[1], resume=True, make_env=ToyEnv, progress=False, comm=comm)
except RunError as error:
    print(f"{comm.rank}: {error}", flush=True)
else:
    print(f"{comm.rank}: trained", flush=True)
