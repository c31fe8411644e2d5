"""The channel (0, length) x (0, height) around a disc: graded triangles, fine where forces act.

The edge length is ``disc_element_size`` at the disc and grows in proportion to the distance from
it up to ``element_size``; a wake behind the disc stays at half of ``element_size``. One smooth
function of place prescribes it, so that neighbours differ little in size.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hypemarl.config import MeshConfig
from hypemarl.meshing.raw import MeshError

if TYPE_CHECKING:
    import gmsh


TAGS: dict[str, tuple[int, int]] = {
    "domain": (2, 1),
    "inflow": (1, 2),
    "outflow": (1, 3),
    "bottom": (1, 4),
    "top": (1, 5),
    "disc": (1, 6),
}
DISC_FACETS = 16
"""The disc's boundary has at least about this many facets, however coarse the mesh."""

GROWTH = 0.18
"""Growth of the edge length per distance from the disc."""
WAKE_LENGTH, WAKE_WIDTH = 6.0, 2.0
"""Extent of the wake's finer triangles, in diameters from the disc's centre."""
WAKE_SIZE = 0.6
"""Edge length in the wake, in units of element_size."""


def validate(config: MeshConfig) -> None:
    """Check the numbers of a channel.

    Raises:
        MeshError: names the keys, their values and what is allowed.
    """
    if len(config.disc_centre) != 2:
        raise MeshError(
            f"env.mesh.disc_centre={list(config.disc_centre)} needs two numbers, x and y"
        )
    numbers = {
        name: getattr(config, name) for name in ("length", "height", "element_size", "disc_radius")
    }
    numbers["disc_element_size"] = disc_size(config)
    for name, value in numbers.items():
        if not (math.isfinite(value) and value > 0.0):
            raise MeshError(f"env.mesh.{name}={value} must be a positive finite number")
    if config.element_size > config.height:
        raise MeshError(
            f"env.mesh.element_size={config.element_size} is larger than "
            f"env.mesh.height={config.height}"
        )
    if disc_size(config) > config.element_size:
        raise MeshError(
            f"env.mesh.disc_element_size={config.disc_element_size} must not exceed "
            f"env.mesh.element_size={config.element_size}: triangles grow away from the disc"
        )
    x, y = config.disc_centre
    room = min(x, config.length - x, y, config.height - y)
    if not config.disc_radius < room:
        raise MeshError(
            f"env.mesh.disc_radius={config.disc_radius} at env.mesh.disc_centre={[x, y]} touches "
            f"or leaves the channel of env.mesh.length={config.length}, "
            f"env.mesh.height={config.height}: the nearest wall is at distance {room:g} from the "
            "centre"
        )


def disc_size(config: MeshConfig) -> float:
    """Edge length at the disc: disc_element_size, a third of element_size where it is null."""
    fine = config.disc_element_size
    return config.element_size / 3.0 if fine is None else fine


def exact_measures(config: MeshConfig) -> dict[str, float]:
    """Exact area or length of every tag: name -> measure."""
    radius = config.disc_radius
    return {
        "domain": config.length * config.height - math.pi * radius**2,
        "inflow": config.height,
        "outflow": config.height,
        "bottom": config.length,
        "top": config.length,
        "disc": 2.0 * math.pi * radius,
    }


def channel(model: type[gmsh.model], config: MeshConfig) -> dict[str, list[int]]:
    """Add the channel to a gmsh model, with its sizes; returns the entities of each tag."""
    geo = model.geo
    corners = [(0.0, 0.0), (config.length, 0.0), (config.length, config.height)]
    corners.append((0.0, config.height))
    points = [geo.addPoint(x, y, 0.0) for x, y in corners]
    bottom, outflow, top, inflow = (geo.addLine(points[i], points[(i + 1) % 4]) for i in range(4))
    disc = _circle(geo, config)
    outer, inner = geo.addCurveLoop([bottom, outflow, top, inflow]), geo.addCurveLoop(disc)
    domain = geo.addPlaneSurface([outer, inner])
    _prescribe_sizes(model.mesh.field, config)
    return {
        "domain": [domain],
        "inflow": [inflow],
        "outflow": [outflow],
        "bottom": [bottom],
        "top": [top],
        "disc": disc,
    }


def _circle(geo: type[gmsh.model.geo], config: MeshConfig) -> list[int]:
    """Four arcs around the disc's centre."""
    (x, y), radius = config.disc_centre, config.disc_radius
    centre = geo.addPoint(x, y, 0.0)
    ring = [(radius, 0.0), (0.0, radius), (-radius, 0.0), (0.0, -radius)]
    points = [geo.addPoint(x + dx, y + dy, 0.0) for dx, dy in ring]
    return [geo.addCircleArc(points[i], centre, points[(i + 1) % 4]) for i in range(4)]


def _prescribe_sizes(field: type[gmsh.model.mesh.field], config: MeshConfig) -> None:
    """The background field: growth from the disc, and the wake, whichever is finer."""
    (x, y), radius = config.disc_centre, config.disc_radius
    fine = min(disc_size(config), 2.0 * math.pi * radius / DISC_FACETS)
    coarse = config.element_size
    grown = field.add("MathEval")
    distance = f"(Sqrt((x-({x!r}))^2+(y-({y!r}))^2)-{radius!r})"
    field.setString(grown, "F", f"{fine!r}+{GROWTH!r}*{distance}")
    wake = field.add("Box")
    box = {
        "VIn": max(WAKE_SIZE * coarse, fine),
        "VOut": coarse,
        "XMin": x,
        "XMax": x + 2.0 * radius * WAKE_LENGTH,
        "YMin": y - radius * WAKE_WIDTH,
        "YMax": y + radius * WAKE_WIDTH,
        "Thickness": (1.0 - WAKE_SIZE) * coarse / GROWTH,
    }
    for name, value in box.items():
        field.setNumber(wake, name, value)
    finest = field.add("Min")
    field.setNumbers(finest, "FieldsList", [grown, wake])
    field.setAsBackgroundMesh(finest)
