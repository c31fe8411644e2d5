"""Settings of an environment that is no PDE (``env.external.*``)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypemarl.config.errors import ConfigError, refuse
from hypemarl.config.keys import key
from hypemarl.config.registry import ALGORITHMS
from hypemarl.config.schema import Config, EnvConfig, options_of
from hypemarl.config.yaml_text import read_assignments

NAME = "external"
"""of the system that such environments are, and of the scenario of any"""


@dataclass(frozen=True)
class ExternalConfig:
    """An environment that is no PDE: any PettingZoo ParallelEnv with continuous actions."""

    source: str = key(
        "",
        "pettingzoo:MODULE:FACTORY, vmas:SCENARIO or mamujoco:ROBOT[:PARTITION], "
        "see docs/external_environments.md",
    )
    options: tuple[str, ...] = key((), "arguments of the factory, each name=value (in YAML)")
    repeat: int = key(1, "steps of the environment per control step, under the same actions", low=1)
    scaling_episodes: int = key(
        0, "random episodes whose observations centre and scale all; 0: left as they are", low=0
    )
    sha256: str = key("", "of the source's Python files, filled in by `train`")

    @property
    def arguments(self) -> dict[str, Any]:
        """The options by name. Raises ConfigError where they are malformed."""
        return read_assignments(self.options, "env.external.options", "n_agents=4")


def source_in(settings: Mapping[str, Any]) -> str:
    """``env.external.source`` of nested settings, "" where they are of a PDE."""
    return str(settings.get("env", {}).get(NAME, {}).get("source", ""))


def external_of(env: EnvConfig) -> ExternalConfig | None:
    """The settings of an external environment, None where ``env`` is of a PDE."""
    return env.options if isinstance(env.options, ExternalConfig) else None


def check(config: Config) -> None:
    """Refuse malformed options. Raises ConfigError."""
    _ = options_of(config.env, ExternalConfig).arguments
    if config.env.reward_baseline:
        raise ConfigError("env.reward_baseline needs a PDE's cost: leave it out")


def check_training(config: Config) -> None:
    """Refuse algorithms and credits that need a PDE. Raises ConfigError."""
    credit, algorithm = config.agent.credit, ALGORITHMS.get(config.training.algorithm)
    refuse(
        (
            bool(algorithm.needs),
            f"training.algorithm={algorithm.name} needs the plant's adjoint or its local "
            "states, which an external environment does not offer; take td3",
        ),
        (
            credit == "adjoint",
            "agent.credit=adjoint needs the adjoint of the plant, which an external "
            "environment does not offer; take local, neighbourhood or cooperative",
        ),
        (
            credit == "central",
            "agent.credit=central needs agents on a grid, an external environment has none; "
            "take cooperative with a large agent.credit_radius, which is a central critic there",
        ),
    )
