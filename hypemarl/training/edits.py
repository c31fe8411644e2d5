"""Edits of a run's ``config.yaml`` that a resume does not take."""

from __future__ import annotations

import yaml

from hypemarl.config import Config, ConfigError, load_file, quoted, to_dict
from hypemarl.mpi import note
from hypemarl.training import record_copy
from hypemarl.training.checkpoint import completed, flat
from hypemarl.training.records import RunFolder
from hypemarl.types import Record


def note_dropped(folder: RunFolder, config: Config, stored: Record | None) -> None:
    """Name the edited settings in ``config.yaml`` that ``config``, which replaces it, drops. Local.

    Args:
        folder: the run. config: what it goes on with.
        stored: its checkpoint, whose settings count as those that the run wrote where there is no
            copy of its records; with neither nothing is known of edits.
    """
    file = folder.config
    kept = record_copy.read(folder.copy)
    if not file.is_file() or (kept is None and stored is None):
        return
    if kept is not None and file.read_bytes() == kept.config:
        return
    try:
        edited = flat(to_dict(load_file(file)))
    except ConfigError as error:
        note(f"{error}; config.yaml is written anew with the settings of this command")
        return
    before = stored if kept is None else {"config": yaml.safe_load(kept.config)}
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
