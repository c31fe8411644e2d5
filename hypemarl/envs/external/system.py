"""The system ``external``: another package's PettingZoo environment, which has no plant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypemarl.config import ExternalConfig
from hypemarl.systems.registry import System

if TYPE_CHECKING:
    from mpi4py import MPI

    from hypemarl.config import EnvConfig
    from hypemarl.envs.external.env import ExternalEnv


def _make(config: EnvConfig, comm: MPI.Intracomm) -> ExternalEnv:
    from hypemarl.envs.external.env import ExternalEnv

    return ExternalEnv(config, comm)


EXTERNAL = System("external", _make, ExternalConfig)
