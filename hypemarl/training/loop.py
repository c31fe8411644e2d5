"""One run of one scheme from one seed: opened or resumed, trained, and closed."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypemarl import mpi
from hypemarl.config import Config
from hypemarl.config.sources import say_changed, stamped
from hypemarl.training import checkpoint
from hypemarl.training.checkpoint import CheckpointError
from hypemarl.training.groups import Groups
from hypemarl.training.interrupt import deferred_interrupt
from hypemarl.training.progress import TrainingError
from hypemarl.training.records import RunFolder
from hypemarl.training.setup import MakeEnv, default_make_env, pick_device, spec_of, torch_threads
from hypemarl.training.trainer import Trainer

__all__ = [
    "MakeEnv",
    "TrainingError",
    "default_make_env",
    "is_finished",
    "pick_device",
    "spec_of",
    "torch_threads",
    "train",
]


def train(
    config: Config,
    run_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    comm: Any = None,
    ranks_per_env: int | None = None,
    progress: bool = True,
    make_env: MakeEnv = default_make_env,
) -> dict[str, Any]:
    """Train one run into ``run_dir`` and return its summary. Collective over ``comm``.

    ``comm`` defaults to the world, ``ranks_per_env`` to all its ranks: one environment. With fewer,
    ``comm.size / ranks_per_env`` environments run at once and fill one replay; an error on some
    ranks only then ends the world with one message. The first Ctrl-C (or SIGTERM) lets the episode
    end, saves and returns; a second one stops at once, and ``resume`` then goes on from the last
    checkpoint.

    Returns: episode, step, seconds, best_cost, best_episode, uncontrolled, failures, groups,
        interrupted.
    Raises: ValueError (ranks do not split), RunError (folder occupied), CheckpointError (cannot
        resume), TrainingError.
    """
    comm = mpi.world() if comm is None else comm
    folder = RunFolder(run_dir)
    stored: dict[str, Any] | None = None
    with mpi.one_fate(comm):
        if config.env.system == "external":
            external = mpi.on_root(comm, lambda: stamped(config.env.external))
            config = replace(config, env=replace(config.env, external=external))
        split = Groups(comm, ranks_per_env)
        with mpi.raise_together(comm):
            if split.root:
                stored = _open_run(folder, config, resume=resume, overwrite=overwrite)
        env = make_env(config.env, comm=split.own)
    try:
        with mpi.one_fate(comm):
            trainer = Trainer(config, env, folder, split)
            with mpi.raise_together(comm):
                trainer.start(stored)
            # only ranks that hold an agent import torch
            limit = torch_threads(config.training.threads) if trainer.acts else nullcontext()
            with deferred_interrupt(split.root) as interrupted, limit:
                return trainer.run(interrupted, progress=progress)
    finally:
        env.close()
        split.close()


def _open_run(
    folder: RunFolder, config: Config, *, resume: bool, overwrite: bool
) -> dict[str, Any] | None:
    if resume and overwrite:
        raise ValueError("resume and overwrite exclude each other")
    stored = None
    if resume and folder.last.exists():
        stored = checkpoint.load(folder.last)
        checkpoint.check_config(folder.last, stored, config)
        external = config.env.external
        before = stored["config"]["env"].get("external", {}).get("sha256", "")
        say_changed(external.source, before, external.sha256)
    elif resume and not folder.exists():
        raise CheckpointError(f"{folder.path}: nothing to resume; train without --resume first")
    folder.begin(config, resume=resume, overwrite=overwrite)
    return stored


def is_finished(run_dir: str | Path, config: Config) -> bool:
    """Whether ``run_dir`` holds a whole run of just this configuration. Local, never raises."""
    folder = RunFolder(run_dir)
    try:
        stored = checkpoint.load(folder.last)
        checkpoint.check_config(folder.last, stored, config)
    except CheckpointError:
        return False
    return int(stored["progress"]["episode"]) == config.training.episodes
