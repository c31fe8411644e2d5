"""From the command line to a configuration: values, overrides, and which sources are trusted."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from hypemarl import config as configuration
from hypemarl.config import Config, ConfigError
from hypemarl.config.external import external_of
from hypemarl.config.sources import absolute, permitted
from hypemarl.config.user_code import code_in
from hypemarl.config.yaml_text import read_file

PICTURES = (".png", ".pdf", ".svg")


def integer(low: int = 1) -> Callable[[str], int]:
    """Parser type: an integer of ``low`` or more. The parser raises ArgumentTypeError."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(f"expected an integer of {low} or more, got {text!r}")
        return value

    return convert


def number(above: float = -math.inf) -> Callable[[str], float]:
    """Parser type: a finite number above ``above``. The parser raises ArgumentTypeError."""
    limit = f" above {above:g}" if math.isfinite(above) else ""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > above):
            raise argparse.ArgumentTypeError(f"expected a finite number{limit}, got {text!r}")
        return value

    return convert


def folder(text: str) -> str:
    """Parser type: the name of a folder, not empty. Raises ArgumentTypeError."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"expected a folder's name, got {text!r}")
    return text


def picture(text: str) -> str:
    """Parser type: the name of a picture in one of :data:`PICTURES`. Raises ArgumentTypeError."""
    if Path(text).suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(f"expected a name in {', '.join(PICTURES)}, got {text!r}")
    return text


def named_seeds(arguments: argparse.Namespace) -> list[int] | None:
    """The seeds of ``--seeds``, None without the option.

    Raises ConfigError: a seed is repeated, or ``--set seed=...`` stands beside ``--seeds``.
    """
    seeds: list[int] | None = arguments.seeds
    listed = seeds or []
    repeated = [seed for seed in listed if listed.count(seed) > 1]
    if repeated:
        raise ConfigError(
            f"--seeds {' '.join(map(str, listed))}: expected each seed once; {repeated[0]} is "
            f"there {listed.count(repeated[0])} times"
        )
    if seeds is not None:
        require_once(arguments, {"seed": "seeds"})
    return seeds


def require_once(arguments: argparse.Namespace, options: Mapping[str, str]) -> None:
    """Refuse ``--set KEY=...`` beside an option (key to option) that sets the same."""
    for entry in getattr(arguments, "set", []):
        key = entry.partition("=")[0].strip()
        if key in options:
            raise ConfigError(
                f"--{options[key]} and --set {key}=... exclude each other; leave out --set {key}"
            )


def load_config(arguments: argparse.Namespace) -> Config:
    """The configuration that a command line asks for. Local.

    Raises ConfigError: it names neither scenario nor environment, or a setting is invalid.
    """
    scenario, source = arguments.scenario, getattr(arguments, "env", None)
    if scenario is None:
        if source is None:
            raise ConfigError("name a scenario (hypemarl list), or an environment by --env SOURCE")
        scenario = configuration.scenario_of(source)
    return located(configuration.load(scenario, overrides(arguments)))


def located(config: Config) -> Config:
    """``config`` with the path of its external environment made absolute."""
    external = external_of(config.env)
    if external is None:
        return config
    external = dataclasses.replace(external, source=absolute(external.source))
    return dataclasses.replace(config, env=dataclasses.replace(config.env, options=external))


def check_trust(config: Config) -> None:
    """Raise ConfigError where an external environment is named by a file only and not trusted."""
    if (external := external_of(config.env)) is not None:
        permitted(external)


def needs_pde(config: Config, command: str) -> None:
    """Raise ConfigError where ``config`` has no PDE, which ``command`` needs."""
    if (external := external_of(config.env)) is not None:
        raise ConfigError(
            f"{command} needs a PDE, with its mesh, fields or parameters; {config.scenario} is an "
            f"external environment ({external.source or 'no source yet'})"
        )


def overrides(arguments: argparse.Namespace) -> list[str]:
    """Overrides ``key=value``: of short options such as ``--seed``, then the ``--set`` entries."""
    short = {
        "env": "env.external.source",
        "scheme": "agent.scheme",
        "credit": "agent.credit",
        "train": "training.algorithm",
        "seed": "seed",
        "episodes": "training.episodes",
    }
    named = {key: name for name, key in short.items() if getattr(arguments, name, None) is not None}
    require_once(arguments, named)
    values = {key: getattr(arguments, name) for key, name in named.items()}
    if source := values.get("env.external.source"):
        values["env.external.source"] = absolute(source)
    return [
        f"{key}={configuration.yaml_value(value)}" for key, value in values.items()
    ] + arguments.set


def folder_name(source: str) -> str:
    """The source of an external environment as a part of a folder's name."""
    parts = [Path(part).stem if part.endswith(".py") else part for part in source.split(":")]
    return "-".join(parts).replace("|", "-").replace("/", "-")


_SOURCE_KEY = "env.external.source"


def stored_code(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The user's code that is named by the runs and the file of a command with ``--trust``.

    In the form of ``--use``. Local. Raises ConfigError: a file is no YAML.
    """
    if not arguments.trust:
        return ()
    files = [Path(scenario) for scenario in _words(arguments, "scenario")]
    runs = expanded(_words(arguments, "run") + _words(arguments, "runs"))
    files += [run / "config.yaml" for run in runs]
    lists = [read_file(file).content.get("code") for file in files if file.is_file()]
    entries = [str(entry) for code in lists if isinstance(code, list) for entry in code]
    return tuple(dict.fromkeys(map(code_in, entries)))


def _words(arguments: argparse.Namespace, name: str) -> list[str]:
    """The values of an argument, as a list."""
    words = getattr(arguments, name, None) or []
    return [words] if isinstance(words, str) else list(words)


def named_sources(arguments: argparse.Namespace) -> list[str]:
    """Sources of environments that the command line names by ``--env`` or ``--set``."""
    named = [getattr(arguments, "env", None)]
    for key, _, value in (entry.partition("=") for entry in getattr(arguments, "set", [])):
        if key.strip() == _SOURCE_KEY:
            named.append(value.strip().strip("'\""))
    return [source for source in named if source]


def expanded(paths: Iterable[str]) -> list[Path]:
    """Run folders; a folder of runs stands for all of them."""
    from hypemarl.training.jobs import run_folders

    return [run for path in paths for run in run_folders(Path(path))]


def checked_runs(arguments: argparse.Namespace) -> list[Path]:
    """The runs that a command names, whose environments may be imported. Local.

    Raises ConfigError: names the run's file; or no run has the environment that ``--env`` names.
    """
    from hypemarl.training.records import RunFolder

    runs, external = expanded(arguments.runs), False
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
    if arguments.env is not None and not external:
        raise ConfigError(f"--env {arguments.env}: none of these runs has an external environment")
    return runs
