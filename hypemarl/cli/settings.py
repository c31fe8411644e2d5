"""From the command line to a configuration."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from hypemarl import config as configuration
from hypemarl.config import Config, ConfigError
from hypemarl.config.sources import absolute, permitted


def load_config(given: argparse.Namespace) -> Config:
    """The configuration that a command line asks for. Local.

    Raises:
        ConfigError: it names neither scenario nor environment, or settings that cannot be.
    """
    scenario, source = given.scenario, getattr(given, "env", None)
    if scenario is None:
        if source is None:
            raise ConfigError("name a scenario (hypemarl list), or an environment by --env SOURCE")
        scenario = configuration.scenario_of(source)
    config = configuration.load(scenario, overrides(given))
    # a file is found from everywhere, also when the run is evaluated in another folder
    external = dataclasses.replace(config.env.external, source=absolute(config.env.external.source))
    return dataclasses.replace(config, env=dataclasses.replace(config.env, external=external))


def check_trust(config: Config) -> None:
    """Refuse to import what only a file names, ahead of all work."""
    if config.env.system == "external":
        permitted(config.env.external)


def needs_pde(config: Config, command: str) -> None:
    """Refuse an external environment where ``command`` cannot do without a PDE."""
    if config.env.system == "external":
        raise ConfigError(
            f"{command} needs a PDE, with its mesh, fields or parameters; {config.scenario} is an "
            f"external environment ({config.env.external.source or 'no source yet'})"
        )


def overrides(given: argparse.Namespace) -> list[str]:
    """``--set`` entries, after the options that are short for some of them."""
    short = {
        "env": "env.external.source",
        "scheme": "agent.scheme",
        "credit": "agent.credit",
        "train": "training.method",
        "seed": "seed",
        "episodes": "training.episodes",
    }
    named: dict[str, Any] = {key: getattr(given, name, None) for name, key in short.items()}
    if named["env.external.source"] is not None:
        named["env.external.source"] = absolute(named["env.external.source"])
    twice = sorted({key for key, value in named.items() if value is not None} & _set_keys(given))
    if twice:
        option = next(name for name, key in short.items() if key == twice[0])
        raise ConfigError(f"--{option} and --set {twice[0]}=... exclude each other; leave one out")
    return [
        f"{key}={configuration.yaml_value(value)}"
        for key, value in named.items()
        if value is not None
    ] + given.set


def _set_keys(given: argparse.Namespace) -> set[str]:
    return {entry.partition("=")[0].strip() for entry in given.set}


def folder_name(source: str) -> str:
    """The source of an external environment as a part of a folder's name."""
    parts = [Path(part).stem if part.endswith(".py") else part for part in source.split(":")]
    return "-".join(parts).replace("|", "-").replace("/", "-")
