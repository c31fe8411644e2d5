"""Requirements of a problem on the boundary of its mesh: every exterior facet has exactly one role.

A facet that no condition covers is not refused by a finite-element method: the natural condition
holds there, which to a flow is an open outlet. So each problem states the roles of its tags, and a
mesh is compared with them before anything is solved. Serial, plain arrays.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hypemarl.meshing.distribute import missing_tags
from hypemarl.meshing.raw import MeshError, RawMesh, describe_centre, describe_place, measures
from hypemarl.meshing.topology import (
    exterior_values,
    find_rows,
    interior_tagged,
    outward_normals,
    require_sound,
)

Role = Literal["inflow", "outflow", "stream", "no-slip", "slip", "body"]
"""Role of a boundary part: inflow, stream, no-slip and body prescribe the velocity, slip its normal
component alone, outflow nothing."""

ALIGNED = 1e-6
"""Largest component of a unit normal along what it should be perpendicular to."""
ROUNDING = 1e-9
"""Components of the stream's direction below this are zero."""


@dataclass(frozen=True)
class BoundaryRoles:
    """Conditions of a problem by tag.

    Attributes:
        problem: its name in messages.
        tags: tag -> role. Without any, one natural condition holds on the whole boundary.
        profiled: whether a profile is laid along the inflow, which must then be one straight line.
    """

    problem: str
    tags: Mapping[str, Role] = field(default_factory=dict)
    profiled: bool = False

    def named(self, *roles: Role) -> tuple[str, ...]:
        """The tags of some roles."""
        return tuple(tag for tag, role in self.tags.items() if role in roles)


@dataclass(frozen=True)
class Fault:
    """Why a mesh does not fit, in a sentence, and which facets (k, tdim), as points, do not."""

    text: str
    facets: np.ndarray | None = None


@dataclass(frozen=True)
class Boundary:
    """The conditions on one mesh.

    Attributes:
        dirichlet: tag -> components of the velocity that are prescribed on its facets.
        bodies: tags of closed curves that the problem does not name: no-slip walls.
        stream: (2,) unit vector along which fluid enters: the inflow's inward normal.
    """

    dirichlet: dict[str, tuple[int, ...]] = field(default_factory=dict)
    bodies: tuple[str, ...] = ()
    stream: tuple[float, float] = (1.0, 0.0)

    @property
    def angle(self) -> float:
        """Angle of the stream from the x axis, in rad."""
        return float(np.arctan2(self.stream[1], self.stream[0]))


def examine_boundary(raw: RawMesh, roles: BoundaryRoles) -> tuple[Boundary, list[Fault]]:
    """The conditions that ``roles`` mean on a mesh, and all that does not fit."""
    try:
        require_sound(raw, roles.problem)
    except MeshError as error:
        return Boundary(), [Fault(str(error))]
    if not roles.tags:
        return Boundary(), []
    prescribed = {tag: role for tag, role in roles.tags.items() if role != "outflow"}
    lacking = missing_tags(raw.tags, {"domain": raw.tdim} | dict.fromkeys(prescribed, 1))
    stream, crooked = _stream(raw, roles)
    faults = [
        *([Fault(lacking)] if lacking else []),
        *_shared(raw, roles),
        *_interior(raw, roles),
        *_uncovered(raw, roles),
        *_open_bodies(raw, roles),
        *crooked,
        *_slanted(raw, roles, stream),
    ]
    across, bodies = int(np.argmin(np.abs(stream))), _further(raw, roles)
    fixed: dict[str, tuple[int, ...]] = {
        tag: (across,) if role == "slip" else (0, 1) for tag, role in prescribed.items()
    }
    fixed |= dict.fromkeys(bodies, (0, 1))
    return Boundary(fixed, bodies, (float(stream[0]), float(stream[1]))), faults


def interior_tags(raw: RawMesh) -> dict[str, int]:
    """Tags of facets that have a cell on both sides: name -> how many such facets."""
    return {tag: len(lines) for tag, lines in _inside(raw).items()}


def _inside(raw: RawMesh) -> dict[str, np.ndarray]:
    """Facets (k, tdim) with a cell on both sides, of each tag that has such."""
    inside = interior_tagged(raw)
    lines, values = raw.facets[inside], raw.facet_values[inside]
    names = {tag: value for tag, (dim, value) in raw.tags.items() if dim == raw.tdim - 1}
    return {tag: lines[values == v] for tag, v in names.items() if np.any(values == v)}


def _where(raw: RawMesh, facets: np.ndarray) -> str:
    return f"the first one at {describe_centre(raw.points, facets[0])}"


def _shared(raw: RawMesh, roles: BoundaryRoles) -> Iterator[Fault]:
    """Two tags may name the same facets only where the problem treats them alike."""
    first: dict[tuple[int, int], str] = {}
    for tag, role in roles.tags.items():
        other = first.setdefault(raw.tags[tag], tag) if tag in raw.tags else tag
        if role != roles.tags[other]:
            yield Fault(
                f"{other} and {tag} name the same facets, and {roles.problem} treats them "
                f"differently ({roles.tags[other]}, {role}); give each its own group",
                raw.members(tag),
            )


def _further(raw: RawMesh, roles: BoundaryRoles) -> tuple[str, ...]:
    """Tags of facets that the problem does not name."""
    known = {raw.tags[tag] for tag in roles.tags if tag in raw.tags}
    others = (tag for tag, (dim, _) in sorted(raw.tags.items()) if dim == raw.tdim - 1)
    return tuple(tag for tag in others if raw.tags[tag] not in known and len(raw.members(tag)))


