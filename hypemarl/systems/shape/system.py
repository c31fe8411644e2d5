"""The system ``shape``: agents that move the boundary of an obstacle in a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypemarl.config.shape import ShapeConfig
from hypemarl.systems.registry import System

if TYPE_CHECKING:
    from mpi4py import MPI

    from hypemarl.config import EnvConfig
    from hypemarl.coupling.plant import Plant
    from hypemarl.coupling.validation import Findings
    from hypemarl.meshing import RawMesh


def _make(config: EnvConfig, comm: MPI.Intracomm) -> Plant:
    from hypemarl.systems.shape.plant import ShapePlant
    from hypemarl.systems.shape.unsteady import UnsteadyShapePlant

    return (ShapePlant if config.shape.mode == "steady" else UnsteadyShapePlant)(config, comm)


def _examine(config: EnvConfig, raw: RawMesh) -> Findings:
    from hypemarl.systems.shape.mesh_checks import examine

    return examine(config, raw)


SHAPE = System("shape", _make, ShapeConfig, examine=_examine)
