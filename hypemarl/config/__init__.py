"""Every setting, its default and meaning, in one place: frozen dataclasses <-> YAML.

A scenario (``hypemarl/scenarios/<name>.yaml``) or a user's YAML file holds only what differs from
the defaults of :mod:`hypemarl.config.schema`; command-line overrides (``agent.gamma=0.95``) come
last. Unknown keys are fatal, and so are combinations that cannot work: :func:`load` names them.
"""

from hypemarl.config.checks import check_training
from hypemarl.config.errors import ConfigError, quoted
from hypemarl.config.external import ExternalConfig
from hypemarl.config.loading import (
    choices,
    explain,
    from_dict,
    load,
    load_file,
    override,
    scenario_of,
    scenarios,
    to_dict,
    to_yaml,
    yaml_value,
)
from hypemarl.config.migration import RenamedKey
from hypemarl.config.registry import ALGORITHMS, SYSTEMS, Registered
from hypemarl.config.schema import (
    AgentConfig,
    Config,
    EnvConfig,
    MeshConfig,
    TrainingConfig,
    options_of,
)
from hypemarl.config.sources import trusted

__all__ = [
    "ALGORITHMS",
    "SYSTEMS",
    "AgentConfig",
    "Config",
    "ConfigError",
    "EnvConfig",
    "ExternalConfig",
    "MeshConfig",
    "Registered",
    "RenamedKey",
    "TrainingConfig",
    "check_training",
    "choices",
    "explain",
    "from_dict",
    "load",
    "load_file",
    "options_of",
    "override",
    "quoted",
    "scenario_of",
    "scenarios",
    "to_dict",
    "to_yaml",
    "trusted",
    "yaml_value",
]
