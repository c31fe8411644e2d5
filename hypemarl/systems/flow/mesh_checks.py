"""Checks of a flow's mesh: a disc in a channel, and times that fit its size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hypemarl.config import EnvConfig, options_of
from hypemarl.coupling.layout import LayoutError
from hypemarl.coupling.validation import Findings, time_scale_notes
from hypemarl.meshing import RawMesh
from hypemarl.meshing.boundary import BoundaryRoles, Fault, Role, examine_boundary
from hypemarl.systems.flow.arcs import circle_of
from hypemarl.systems.flow.options import FlowOptions


def examine(config: EnvConfig, raw: RawMesh) -> Findings:
    """Compare a whole mesh with the flow problem of ``config``. Local."""
    options = options_of(config, FlowOptions)
    side: Role = "slip" if options.walls == "slip" else "no-slip"
    tags: dict[str, Role] = {"inflow": "inflow", "outflow": "outflow"}
    tags |= {"bottom": side, "top": side, "disc": "body"}
    boundary, faults = examine_boundary(raw, BoundaryRoles("env.system=flow", tags, profiled=True))
    faults = [*faults, *_off_circle(raw)]
    scales = (options.speed, options.develop_time)
    notes = [] if faults else time_scale_notes(config, raw, "disc", *scales)
    return Findings(boundary, None, tuple(faults), tuple(notes))


def _off_circle(raw: RawMesh) -> Iterator[Fault]:
    """The fault of a disc that is no circle, or of several bodies that have its tag."""
    vertices = np.unique(raw.members("disc")) if "disc" in raw.tags else ()
    if len(vertices):
        try:
            circle_of(raw.points[vertices])
        except LayoutError as error:
            yield Fault(str(error), raw.members("disc"))
