"""The systems ``density`` and ``density-fluid``: agents that push a density around."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypemarl.systems.registry import System

if TYPE_CHECKING:
    from mpi4py import MPI

    from hypemarl.config import EnvConfig
    from hypemarl.coupling.plant import Plant
    from hypemarl.coupling.validation import Findings
    from hypemarl.meshing import RawMesh


def _make(config: EnvConfig, comm: MPI.Intracomm) -> Plant:
    from hypemarl.meshing import build
    from hypemarl.systems.density.plant import DensityPlant

    return DensityPlant(config, build(config.mesh, comm))


def _make_in_fluid(config: EnvConfig, comm: MPI.Intracomm) -> Plant:
    from hypemarl.meshing import build
    from hypemarl.systems.density.in_fluid import DensityFluidPlant

    return DensityFluidPlant(config, build(config.mesh, comm))


def _examine(config: EnvConfig, raw: RawMesh) -> Findings:
    from hypemarl.systems.density.mesh_checks import examine

    return examine(config, raw)


DENSITY = System("density", _make, examine=_examine)
DENSITY_FLUID = System("density-fluid", _make_in_fluid, examine=_examine)
