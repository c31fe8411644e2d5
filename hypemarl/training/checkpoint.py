"""Checkpoints: written atomically, verified by a checksum, loaded without executing pickled code.

A checkpoint is a dictionary of tensors, numbers, strings, lists and dictionaries with the header
``format``, ``version`` and ``config``. Everything that decides how training goes on is in it, so
that a resumed run equals the uninterrupted one. From version 2 on its file is sealed
(:mod:`hypemarl.files`); version 1, from before, loads with a note. All calls are local: rank 0
makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch

from hypemarl import files
from hypemarl.config import Config, ConfigError, EnvConfig, mesh_files, to_dict
from hypemarl.config.external import external_of
from hypemarl.config.migration import migrated, system_of
from hypemarl.config.sources import has_moved
from hypemarl.mpi import note
from hypemarl.training import metrics
from hypemarl.training.learner import algorithm_of
from hypemarl.types import Record, Row

FORMAT = "hypemarl-checkpoint"
VERSION = 2
BEFORE_CHECKSUMS = 1
_RESTORE = "restore it from a copy, or train again with --overwrite"

# What may differ between a run and its continuation without changing what was learned so far.
FREE_KEYS = frozenset(
    {"description", "code", "training.episodes", "training.device", "training.tensorboard"}
    | {"training.checkpoint_every", "training.held_out_size", "training.diagnose_every"}
    | {"env.external.sha256"}  # a change of the source is said, see loop.train
)


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged, foreign, or belongs to another run."""


def save(path: str | Path, state: Record, config: Config) -> None:
    """Write ``state`` under the header; the old file stays whole until the new one is.

    Raises CheckpointError: the file system refused, as on a full disk.
    """
    path = Path(path)
    content = {"format": FORMAT, "version": VERSION, "config": to_dict(config), **state}
    try:
        files.write_sealed(path, lambda stream: torch.save(content, stream))
    except files.WriteError as error:
        last = path.with_name("last.pt")  # of best.pt too: training goes on from there
        raise CheckpointError(f"{error}; {metrics.how_to_go_on(last)}") from error


