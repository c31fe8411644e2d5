"""One run of one scheme from one seed: opened or resumed (edits noted), trained, and closed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

import yaml

from hypemarl import mpi
from hypemarl.config import (
    Config,
    ConfigError,
    check_training,
    load_file,
    mesh_files,
    quoted,
    to_dict,
)
from hypemarl.config.external import external_of
from hypemarl.config.sources import say_changed, stamped
from hypemarl.config.user_code import note_other_code, used
from hypemarl.mpi import Comm, note
from hypemarl.training import checkpoint, metrics
from hypemarl.training.checkpoint import CheckpointError, completed, flat
from hypemarl.training.children import deferred_interrupt
from hypemarl.training.groups import Groups
from hypemarl.training.records import RunFolder, read_metrics
from hypemarl.training.setup import MakeEnv, default_make_env, torch_threads
from hypemarl.training.trainer import Trainer
from hypemarl.types import Record, Row

CHOSEN_ANEW = (
    "; the best policy so far was chosen by its costs, so that it is set aside as "
    "checkpoints/earlier-best.pt: the present one is validated with the code of now and stands in "
    "its place"
)


def train(
    config: Config,
    run_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    comm: Comm | None = None,
    ranks_per_env: int | None = None,
    progress: bool = True,
    make_env: MakeEnv = default_make_env,
) -> Row:
    """Train one run into ``run_dir`` and return its summary. Collective over ``comm``.

    ``comm`` defaults to the world, ``ranks_per_env`` to all its ranks: one environment. With fewer,
    ``comm.size / ranks_per_env`` environments run at once and fill one replay; an error on some
    ranks only then ends the world with one message. The first Ctrl-C (or SIGTERM, SIGHUP) lets the
    episode end, saves and returns; a second one stops at once, and ``resume`` then goes on from the
    last checkpoint. The folder is locked meanwhile; nothing in it changes before ``config`` and
    what is stored were found to fit. Mesh files are bound to the run by path and content.

    Returns: episode, step, seconds, best_cost, best_episode, uncontrolled, failures, failure (why
        the last of them failed), in_vain (every episode failed), groups, stop_asked (by a signal),
        interrupted (before the last episode).
    Raises: ValueError (ranks do not split), RunError (folder occupied or locked by a process that
        runs), ConfigError (unfit settings, mesh file missing), CheckpointError (cannot resume),
        TrainingError.
    """
    check_training(config)
    comm = mpi.world() if comm is None else comm
    folder = RunFolder(run_dir)
    stored: Row | None = None
    other = False  # on rank 0: whether the user's code has changed since
    with ExitStack() as closing:
        with mpi.abort_together(comm):
            split = Groups(comm, ranks_per_env)
            closing.callback(split.close)
            bound = mpi.on_root(comm, lambda: _bound(config))
            with mpi.raise_together(comm):
                if split.root:
                    closing.callback(_claim(folder, resume, overwrite))
                    if resume:
                        stored = _stored(folder, bound, config)
                        note_dropped(folder, bound, stored)
                        other = stored is not None and note_other_code(
                            folder.path, stored["config"].get("code", ()), CHOSEN_ANEW
                        )
            env = make_env(bound.env, comm=split.group)
            closing.callback(env.close)
        with mpi.abort_together(comm):
            trainer = Trainer(bound, env, folder, split)
            with mpi.raise_together(comm):
                trainer.start(stored, other_code=other)
                if split.root:
                    folder.begin(bound, resume=resume, overwrite=overwrite)
                    trainer.open_records()
            # only ranks that hold an agent import torch
            limit = torch_threads(config.training.threads) if trainer.acts else nullcontext()
            with deferred_interrupt(split.root) as interrupted, limit:
                return trainer.run(interrupted, progress=progress)


def _bound(config: Config) -> Config:
    """``config`` with the hashes of its files: meshes, external environment, code of the user."""
    config = replace(mesh_files.bind(config), code=used() or config.code)
    external = external_of(config.env)
    if external is None:
        return config
    return replace(config, env=replace(config.env, options=stamped(external)))


def require_begun(folders: Sequence[RunFolder]) -> None:
    """Raise :class:`CheckpointError` where no run was started in any of the folders. Local."""
    if not any(folder.exists() for folder in folders):
        names = ", ".join(str(folder.path) for folder in folders)
        raise CheckpointError(f"{names}: nothing to resume; train without --resume first")


def _claim(folder: RunFolder, resume: bool, overwrite: bool) -> Callable[[], None]:
    """Lock the folder where these flags allow training into it; returns its release. Local."""
    if resume and overwrite:
        raise ValueError("resume and overwrite exclude each other")
    if resume:
        require_begun([folder])
    if not (resume or overwrite):
        folder.check_free()
    lock = folder.lock()
    if lock.note is not None:
        mpi.note(lock.note)
    folder.remove_leftovers()
    return lock.release


def _stored(folder: RunFolder, config: Config, unbound: Config) -> Row | None:
    """The checkpoint that ``config`` continues, None where none was written yet. Local.

    ``unbound``: ``config`` before its files were hashed.
    """
    if folder.metrics.is_file():
        read_metrics(folder.metrics)
    if not folder.last.exists():
        mpi.note(f"{folder.last} is not there: training begins with the first episode")
        return None
    stored = checkpoint.load(folder.last)
    checkpoint.check_config(folder.last, stored, config)
    external, unhashed = external_of(config.env), external_of(unbound.env)
    if external is not None and unhashed is not None:
        before = stored["config"]["env"].get(config.env.system, {}).get("sha256", "")
        if before != unhashed.sha256:  # else ``stamped`` has compared them
            say_changed(external.source, before, external.sha256)
    trained = checkpoint.entry(folder.last, stored, "progress", "episode")
    if trained > config.training.episodes:
        raise CheckpointError(
            f"{folder.last}: {trained} episodes are trained already, training.episodes is "
            f"{config.training.episodes}: name {trained} or more, or begin anew with --overwrite"
        )
    return stored


def episodes_trained(run_dir: str | Path, config: Config) -> int | None:
    """Episodes of exactly this configuration in ``run_dir``, 0 where the checkpoint has no count.

    None where no checkpoint of this configuration loads. Local, never raises.
    """
    file = RunFolder(run_dir).last
    try:
        stored = checkpoint.load(file)
        checkpoint.check_config(file, stored, config)
    except CheckpointError:
        return None
    progress = stored.get("progress")
    episode = progress.get("episode") if isinstance(progress, Mapping) else None
    return episode if isinstance(episode, int) else 0


def note_dropped(folder: RunFolder, config: Config, stored: Record | None) -> None:
    """Name the edited settings in ``config.yaml`` that ``config``, which replaces it, drops. Local.

    Args:
        folder: the run. config: what it goes on with.
        stored: its checkpoint, whose settings count as those that the run wrote where there is no
            copy of its records; with neither nothing is known of edits.
    """
    file = folder.config
    copy = metrics.read_copy(folder.copy)
    if not file.is_file() or (copy is None and stored is None):
        return
    if copy is not None and file.read_bytes() == copy.config:
        return
    try:
        edited = flat(to_dict(load_file(file)))
    except ConfigError as error:
        note(f"{error}; config.yaml is written anew with the settings of this command")
        return
    before = stored if copy is None else {"config": yaml.safe_load(copy.config)}
    written = completed((before or {})["config"])
    taken = flat(to_dict(config))
    dropped = [
        f"{name} = {quoted(value)} (taken: {quoted(taken[name])})"
        for name, value in edited.items()
        if value not in (taken[name], written.get(name))
    ]
    if dropped:
        note(
            f"{file} was edited; the run keeps its own settings and drops {', '.join(dropped)}. To "
            f"go on with the edited file: hypemarl train --resume --run {folder.path}; for another "
            "problem train into a new folder"
        )
