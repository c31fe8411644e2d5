"""From the command line to a configuration."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from hypemarl import config as configuration
from hypemarl.cli.values import require_once
from hypemarl.config import Config, ConfigError
from hypemarl.config.external import external_of
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
    return located(configuration.load(scenario, overrides(given)))


def located(config: Config) -> Config:
    """``config`` with the path of its environment's file absolute: found from every folder."""
    external = external_of(config.env)
    if external is None:
        return config
    external = dataclasses.replace(external, source=absolute(external.source))
    return dataclasses.replace(config, env=dataclasses.replace(config.env, options=external))


def check_trust(config: Config) -> None:
    """Refuse to import what only a file names, ahead of all work."""
    if (external := external_of(config.env)) is not None:
        permitted(external)


def needs_pde(config: Config, command: str) -> None:
    """Refuse an external environment where ``command`` cannot do without a PDE."""
    if (external := external_of(config.env)) is not None:
        raise ConfigError(
            f"{command} needs a PDE, with its mesh, fields or parameters; {config.scenario} is an "
            f"external environment ({external.source or 'no source yet'})"
        )


def overrides(given: argparse.Namespace) -> list[str]:
    """``--set`` entries, after the options that are short for some of them."""
    short = {
        "env": "env.external.source",
        "scheme": "agent.scheme",
        "credit": "agent.credit",
        "train": "training.algorithm",
        "seed": "seed",
        "episodes": "training.episodes",
    }
    named = {key: name for name, key in short.items() if getattr(given, name, None) is not None}
    require_once(given, named)
    values = {key: getattr(given, name) for key, name in named.items()}
    if source := values.get("env.external.source"):
        values["env.external.source"] = absolute(source)
    return [f"{key}={configuration.yaml_value(value)}" for key, value in values.items()] + given.set


def folder_name(source: str) -> str:
    """The source of an external environment as a part of a folder's name."""
    parts = [Path(part).stem if part.endswith(".py") else part for part in source.split(":")]
    return "-".join(parts).replace("|", "-").replace("/", "-")
