"""Which plant a configuration names."""

from __future__ import annotations

from collections.abc import Callable

from mpi4py import MPI

from hypemarl.config import EnvConfig, mesh_files
from hypemarl.coupling.plant import Plant
from hypemarl.envs.array_env import ArrayEnv
from hypemarl.envs.external.env import ExternalEnv
from hypemarl.envs.parallel import PDEEnv
from hypemarl.meshing import build
from hypemarl.mpi import on_root, world
from hypemarl.systems.density.in_fluid import DensityFluidPlant
from hypemarl.systems.density.plant import DensityPlant
from hypemarl.systems.flow.plant import FlowPlant
from hypemarl.systems.shape.plant import ShapePlant
from hypemarl.systems.shape.unsteady import UnsteadyShapePlant


def _density(config: EnvConfig, comm: MPI.Intracomm) -> Plant:
    return DensityPlant(config, build(config.mesh, comm))


def _density_fluid(config: EnvConfig, comm: MPI.Intracomm) -> Plant:
    return DensityFluidPlant(config, build(config.mesh, comm))


def _flow(config: EnvConfig, comm: MPI.Intracomm) -> Plant:
    return FlowPlant(config, build(config.mesh, comm))


def _shape(config: EnvConfig, comm: MPI.Intracomm) -> Plant:
    plant = ShapePlant if config.shape.mode == "steady" else UnsteadyShapePlant
    return plant(config, comm)


SYSTEMS: dict[str, Callable[[EnvConfig, MPI.Intracomm], Plant]] = {
    "density": _density,
    "density-fluid": _density_fluid,
    "flow": _flow,
    "shape": _shape,
}


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
    if config.system == "external":
        return ExternalEnv(config, comm or world())
    comm = comm or world()
    on_root(comm, lambda: mesh_files.check(config))
    return PDEEnv(SYSTEMS[config.system](config, comm), config, make)
