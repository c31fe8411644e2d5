"""Mesh against problem: what every plant checks before it builds anything, serial or on ranks.

Each system states the roles of its tags once, in :func:`roles_of`; conditions of the solvers follow
from them. ``hypemarl mesh SCENARIO`` runs the same checks.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hypemarl.config import EnvConfig
from hypemarl.meshing import MeshError, RawMesh, TaggedMesh, gather
from hypemarl.meshing.boundary import (
    Boundary,
    BoundaryRoles,
    Fault,
    Role,
    examine_boundary,
    interior_tags,
)
from hypemarl.mpi import on_root
from hypemarl.systems.density.mesh_checks import examine_density

DEVELOPED = 15.0
"""Time from rest, in diameters over speed, below which a note says that the wake is not developed:
the disc's turn takes 5 of them, the wake about 10 more."""
EPISODE = 1.0
"""The same of an episode: in less than this no fluid passes the body."""


@dataclass(frozen=True)
class Findings:
    """A mesh as one problem sees it.

    Attributes:
        boundary: conditions and direction of the stream.
        kept: boxes of a density's agents that hold cells, None where all do.
        faults: why the problem cannot be solved on it. notes: what is worth a warning.
    """

    boundary: Boundary
    kept: tuple[int, ...] | None = None
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """All faults in one line."""
        return "; ".join(fault.text for fault in self.faults)


def roles_of(config: EnvConfig) -> BoundaryRoles:
    """Conditions that the system of ``config`` has on its tags."""
    name, wall = f"env.system={config.system}", getattr(config.options, "walls", "")
    if config.system == "flow":
        side: Role = "slip" if wall == "slip" else "no-slip"
        tags: dict[str, Role] = {"inflow": "inflow", "outflow": "outflow"}
        return BoundaryRoles(
            name, tags | {"bottom": side, "top": side, "disc": "body"}, profiled=True
        )
    if config.system == "shape":
        tags = {"inflow": "inflow", "outflow": "outflow", "bottom": "stream", "top": "stream"}
        return BoundaryRoles(name, tags | {"obstacle": "body"})
    if config.system == "density-fluid":
        return CARRIER
    return BoundaryRoles(name)


CARRIER = BoundaryRoles(
    "env.system=density-fluid",
    {"bottom": "inflow", "top": "outflow", "left": "slip", "right": "slip", "disc": "body"},
    profiled=True,
)


def examine(config: EnvConfig, raw: RawMesh) -> Findings:
    """Compare a whole mesh with the problem of ``config``. Local."""
    roles = roles_of(config)
    boundary, faults = examine_boundary(raw, roles)
    kept, notes = None, [] if roles.tags else _inside(raw)
    if config.system.startswith("density"):
        kept, more, surprising = examine_density(config, raw)
        faults, notes = faults + more, notes + surprising
    elif not faults:
        notes += _time_scales(config, raw)
    return Findings(boundary, kept, tuple(faults), tuple(notes))


def find(config: EnvConfig, tagged: TaggedMesh) -> Findings:
    """The same of a distributed mesh, equal on every rank. Collective."""
    raw = gather(tagged)
    return on_root(tagged.mesh.comm, lambda: examine(config, _whole(raw)))


def validate(config: EnvConfig, tagged: TaggedMesh) -> Findings:
    """Refuse a mesh on which the problem of ``config`` is another one than it says. Collective.

    Rank 0 warns of what is sound but surprising.

    Raises:
        MeshError: on every rank, with all faults: how many facets, where the first one is, and
            what to do.
    """
    found = find(config, tagged)
    if found.faults:
        raise MeshError(found.message)
    if tagged.mesh.comm.rank == 0:
        for note in found.notes:
            warnings.warn(note, stacklevel=3)
    return found


def _whole(raw: RawMesh | None) -> RawMesh:
    assert raw is not None  # rank 0 has it
    return raw


def _inside(raw: RawMesh) -> list[str]:
    return [
        f"{count} facets of tag {tag!r} have cells on both sides: a density passes them, as there "
        "is a boundary only where the mesh ends"
        for tag, count in interior_tags(raw).items()
    ]


def _time_scales(config: EnvConfig, raw: RawMesh) -> Iterator[str]:
    """Times of an unsteady flow against D / U."""
    flow: Any = config.options
    steady = getattr(flow, "mode", "") == "steady"
    if steady:
        return
    outline = raw.points[np.unique(raw.members("disc" if config.system == "flow" else "obstacle"))]
    diameter = float(np.ptp(outline, axis=0).max())
    unit = diameter / flow.speed
    scale = f"D / U, with D = {diameter:.3g} and U = {flow.speed:g}"
    hint = "are the mesh's lengths in the units of env.flow.speed?"
    if config.system == "flow" and flow.develop_time < DEVELOPED * unit:
        yield (
            f"env.flow.develop_time={flow.develop_time:g} is {flow.develop_time / unit:.3g} "
            f"{scale}: below about {DEVELOPED:g} the wake is not developed when an episode starts; "
            f"{hint} else take {2.0 * DEVELOPED * unit:.3g}"
        )
    if config.horizon < EPISODE * unit:
        yield (
            f"env.horizon={config.horizon:g} is {config.horizon / unit:.3g} {scale}: the fluid "
            f"does not pass the body within an episode; {hint}"
        )
