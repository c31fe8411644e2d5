"""Checks of a shape's mesh: an obstacle in a channel, and times that fit its size."""

from __future__ import annotations

from hypemarl.config import EnvConfig, options_of
from hypemarl.coupling.validation import Findings, time_scale_notes
from hypemarl.meshing import RawMesh
from hypemarl.meshing.boundary import BoundaryRoles, examine_boundary
from hypemarl.systems.shape.options import ShapeOptions

ROLES = BoundaryRoles(
    "env.system=shape",
    {
        "inflow": "inflow",
        "outflow": "outflow",
        "bottom": "stream",
        "top": "stream",
        "obstacle": "body",
    },
)


def examine(config: EnvConfig, raw: RawMesh) -> Findings:
    """Compare a whole mesh with the shape problem of ``config``. Local."""
    boundary, faults = examine_boundary(raw, ROLES)
    options = options_of(config, ShapeOptions)
    timed = options.mode == "unsteady" and not faults
    notes = time_scale_notes(config, raw, "obstacle", options.speed) if timed else []
    return Findings(boundary, None, tuple(faults), tuple(notes))
