"""Mesh files bound to a run: by absolute path, and by the hash of their content."""

import hashlib
from dataclasses import replace
from pathlib import Path

from hypemarl import files
from hypemarl.config.errors import ConfigError
from hypemarl.config.schema import Config, EnvConfig
from hypemarl.types import Row

HASH = "env.mesh.files_sha256"
NAMES = ("file", "facet_file", "obstacle_file")
"""Keys of ``env.mesh`` that name a file; in :func:`used` those that the mesh is made from."""


def used(env: EnvConfig) -> dict[str, Path]:
    """The files that the mesh is made from, by their key in ``env.mesh``."""
    mesh, named = env.mesh, dict[str, str | None]()
    if mesh.file is not None:
        named = {"file": mesh.file, "facet_file": mesh.facet_file}
    elif mesh.obstacle == "points":
        named = {"obstacle_file": mesh.obstacle_file}
    return {name: Path(path) for name, path in named.items() if path is not None}


def content(env: EnvConfig) -> str | None:
    """SHA-256 of the files' contents, None where the mesh needs no file. Local.

    Raises:
        ConfigError: a file is missing or cannot be read, or names files that are not beside it.
    """
    digests = []
    for name, path in used(env).items():
        try:
            digests.append(files.content_hash(path))
        except OSError as error:
            raise ConfigError(unreadable(path, name, error)) from error
        except ValueError as error:
            raise ConfigError(f"env.mesh.{name}: {path}: {error}") from error
    return hashlib.sha256("".join(digests).encode()).hexdigest() if digests else None


def unreadable(path: Path, name: str, error: OSError | None = None) -> str:
    """The sentence for the file ``path`` of ``env.mesh.<name>`` that is absent or unreadable."""
    fault = "no such mesh file"
    if error is not None and not isinstance(error, FileNotFoundError):
        fault = f"cannot be read ({error.strerror})"
    return (
        f"{path}: {fault}; check env.mesh.{name} (relative to {Path.cwd()}): put the file back, or "
        f"name where it is now: --set env.mesh.{name}=FILE, for a run that is evaluated in its "
        "config.yaml"
    )


def bind(config: Config) -> Config:
    """``config`` with absolute paths of its mesh files and the hash of their contents. Local.

    Raises:
        ConfigError: a file does not exist, or its content does not fit the hash in ``config``.
    """
    digest = content(config.env)
    _require_same(config.env, digest)
    env = located(config.env)
    return replace(config, env=replace(env, mesh=replace(env.mesh, files_sha256=digest)))


def located(env: EnvConfig) -> EnvConfig:
    """``env`` with absolute paths of its mesh files, found from every folder. Local."""
    paths: Row = {name: str(path.absolute()) for name, path in used(env).items()}
    return replace(env, mesh=replace(env.mesh, **paths))


def check(env: EnvConfig) -> None:
    """Raise :class:`ConfigError` where mesh files are not those of ``env``'s hash. Local."""
    if env.mesh.files_sha256 is not None:
        _require_same(env, content(env))


def _require_same(env: EnvConfig, digest: str | None) -> None:
    bound = env.mesh.files_sha256
    if None not in (bound, digest) and digest != bound:
        named = ", ".join(f"env.mesh.{name} = {path}" for name, path in used(env).items())
        raise ConfigError(
            f"{named}: another mesh under this name: {HASH} is {str(bound)[:12]}... where the run "
            f"was trained, {str(digest)[:12]}... here. Put the old file back; for a new problem "
            f"leave {HASH} null and train a new run"
        )
