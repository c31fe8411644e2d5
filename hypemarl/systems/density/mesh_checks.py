"""Bumps that episodes start from and aim at, and checks of a density's mesh.

A mesh is checked for its tags in a fluid and for boxes of agents and of bumps that lie in it.
"""

from __future__ import annotations

from itertools import product
from math import comb, pi, sqrt

import numpy as np

from hypemarl.config import EnvConfig, options_of
from hypemarl.coupling.layout import axes_fault, boxes_of, centres_of
from hypemarl.coupling.validation import Findings, interior_notes
from hypemarl.meshing.boundary import BoundaryRoles, Fault, examine_boundary
from hypemarl.meshing.raw import RawMesh, describe_place, measures
from hypemarl.systems.density.options import DensityOptions

SHARPNESS = 10.0  # of the bump exp(-10 |x - c|^2)


def bump(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(10/pi)^(d/2) exp(-10 |x - c|^2) at points (m, d): density of unit mass. Local."""
    distance = ((points - centre) ** 2).sum(axis=1)
    return (SHARPNESS / np.pi) ** (points.shape[1] / 2) * np.exp(-SHARPNESS * distance)


def mass_bound(gdim: int, edge: float) -> float:
    """Upper bound of the mass of a bump's nodal values, wherever its centre is. Local.

    ``edge``: the longest of the mesh. A P1 field has at a point at most the bump's largest value
    within an edge of it, whose integral over the whole space is known.
    """
    ball = {1: 2.0, 2: pi, 3: 4.0 / 3.0 * pi}[gdim]
    a = SHARPNESS
    moments = (0.5 * sqrt(pi / a), 0.5 / a, 0.25 * sqrt(pi / a**3))  # of exp(-a s^2), s > 0
    shell = sum(comb(gdim - 1, k) * moments[k] * edge ** (gdim - 1 - k) for k in range(gdim))
    return float((a / pi) ** (gdim / 2) * ball * (edge**gdim + gdim * shell))


LEAST_MASS, MOST_MASS = 0.4, 1.5
"""Of a bump in the mesh; one in the middle of a fine mesh has 1, one on a straight wall 0.5, less
what a coarse mesh takes; one in a corner has 0.25."""
NOTED = 0.1
"""Departure from unit mass that is noted: the bump reaches over a wall, or the mesh is coarse."""
SAMPLES = 5
"""Centres along each axis of a box that are tried, its ends among them."""
WIDTH = 0.22
"""Standard deviation of a bump along an axis, 1 / sqrt(20)."""
SHOWN = 6
DROP_OR_CHOOSE = (
    "set drop_agents_outside=true to go on without them, or choose env.agents so that every box of "
    "their grid holds a part of the domain"
)
ROLES = {
    "density": BoundaryRoles("env.system=density"),
    "density-fluid": BoundaryRoles(
        "env.system=density-fluid",
        {"bottom": "inflow", "top": "outflow", "left": "slip", "right": "slip", "disc": "body"},
        profiled=True,
    ),
}


def examine(config: EnvConfig, raw: RawMesh) -> Findings:
    """Compare a whole mesh with the density problem of ``config``. Local."""
    roles = ROLES[config.system]
    boundary, faults = examine_boundary(raw, roles)
    kept, more, surprising = examine_density(config, raw)
    notes = surprising if roles.tags else interior_notes(raw) + surprising
    return Findings(boundary, kept, tuple(faults + more), tuple(notes))


def examine_density(
    config: EnvConfig, raw: RawMesh
) -> tuple[tuple[int, ...] | None, list[Fault], list[str]]:
    """Boxes of agents that hold cells (None: all do), faults and notes. Local."""
    gdim = raw.points.shape[1]
    if gdim > 2:
        return None, [Fault(f"densities live on 1D and 2D meshes, this one is {gdim}D")], []
    wrong = axes_fault(config.agents, gdim) or _corner_fault(config, gdim)
    if wrong:
        return None, [Fault(wrong)], []
    kept, faults, notes = _boxes(config, raw)
    for name in ("initial", "target"):
        fault, note = _bumps(config, raw, name)
        faults += [Fault(fault)] if fault else []
        notes += [note] if note else []
    return kept, faults, notes


def _corner_fault(config: EnvConfig, gdim: int) -> str:
    options = options_of(config, DensityOptions)
    corners = (
        options.initial_low,
        options.initial_high,
        options.target_low,
        options.target_high,
    )
    if all(len(corner) == gdim for corner in corners):
        return ""
    return (
        f"initial_low/high, target_low/high: expected {gdim} numbers each on this mesh, "
        f"got {', '.join(map(str, corners))}"
    )


def _boxes(
    config: EnvConfig, raw: RawMesh
) -> tuple[tuple[int, ...] | None, list[Fault], list[str]]:
    """Boxes of agents that hold cells; those outside the mesh are dropped where allowed.

    A box whose centre is in the mesh and that holds no cell's midpoint is too small for the cells.
    """
    lower, upper = raw.points.min(axis=0), raw.points.max(axis=0)
    count = int(np.prod(config.agents))
    owners = boxes_of(raw.points[raw.cells].mean(axis=1), config.agents, lower, upper)
    cells = np.bincount(owners, minlength=count)
    empty = np.flatnonzero(cells == 0)
    if not len(empty):
        return None, [], []
    centres, widths = centres_of(config.agents, lower, upper)
    outside = empty[~contains(raw, centres[empty])]
    coarse = np.setdiff1d(empty, outside)
    faults, notes = [], []
    if len(coarse):
        size = "refine the file" if config.mesh.file else "lower env.mesh.element_size"
        text = f"agents {_listed(coarse)} own no cell: expected at least one each of {count} "
        text += f"agents, and their boxes of {describe_place(widths)} lie in the mesh; {size} or "
        faults.append(Fault(f"{text}use fewer agents"))
    if len(outside):
        text = f"the boxes of agents {_listed(outside)} ({len(outside)} of {count}, the first one "
        text += f"around {describe_place(centres[outside[0]])}) lie outside the mesh: "
        if options_of(config, DensityOptions).drop_agents_outside:
            stay = count - len(empty)
            notes.append(f"{text}they are dropped (drop_agents_outside), {stay} stay")
        else:
            faults.append(Fault(text + DROP_OR_CHOOSE))
    return tuple(np.flatnonzero(cells).tolist()), faults, notes


def _listed(agents: np.ndarray) -> str:
    shown = ", ".join(map(str, agents[:SHOWN].tolist()))
    return f"[{shown}{', ...' if len(agents) > SHOWN else ''}]"


def _bumps(config: EnvConfig, raw: RawMesh, name: str) -> tuple[str, str]:
    """Fault and note on the bumps whose centres lie in a box of c0 or c_d; empty if sound."""
    options = options_of(config, DensityOptions)
    low, high = (np.array(getattr(options, f"{name}_{end}")) for end in ("low", "high"))
    where = f"env.{config.system}.{name}"
    keys = f"{where}_low {low.tolist()} .. {name}_high {high.tolist()}"
    axes = [np.unique(np.linspace(a, b, SAMPLES)) for a, b in zip(low, high, strict=True)]
    centres = np.array(list(product(*axes)))
    masses = mass_of_bumps(raw, centres)
    worst = int(np.abs(masses - 1.0).argmax())
    centre, mass = centres[worst], masses[worst]
    lower, upper = (describe_place(end(raw.points, axis=0)) for end in (np.min, np.max))
    inside = "inside" if contains(raw, centre[None])[0] else "outside"
    size = float(np.median(measures(raw.points, raw.cells)) ** (1.0 / raw.tdim))
    text = (
        f"{keys}: the density around {describe_place(centre)}, {inside} the mesh, has mass "
        f"{mass:.3g} in it, expected 1 (standard deviation {WIDTH:g}, cells about {size:.3g} wide, "
        f"mesh from {lower} to {upper})"
    )
    if not LEAST_MASS <= mass <= MOST_MASS:
        hint = "move the box into the mesh and away from holes, or scale a mesh in other units"
        return f"{text}; {hint}", ""
    if abs(mass - 1.0) > NOTED:
        return "", f"{text}; walls or holes cut it off, or cells are too coarse for it"
    return "", ""


def mass_of_bumps(raw: RawMesh, centres: np.ndarray) -> np.ndarray:
    """Integrals (k,) of the P1 interpolants of bumps at centres (k, gdim). Local."""
    volumes = measures(raw.points, raw.cells)
    weights = np.bincount(
        raw.cells.ravel(), np.repeat(volumes / raw.cells.shape[1], raw.cells.shape[1])
    )
    return np.array([weights @ bump(raw.points, centre) for centre in centres])


def contains(raw: RawMesh, places: np.ndarray) -> np.ndarray:
    """True for each place (k, gdim) in a cell or on its boundary, to rounding: (k,). Local."""
    corners = raw.points[raw.cells]
    room = 1e-9 * float(np.ptp(raw.points, axis=0).max())
    low, high = corners.min(axis=1) - room, corners.max(axis=1) + room
    near = [corners[((low <= place) & (place <= high)).all(axis=1)] for place in places]
    return np.array([_in_any(*pair) for pair in zip(near, places, strict=True)], bool)


def _in_any(corners: np.ndarray, place: np.ndarray) -> bool:
    """True where a place is in one of simplices (m, d + 1, d): no barycentric coordinate < 0."""
    if not len(corners):
        return False
    edges = np.swapaxes(corners[:, 1:] - corners[:, :1], 1, 2)
    rest = np.linalg.solve(edges, (place - corners[:, 0])[..., None])[..., 0]
    least = np.minimum(rest.min(axis=1), 1.0 - rest.sum(axis=1))
    return bool((least >= -1e-9).any())
