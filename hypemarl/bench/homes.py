"""`hypemarl bench homes`: steps per second of the environments that are no PDE."""

from hypemarl import config as configuration
from hypemarl.bench.env_steps import collect
from hypemarl.config.external import external_of


def run() -> dict[str, float]:
    """Steps per second under random actions, resets included, of every external scenario.

    Flat keys: ``vmas_dispersion``, ``vmas_navigation``, ``humanoid``. Collective, on one rank.

    Raises:
        ConfigError: their packages are not installed.
    """
    loaded = [(name, configuration.load(name).env) for name in configuration.scenarios()]
    found = {name: external_of(env) for name, env in loaded}
    names = [name for name, external in found.items() if external and external.source]
    return {name.replace("-", "_"): collect(name) for name in names}
