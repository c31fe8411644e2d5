"""The environment that a configuration names."""

from __future__ import annotations

from typing import cast

from mpi4py import MPI

from hypemarl.config import EnvConfig, mesh_files
from hypemarl.coupling.plant import Plant
from hypemarl.envs.array_env import ArrayEnv
from hypemarl.envs.parallel import PDEEnv
from hypemarl.mpi import on_root, world
from hypemarl.systems.registry import system_of


def make(config: EnvConfig, comm: MPI.Intracomm | None = None) -> ArrayEnv:
    """The environment of ``config`` on ``comm`` (default: the world). Collective.

    A :class:`PDEEnv`, or for ``system: external`` an :class:`ExternalEnv`, which has the same array
    calls and no plant. Raises ConfigError where the files of the mesh are not those that ``config``
    was bound to (:mod:`hypemarl.config.mesh_files`).

    Example:
        >>> from hypemarl import config, envs
        >>> env = envs.make(config.load("density-1d").env)
        >>> observations, infos = env.reset(seed=0)
    """
    comm = comm or world()
    on_root(comm, lambda: mesh_files.check(config))
    made = system_of(config).make(config, comm)
    return PDEEnv(made, config, make) if isinstance(made, Plant) else cast("ArrayEnv", made)
