"""Checkpoints: written atomically, loaded without executing pickled code.

A checkpoint is a dictionary of tensors, numbers, strings, lists and dictionaries with the header
``format``, ``version`` and ``config``. Everything that decides how training goes on is in it, so
that a resumed run equals the uninterrupted one. All calls are local: rank 0 makes them.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch

from hypemarl.config import Config, to_dict

FORMAT = "hypemarl-checkpoint"
VERSION = 1

# What may differ between a run and its continuation without changing what was learned so far.
FREE_KEYS = frozenset(
    {"description", "training.episodes", "training.device", "training.tensorboard"}
    | {"training.checkpoint_every", "training.held_out_size", "training.diagnose_every"}
    | {"env.external.sha256"}  # a change of the source is said, see loop.train
)

OFF_POLICY_KEYS = frozenset(
    f"agent.{name}"
    for name in (
        "actor_rate",
        "adjoint_step",
        "average_rate",
        "batch_episodes",
        "batch_steps",
        "cloning",
        "credit",
        "credit_radius",
        "critic_rate",
        "exploration_noise",
        "gamma",
        "huber",
        "map_channels",
        "policy_delay",
        "replay_episodes",
        "reward_clip",
        "reward_scale",
        "target_noise",
        "target_noise_clip",
        "tau",
        "time_left",
        "trace",
    )
) | {"training.random_episodes", "training.random_scale", "training.updates_per_step"}
"""Settings that only methods with a replay read."""


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged, foreign, or belongs to another run."""


def save(path: str | Path, state: Mapping[str, Any], config: Config) -> None:
    """Write ``state`` under the header; the old file stays whole until the new one is."""
    content = {"format": FORMAT, "version": VERSION, "config": to_dict(config), **state}
    write_atomically(Path(path), lambda stream: torch.save(content, stream))


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU. Raises :class:`CheckpointError` on anything else."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; train first, or name another run")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        pickle.UnpicklingError,
    ) as error:
        reason = str(error).strip().splitlines()
        raise CheckpointError(
            f"{path}: expected a {FORMAT} file, got {path.stat().st_size} bytes that do not load "
            f"as plain tensors (truncated, foreign, or holding code: "
            f"{reason[0] if reason else type(error).__name__}); "
            "restore it from a copy, or train again with --overwrite"
        ) from error
    _check_header(path, content)
    return dict(content)


def _check_header(path: Path, content: Any) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(
            f"{path}: expected format {FORMAT!r}, got {found!r}; it was not written by hypemarl"
        )
    if content.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: expected version {VERSION}, got {content.get('version')!r}; use the hypemarl "
            "version that wrote it"
        )


def check_config(path: str | Path, content: Mapping[str, Any], config: Config) -> None:
    """Raise :class:`CheckpointError` where ``config`` would not continue what is stored.

    A key that is younger than the checkpoint counts as its default there, and what the method of
    training does not read may differ.
    """
    stored = _flat(to_dict(Config())) | _flat(content["config"])
    wanted = _flat(to_dict(config))
    differing = [
        f"{name} is {stored.get(name)!r} there, {wanted.get(name)!r} here"
        for name in sorted(stored.keys() | wanted.keys())
        if name not in FREE_KEYS and stored.get(name) != wanted.get(name)
        if not _idle(name, wanted["training.method"])
    ]
    if differing:
        raise CheckpointError(
            f"{path}: written by another configuration: {'; '.join(differing)}. Take these "
            "settings back, or start a new run folder"
        )


def _idle(name: str, method: str) -> bool:
    """Whether a method of training does not read a setting."""
    if name.startswith("agent.surrogate."):
        return method not in ("mbpg", "dyna")
    if method in ("td3", "mbpg", "dyna"):
        return name.startswith(("agent.apg_", "agent.imitate_", "agent.irl_"))
    return method in ("apg", "imitate") and name in OFF_POLICY_KEYS


def restore(path: str | Path, parts: Mapping[str, tuple[Callable[[Any], None], Any]]) -> None:
    """Hand each stored part to its loader: ``{"agent": (agent.load_state_dict, state)}``."""
    for name, (loader, state) in parts.items():
        try:
            loader(state)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{path}: its {name} does not fit this run ({error}); evaluate or resume it with "
                "the configuration that wrote it"
            ) from error


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    return dict(_items(settings, prefix))


def _items(settings: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _items(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, sync it, and put it in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
