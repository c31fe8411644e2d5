"""Checks of a flow's mesh: a disc in a channel, and times that fit its size."""

from __future__ import annotations

from hypemarl.config import EnvConfig
from hypemarl.coupling.validation import Findings, time_scale_notes
from hypemarl.meshing import RawMesh
from hypemarl.meshing.boundary import BoundaryRoles, Role, examine_boundary


def examine(config: EnvConfig, raw: RawMesh) -> Findings:
    """Compare a whole mesh with the flow problem of ``config``. Local."""
    side: Role = "slip" if config.flow.walls == "slip" else "no-slip"
    tags: dict[str, Role] = {"inflow": "inflow", "outflow": "outflow"}
    tags |= {"bottom": side, "top": side, "disc": "body"}
    boundary, faults = examine_boundary(raw, BoundaryRoles("env.system=flow", tags, profiled=True))
    notes = [] if faults else time_scale_notes(config, raw, "disc", config.flow.develop_time)
    return Findings(boundary, None, tuple(faults), tuple(notes))
