"""Mesh against problem: checks of every plant before it builds anything, serial or on ranks.

Each system states the roles of its tags once, in its own ``examine``; conditions of the solvers
follow from them. ``hypemarl mesh SCENARIO`` runs the same checks.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np

from hypemarl.config import EnvConfig
from hypemarl.meshing import MeshError, RawMesh, TaggedMesh, gather
from hypemarl.meshing.boundary import Boundary, Fault, interior_tags
from hypemarl.mpi import on_root

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
        faults: reasons why the problem cannot be solved on it. notes: of which rank 0 warns.
    """

    boundary: Boundary
    kept: tuple[int, ...] | None = None
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """All faults in one line."""
        return "; ".join(fault.text for fault in self.faults)


Examine = Callable[[EnvConfig, RawMesh], Findings]
"""A system's checks of a whole mesh. Local."""


def find(config: EnvConfig, tagged: TaggedMesh, examine: Examine) -> Findings:
    """A system's checks of a distributed mesh, equal on every rank. Collective."""
    raw = gather(tagged)
    return on_root(tagged.mesh.comm, lambda: examine(config, cast(RawMesh, raw)))


def validate(config: EnvConfig, tagged: TaggedMesh, examine: Examine) -> Findings:
    """Refuse a mesh that does not fit the problem of ``config``. Collective.

    Rank 0 warns of settings that are sound but surprising.

    Raises:
        MeshError: on every rank, with all faults: how many facets, where the first one is, and
            what to do.
    """
    findings = find(config, tagged, examine)
    if findings.faults:
        raise MeshError(findings.message)
    if tagged.mesh.comm.rank == 0:
        for note in findings.notes:
            warnings.warn(note, stacklevel=3)
    return findings


def interior_notes(raw: RawMesh) -> list[str]:
    """Notes on tagged facets inside a mesh, which a density passes. Local."""
    return [
        f"{count} facets of tag {tag!r} have cells on both sides: a density passes them, as there "
        "is a boundary only where the mesh ends"
        for tag, count in interior_tags(raw).items()
    ]


def time_scale_notes(
    config: EnvConfig, raw: RawMesh, body: str, speed: float, develop_time: float | None = None
) -> list[str]:
    """Notes on an unsteady flow's times against D / U of the body with the tag ``body``. Local.

    ``speed``: U; ``develop_time``: that a flow marches from rest before an episode, or None.
    """
    outline = raw.points[np.unique(raw.members(body))]
    diameter = float(np.ptp(outline, axis=0).max())
    unit, notes = diameter / speed, []
    scale = f"D / U, with D = {diameter:.3g} and U = {speed:g}"
    hint = "are the mesh's lengths in the units of env.flow.speed?"
    if develop_time is not None and develop_time < DEVELOPED * unit:
        notes.append(
            f"env.flow.develop_time={develop_time:g} is {develop_time / unit:.3g} "
            f"{scale}: below about {DEVELOPED:g} the wake is not developed when an episode starts; "
            f"{hint} else take {2.0 * DEVELOPED * unit:.3g}"
        )
    if config.horizon < EPISODE * unit:
        notes.append(
            f"env.horizon={config.horizon:g} is {config.horizon / unit:.3g} {scale}: the fluid "
            f"does not pass the body within an episode; {hint}"
        )
    return notes
