"""The system ``flow``: agents that blow and suck on a disc in a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypemarl.config import FlowConfig
from hypemarl.systems.registry import System

if TYPE_CHECKING:
    from mpi4py import MPI

    from hypemarl.config import EnvConfig
    from hypemarl.coupling.plant import Plant
    from hypemarl.coupling.validation import Findings
    from hypemarl.meshing import RawMesh


def _make(config: EnvConfig, comm: MPI.Intracomm) -> Plant:
    from hypemarl.meshing import build
    from hypemarl.systems.flow.plant import FlowPlant

    return FlowPlant(config, build(config.mesh, comm))


def _examine(config: EnvConfig, raw: RawMesh) -> Findings:
    from hypemarl.systems.flow.mesh_checks import examine

    return examine(config, raw)


FLOW = System("flow", _make, FlowConfig, examine=_examine)
