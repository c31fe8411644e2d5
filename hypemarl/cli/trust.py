"""Options that say which external environments a command may import."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from hypemarl.config import ConfigError
from hypemarl.config.external import external_of
from hypemarl.config.sources import permitted

_SOURCE_KEY = "env.external.source"


def add_trust(parser: argparse.ArgumentParser, *, env: bool = True) -> None:
    """``--trust``, and the ``--env`` that names the environment of runs again."""
    if env:
        parser.add_argument(
            "--env",
            metavar="SOURCE",
            help="import this external environment, which the run or the file names",
        )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="import whatever environment the run or the file names, without --env",
    )


def named_sources(given: argparse.Namespace) -> list[str]:
    """Sources that stand on the command line itself, by ``--env`` or ``--set``."""
    named = [getattr(given, "env", None)]
    for key, _, value in (entry.partition("=") for entry in getattr(given, "set", [])):
        if key.strip() == _SOURCE_KEY:
            named.append(value.strip().strip("'\""))
    return [source for source in named if source]


def check_runs(runs: Iterable[Path], env: str | None) -> None:
    """Refuse runs of environments that may not be imported, ahead of all work.

    Raises:
        ConfigError: names the run's file; or no run has the environment that ``--env`` names.
    """
    from hypemarl.training.records import RunFolder

    external = False
    for folder in map(RunFolder, runs):
        config = folder.read_config().env
        settings = external_of(config)
        if settings is None:
            continue
        external = True
        try:
            permitted(settings)
        except ConfigError as error:
            raise ConfigError(f"{folder.config}: {error}") from error
    if env is not None and not external:
        raise ConfigError(f"--env {env}: none of these runs has an external environment")