def load(path: str | Path) -> Row:
    """Read a checkpoint onto the CPU. Raises :class:`CheckpointError` on anything else."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; train first, or name another run")
    try:
        with files.open_sealed(path) as (stream, sealed):
            content = _read(path, stream)
    except files.DamagedError as error:
        raise CheckpointError(f"{error}; {_RESTORE}") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); {_RESTORE}") from error
    _check_header(path, content)
    if content["version"] == BEFORE_CHECKSUMS:
        note(f"{path}: written before checkpoints had checksums, so that damage is not noticed")
    elif not sealed:
        raise CheckpointError(f"{path}: damaged: its checksum is missing; {_RESTORE}")
    return dict(content)


def _read(path: Path, stream: IO[bytes]) -> Row:
    try:
        return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # anything: a damaged file of version 1, or none of ours
        raise CheckpointError(
            f"{path}: expected a {FORMAT} file, got {path.stat().st_size} bytes that do not load "
            f"as plain tensors (truncated, foreign, or holding code); {_RESTORE}"
        ) from error


def _check_header(path: Path, content: object) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        actual = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(
            f"{path}: expected format {FORMAT!r}, got {actual!r}; it was not written by hypemarl"
        )
    if content.get("version") not in (BEFORE_CHECKSUMS, VERSION):
        raise CheckpointError(
            f"{path}: expected version {BEFORE_CHECKSUMS} or {VERSION}, got "
            f"{content.get('version')!r}; use the hypemarl version that wrote it"
        )


def entry(path: str | Path, stored: Record, *names: str) -> Any:
    """Value under nested names in a checkpoint. Raises :class:`CheckpointError`."""
    value: Any = stored
    for k, name in enumerate(names):
        if not isinstance(value, Mapping) or name not in value:
            raise CheckpointError(
                f"{path}: lacks the entry {'.'.join(names[: k + 1])!r}; use the hypemarl version "
                "that wrote it, or train again with --overwrite"
            )
        value = value[name]
    return value


def check_entries(path: str | Path, stored: Record, expected: Iterable[str]) -> None:
    """Raise :class:`CheckpointError` where a whole state has other entries than ``expected``."""
    names = {"format", "version", "config", *expected}
    for name in sorted(names - stored.keys()):
        entry(path, stored, name)
    if unknown := sorted(map(str, stored.keys() - names)):
        raise CheckpointError(
            f"{path}: has entries that are unknown here: {', '.join(unknown)[:200]}; use the "
            "hypemarl version that wrote it"
        )


def check_config(path: str | Path, content: Record, config: Config) -> None:
    """Raise :class:`CheckpointError` where ``config`` would not continue the stored run.

    A key that is younger than the checkpoint counts as its default there, and what the algorithm
    does not read may differ.
    """
    settings = entry(path, content, "config")
    if not isinstance(settings, Mapping):
        raise CheckpointError(f"{path}: its config is no mapping but {type(settings).__name__}")
    stored = completed(settings)
    expected = flat(to_dict(config))
    reads = algorithm_of(config).reads
    same_files = _compare_files(config, stored, expected) | _moved_source(config, stored)
    differing = [
        f"{name} is {stored.get(name)!r} there, {expected.get(name)!r} here"
        for name in sorted(stored.keys() | expected.keys())
        if name not in FREE_KEYS | same_files and stored.get(name) != expected.get(name)
        if reads(name)
    ]
    if differing:
        raise CheckpointError(
            f"{path}: written by another configuration: {'; '.join(differing)}. Take these "
            "settings back, or start a new run folder"
        )


def _compare_files(config: Config, stored: Row, expected: Row) -> frozenset[str]:
    """Normalise the entries on mesh files; returns the keys that need no comparison.

    A file may have moved where its content is known to be the same.
    """
    names = frozenset(f"env.mesh.{name}" for name in mesh_files.NAMES)
    for name in names:
        for settings in (stored, expected):
            if settings[name] is not None:
                settings[name] = str(Path(settings[name]).absolute())
    if stored[mesh_files.HASH] is None:  # from before there were hashes, or without files
        return frozenset({mesh_files.HASH})
    if expected[mesh_files.HASH] is None:
        try:
            expected[mesh_files.HASH] = mesh_files.content(config.env)
        except ConfigError:  # gone: it differs from what is stored
            return frozenset()
    return names


def _moved_source(config: Config, stored: Row) -> frozenset[str]:
    """The key of the source of an external environment whose files have moved unchanged."""
    external = external_of(config.env)
    if external is None:
        return frozenset()
    key, sha256 = (f"env.{config.env.system}.{name}" for name in ("source", "sha256"))
    same = has_moved(str(stored[key]), str(stored[sha256]), external.source)
    return frozenset({key}) if same else frozenset()


def restore(path: str | Path, parts: Mapping[str, tuple[Callable[[Any], None], Any]]) -> None:
    """Hand each stored part to its loader: ``{"agent": (agent.load_state_dict, state)}``."""
    for name, (loader, state) in parts.items():
        try:
            loader(state)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            absent = isinstance(error, KeyError)
            reason = f"it lacks {error}" if absent else " ".join(str(error).split())[:300]
            raise CheckpointError(
                f"{path}: its {name} does not fit this run ({reason}); evaluate or resume it with "
                "the configuration that wrote it"
            ) from error


def completed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their full keys; those that are younger than ``settings`` at their defaults.

    Raises ConfigError: they name a system that is unknown here.
    """
    system = system_of(settings)
    defaults = to_dict(Config(env=EnvConfig(system=system)))
    return flat(defaults) | flat(migrated(settings, system))


def flat(settings: Record) -> Row:
    """Nested settings by their full keys, such as ``agent.gamma``."""
    return dict(_items(settings, ""))


def _items(settings: Record, prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _items(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
