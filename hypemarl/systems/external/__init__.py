"""Environments that are no PDE: their own package steps them (:mod:`hypemarl.envs.external`)."""

from hypemarl.config.external import NAME, ExternalConfig, check, check_training
from hypemarl.systems.registry import System, deferred

SYSTEMS = (
    System(
        name=NAME,
        options=ExternalConfig,
        check=check,
        check_training=check_training,
        context=("target",),  # which nothing reads; configurations of version 0.1 hold it
        make=deferred("hypemarl.envs.external.env:ExternalEnv"),
    ),
)