def _interior(raw: RawMesh, roles: BoundaryRoles) -> Iterator[Fault]:
    for tag, facets in _inside(raw).items():
        yield Fault(
            f"{len(facets)} of {len(raw.members(tag))} facets of tag {tag!r} have cells on both "
            f"sides, {_where(raw, facets)}: {roles.problem} has boundary conditions on tagged "
            "facets; leave the cells inside a body out of the mesh, or take the tag off a line "
            "that is no wall",
            facets,
        )


def _uncovered(raw: RawMesh, roles: BoundaryRoles) -> Iterator[Fault]:
    exterior, values = raw.sides.points[raw.sides.exterior], exterior_values(raw)
    known = [value for dim, value in raw.tags.values() if dim == raw.tdim - 1]
    bare = exterior[~np.isin(values, known)]
    if not len(bare):
        return
    near = np.unique(raw.facet_values[np.isin(raw.facets, bare).any(axis=1)])
    touched = [t for t, (dim, v) in raw.tags.items() if dim == raw.tdim - 1 and v in near]
    beside = f", beside {', '.join(sorted(touched))}" if touched else ""
    yield Fault(
        f"{len(bare)} of {len(exterior)} exterior facets have no tag, {_where(raw, bare)}{beside}: "
        f"no boundary condition of {roles.problem} covers them and fluid would pass freely; tag "
        f"them as one of {', '.join(roles.tags)}, or the closed curve of a further body by any "
        "other name",
        bare,
    )


def _open_bodies(raw: RawMesh, roles: BoundaryRoles) -> Iterator[Fault]:
    """Bodies, named and further ones, must be closed curves."""
    groups = [(tag,) for tag in roles.named("body") if tag in raw.tags]
    for tags in [*groups, _further(raw, roles)]:
        lines = [raw.members(tag) for tag in tags]
        nodes, degrees = np.unique(
            np.concatenate([*lines, np.empty((0, raw.tdim), int)]), return_counts=True
        )
        ends = nodes[degrees != 2]
        for tag, line in zip(tags, lines, strict=True):
            loose = np.intersect1d(line, ends)
            if len(loose):
                part, rest = "a body", "tag all of its outline"
                if tag not in roles.tags:
                    part = f"no part that {roles.problem} knows, nor a body"
                    rest = f"or tag it as one of {', '.join(roles.tags)}"
                yield Fault(
                    f"tag {tag!r} is {part}: expected a closed curve, got {len(line)} facets that "
                    f"end or fork at {describe_place(raw.points[loose[0]])} ({len(loose)} such "
                    f"nodes); {rest}",
                    line[np.isin(line, loose).any(axis=1)],
                )


def _facets_of(raw: RawMesh, tag: str) -> tuple[np.ndarray, np.ndarray]:
    """Facets (k, tdim) of a tag that bound cells, and their places (k,) among all; may be none."""
    lines = raw.members(tag) if tag in raw.tags else np.empty((0, raw.tdim), dtype=np.int64)
    places = find_rows(lines, raw.sides.points)
    return lines[places >= 0], places[places >= 0]


def _stream(raw: RawMesh, roles: BoundaryRoles) -> tuple[np.ndarray, list[Fault]]:
    """Unit vector along which fluid enters, and what is wrong with the inflow."""
    (tag,) = roles.named("inflow")
    lines, places = _facets_of(raw, tag)
    fallback = np.eye(raw.tdim)[0]
    if not len(lines):
        return fallback, []
    inward = -outward_normals(raw, places)
    lengths = measures(raw.points, lines)
    mean = lengths @ inward / lengths.sum()
    size = float(np.linalg.norm(mean))
    if size < ALIGNED:
        text = f"tag {tag!r} turns all around: its facets have no common direction to enter along"
        return fallback, [Fault(f"{text}; tag as {tag!r} only where fluid enters", lines)]
    mean = np.where(np.abs(mean) < ROUNDING * size, 0.0, mean)
    stream = mean / np.linalg.norm(mean)
    return stream, list(_crooked(raw, tag, lines, inward @ stream)) if roles.profiled else []


def _crooked(raw: RawMesh, tag: str, lines: np.ndarray, along: np.ndarray) -> Iterator[Fault]:
    """An inflow that a profile cannot be laid along."""
    off = lines[along < 1.0 - ALIGNED]
    nodes, degrees = np.unique(lines, return_counts=True)
    ends = nodes[degrees == 1]
    if len(off) or len(ends) != 2:
        places = ", ".join(describe_place(place) for place in raw.points[ends][:4])
        got = f"{len(ends) // 2} pieces, with ends at {places}"
        if len(off):
            got = f"{len(off)} of {len(lines)} facets in other directions, {_where(raw, off)}"
        yield Fault(
            f"tag {tag!r}: the inflow's profile is laid along one straight line, got {got}; give "
            "the rest another tag",
            lines,
        )


def _slanted(raw: RawMesh, roles: BoundaryRoles, stream: np.ndarray) -> Iterator[Fault]:
    """Free slip sets one component of the velocity: its walls lie along an axis and the stream."""
    across = np.argmin(np.abs(stream))
    for tag in roles.named("slip"):
        lines, places = _facets_of(raw, tag)
        normals = outward_normals(raw, places) if len(places) else np.empty((0, 2))
        off = lines[np.abs(normals[:, across]) < 1.0 - ALIGNED]
        if len(off):
            yield Fault(
                f"tag {tag!r}: the fluid slips along it, which needs a wall along the x or y axis "
                f"and the stream ({stream[0]:.4g}, {stream[1]:.4g}); {len(off)} of {len(lines)} "
                f"facets are not, {_where(raw, off)}; turn the mesh, or take no-slip walls",
                off,
            )
