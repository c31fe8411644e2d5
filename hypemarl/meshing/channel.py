"""The channel (0, length) x (0, height) around a disc: graded triangles, fine where forces act.

The edge length is ``disc_element_size`` at the disc and grows in proportion to the distance from
it up to ``element_size``; a wake behind the disc stays at half of ``element_size``. One smooth
function of place prescribes it, so that neighbours differ little in size.
"""

import math
from collections.abc import Callable, Sequence

import gmsh

from hypemarl.config import MeshConfig
from hypemarl.meshing.raw import MeshError

FRAME: dict[str, tuple[int, int]] = {
    "domain": (2, 1),
    "inflow": (1, 2),
    "outflow": (1, 3),
    "bottom": (1, 4),
    "top": (1, 5),
}
"""Tags of a channel, whatever body is in it."""
TAGS = FRAME | {"disc": (1, 6)}
DISC_FACETS = 16
"""The disc's boundary has at least about this many facets, however coarse the mesh."""

GROWTH = 0.18
"""Growth of the edge length per distance from the disc."""
WAKE_LENGTH, WAKE_WIDTH = 6.0, 2.0
"""Extent of the wake's finer triangles, in diameters from the disc's centre."""
WAKE_SIZE = 0.6
"""Edge length in the wake, in units of element_size."""


def validate(config: MeshConfig) -> None:
    """Check the numbers of a channel. Raises MeshError with the keys and the allowed values."""
    require_centre(config)
    require_positive(config, "disc_radius")
    require_sizes(config)
    x, y = config.disc_centre
    room = min(x, config.length - x, y, config.height - y)
    if not config.disc_radius < room:
        raise MeshError(
            f"env.mesh.disc_radius={config.disc_radius} at env.mesh.disc_centre={[x, y]} touches "
            f"or leaves the channel of env.mesh.length={config.length}, env.mesh.height="
            f"{config.height}: the nearest wall is at distance {room:g} from the centre"
        )


def require_sizes(config: MeshConfig) -> None:
    """Refuse edge lengths that do not fit each other or the channel, by a MeshError."""
    require_positive(config, "length", "height", "element_size")
    fine = disc_size(config)
    if not 0.0 < fine <= config.element_size <= config.height:
        raise MeshError(
            f"env.mesh.disc_element_size={fine}, env.mesh.element_size={config.element_size}: "
            f"expected 0 < disc_element_size <= element_size <= env.mesh.height={config.height}, "
            "as triangles grow away from the obstacle"
        )


def require_positive(config: MeshConfig, *names: str) -> None:
    """Refuse numbers of a mesh that are not positive and finite, by a MeshError."""
    for name in names:
        value = getattr(config, name)
        if not (math.isfinite(value) and value > 0.0):
            raise MeshError(f"env.mesh.{name}={value} must be a positive finite number")


def require_centre(config: MeshConfig) -> None:
    """Refuse a centre of other than two numbers, by a MeshError."""
    if len(config.disc_centre) != 2:
        raise MeshError(
            f"env.mesh.disc_centre={list(config.disc_centre)} needs two numbers, x and y"
        )


def disc_size(config: MeshConfig) -> float:
    """Edge length at the disc: disc_element_size, a third of element_size where it is null."""
    fine = config.disc_element_size
    return config.element_size / 3.0 if fine is None else fine


def exact_measures(config: MeshConfig) -> dict[str, float]:
    """Exact area or length of every tag: name -> measure."""
    radius = config.disc_radius
    return frame_measures(config, math.pi * radius**2) | {"disc": 2.0 * math.pi * radius}


def frame_measures(config: MeshConfig, hole: float) -> dict[str, float]:
    """Measures of a channel around a hole of that area, without the hole's boundary."""
    length, height = config.length, config.height
    sides = {"inflow": height, "outflow": height, "bottom": length, "top": length}
    return {"domain": length * height - hole} | sides


def channel(model: type[gmsh.model], config: MeshConfig) -> dict[str, list[int]]:
    """Add the channel to a gmsh model, with its sizes; returns the entities of each tag."""
    geo = model.geo
    entities = add_frame(
        geo, config, "disc", lambda: add_circle(geo, config.disc_centre, config.disc_radius)
    )
    _prescribe_sizes(model.mesh.field, config)
    return entities


def add_frame(
    geo: type[gmsh.model.geo], config: MeshConfig, name: str, add_hole: Callable[[], list[int]]
) -> dict[str, list[int]]:
    """Add the channel around a hole of that name; returns the entities of each tag."""
    length, height = config.length, config.height
    sides = add_polygon(geo, [(0.0, 0.0), (length, 0.0), (length, height), (0.0, height)])
    hole = add_hole()
    domain = geo.addPlaneSurface([geo.addCurveLoop(sides), geo.addCurveLoop(hole)])
    names = ("bottom", "outflow", "top", "inflow")
    walls = {wall: [side] for wall, side in zip(names, sides, strict=True)}
    return {"domain": [domain], name: hole} | walls


def add_polygon(
    geo: type[gmsh.model.geo], corners: Sequence[tuple[float, float]], size: float = 0.0
) -> list[int]:
    """Add the sides of a polygon, from each corner to the next; ``size`` of edges there."""
    points = [geo.addPoint(x, y, 0.0, size) for x, y in corners]
    return [geo.addLine(a, b) for a, b in zip(points, points[1:] + points[:1], strict=True)]


def add_circle(
    geo: type[gmsh.model.geo], centre: Sequence[float], radius: float, size: float = 0.0
) -> list[int]:
    """Add four arcs around a centre; ``size`` of edges there, 0 for none prescribed."""
    x, y = centre
    middle = geo.addPoint(x, y, 0.0)
    ring = [(radius, 0.0), (0.0, radius), (-radius, 0.0), (0.0, -radius)]
    points = [geo.addPoint(x + dx, y + dy, 0.0, size) for dx, dy in ring]
    return [geo.addCircleArc(points[i], middle, points[(i + 1) % 4]) for i in range(4)]


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
