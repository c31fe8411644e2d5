"""Parametric shapes: gmsh models with named physical groups, and their exact measures.

Triangles come from gmsh's frontal-Delaunay algorithm: nearly equilateral, no preferred direction,
and Delaunay, so that the off-diagonal entries of the P1 stiffness matrix are not positive (what
non-negative schemes need). A structured mesh of right triangles would favour its diagonals.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import gmsh
import numpy as np

from hypemarl.config import MeshConfig
from hypemarl.meshing import channel, obstacle_channel
from hypemarl.meshing.raw import MeshError, RawMesh, add_tag, compact
from hypemarl.types import Row

LARGEST_COUNT = 1e8
"""Cells of a mesh; one of them takes about a kilobyte while it is made."""

TAGS: dict[str, dict[str, tuple[int, int]]] = {
    "interval": {"domain": (1, 1), "left": (0, 2), "right": (0, 3)},
    "square": {"domain": (2, 1), "left": (1, 2), "right": (1, 3), "bottom": (1, 4), "top": (1, 5)},
}
TAGS["square-with-disc"] = TAGS["square"] | {"disc": (1, 6)}
CHANNELS: Row = {"channel-with-disc": channel, "channel-with-obstacle": obstacle_channel}
TAGS |= {name: module.TAGS for name, module in CHANNELS.items()}

FRONTAL_DELAUNAY = 6
MODEL = "hypemarl"
GMSH_TYPES = {0: 15, 1: 1, 2: 2, 3: 4}
"""Dimension of a simplex -> gmsh's number of its type."""


@contextmanager
def session() -> Iterator[type[gmsh.model]]:
    """A new, quiet gmsh model; the caller's open session keeps its state.

    No signal handlers are installed and no configuration files of the user are read.
    """
    fresh = not gmsh.isInitialized()
    before = None if fresh else gmsh.model.getCurrent()
    if fresh:
        gmsh.initialize(readConfigFiles=False, interruptible=False)
    options = {
        "General.Terminal": 0,
        "Mesh.Algorithm": FRONTAL_DELAUNAY,
        "Mesh.MeshSizeExtendFromBoundary": 1,
        "Mesh.SaveAll": 0,
        "Mesh.MshFileVersion": 4.1,
        "Mesh.Binary": 0,
    }
    saved = {option: gmsh.option.getNumber(option) for option in options}
    for option, value in options.items():
        gmsh.option.setNumber(option, value)
    gmsh.model.add(MODEL)
    try:
        yield gmsh.model
    finally:
        gmsh.model.setCurrent(MODEL)
        gmsh.model.remove()
        if fresh:
            gmsh.finalize()
        else:
            for option, value in saved.items():
                gmsh.option.setNumber(option, value)
            gmsh.model.setCurrent(before)


def validate(config: MeshConfig) -> None:
    """Check the numbers of a shape. Raises MeshError with the key and the allowed values."""
    if config.shape not in TAGS:
        raise MeshError(f"env.mesh.shape={config.shape!r} is unknown; choose one of {sorted(TAGS)}")
    if config.shape in CHANNELS:
        CHANNELS[config.shape].validate(config)
        return
    for name in ("lower", "upper", "element_size", "disc_radius"):
        if not math.isfinite(getattr(config, name)):
            raise MeshError(f"env.mesh.{name}={getattr(config, name)} must be a finite number")
    lower, upper, size = config.lower, config.upper, config.element_size
    if upper <= lower:
        raise MeshError(f"env.mesh.upper={upper} must be above env.mesh.lower={lower}")
    if not 0.0 < size <= upper - lower:
        raise MeshError(
            f"env.mesh.element_size={size} must be positive and at most the length of the domain, "
            f"{upper - lower}"
        )
    room = min(upper, -lower)
    if config.shape == "square-with-disc" and not 0.0 < config.disc_radius < room:
        raise MeshError(
            f"env.mesh.disc_radius={config.disc_radius} does not fit: the disc at the origin must "
            f"lie inside the square ({lower}, {upper})^2, so 0 < disc_radius < {room}"
        )


def exact_measures(config: MeshConfig) -> dict[str, float]:
    """Exact length, area or count of every tag: name -> measure. Raises as :func:`validate`."""
    validate(config)
    if config.shape in CHANNELS:
        return CHANNELS[config.shape].exact_measures(config)
    side = config.upper - config.lower
    if config.shape == "interval":
        return {"domain": side, "left": 1.0, "right": 1.0}
    sizes = {"domain": side**2, "left": side, "right": side, "bottom": side, "top": side}
    if config.shape == "square-with-disc":
        sizes["domain"] -= math.pi * config.disc_radius**2
        sizes["disc"] = 2.0 * math.pi * config.disc_radius
    return sizes


def generate(config: MeshConfig) -> RawMesh:
    """Mesh a shape with gmsh on this rank. Raises MeshError as :func:`validate`."""
    validate(config)
    _check_count(config)
    with session() as model:
        curves = _entities(model, config)
        model.geo.synchronize()
        for name, (dim, tag) in TAGS[config.shape].items():
            model.addPhysicalGroup(dim, curves[name], tag, name)
        model.mesh.generate(TAGS[config.shape]["domain"][0])
        return extract(model, config.shape)


def _check_count(config: MeshConfig) -> None:
    """Refuse a mesh that no machine holds, before gmsh tries."""
    size, side = config.element_size, config.upper - config.lower
    if config.shape == "interval":
        cells = side / size
    else:
        lengths = (config.length, config.height) if config.shape in CHANNELS else (side, side)
        cells = 2.0 * (lengths[0] / size) * (lengths[1] / size)
    if cells > LARGEST_COUNT:
        raise MeshError(
            f"env.mesh.element_size={size:g} makes about {cells:.1g} cells of this {config.shape}, "
            f"expected at most {LARGEST_COUNT:.0e}; take larger elements or a smaller domain"
        )


def _entities(model: type[gmsh.model], config: MeshConfig) -> dict[str, list[int]]:
    """Add the shape to the model; returns the entities of each tag."""
    if config.shape in CHANNELS:
        # The sizes are prescribed over the plane; the session restores the option.
        gmsh.option.setNumber("Mesh.MeshSizeExtendFromBoundary", 0)
        return CHANNELS[config.shape].channel(model, config)
    return (_interval if config.shape == "interval" else _square)(model.geo, config)


def _interval(geo: type[gmsh.model.geo], config: MeshConfig) -> dict[str, list[int]]:
    """Equal cells, so the mesh is symmetric; returns the entities of each tag."""
    left = geo.addPoint(config.lower, 0.0, 0.0)
    right = geo.addPoint(config.upper, 0.0, 0.0)
    line = geo.addLine(left, right)
    # The small number keeps 2 / 0.1 at 20 cells.
    cells = math.ceil((config.upper - config.lower) / config.element_size - 1e-9)
    geo.mesh.setTransfiniteCurve(line, cells + 1)
    return {"domain": [line], "left": [left], "right": [right]}


def _square(geo: type[gmsh.model.geo], config: MeshConfig) -> dict[str, list[int]]:
    """The square, minus the disc where there is one; returns the entities of each tag."""
    lower, upper, size = config.lower, config.upper, config.element_size
    corners = [(lower, lower), (upper, lower), (upper, upper), (lower, upper)]
    sides = channel.add_polygon(geo, corners, size)
    loops = [geo.addCurveLoop(sides)]
    names = ("bottom", "right", "top", "left")
    entities = {name: [side] for name, side in zip(names, sides, strict=True)}
    if config.shape == "square-with-disc":
        fine = min(size, 2.0 * math.pi * config.disc_radius / channel.DISC_FACETS)
        entities["disc"] = channel.add_circle(geo, (0.0, 0.0), config.disc_radius, fine)
        loops.append(geo.addCurveLoop(entities["disc"]))
    entities["domain"] = [geo.addPlaneSurface(loops)]
    return entities


def extract(model: type[gmsh.model], source: str) -> RawMesh:
    """The current gmsh model, all of whose cells are in physical groups, as arrays.

    Raises MeshError where two groups have one name, or the mesh is not flat.
    """
    node_tags, coordinates, _ = model.mesh.getNodes()
    order = np.argsort(node_tags)
    groups = model.getPhysicalGroups()
    tdim = max(dim for dim, _ in groups)
    tags: dict[str, tuple[int, int]] = {}
    rows, values = {}, {}
    for dim in (tdim, tdim - 1):
        nodes, numbers = [np.empty(0, dtype=node_tags.dtype)], [np.empty(0, dtype=np.int32)]
        for tag in (tag for d, tag in groups if d == dim):
            add_tag(tags, model.getPhysicalName(dim, tag) or str(tag), dim, tag, source)
            for entity in model.getEntitiesForPhysicalGroup(dim, tag):
                nodes.append(model.mesh.getElementsByType(GMSH_TYPES[dim], entity)[1])
                numbers.append(np.full(len(nodes[-1]) // (dim + 1), tag, dtype=np.int32))
        joined = np.concatenate(nodes).reshape(-1, dim + 1)
        rows[dim], values[dim] = np.searchsorted(node_tags[order], joined), np.concatenate(numbers)
    points = coordinates.reshape(-1, 3)[order]
    points, cells, facets = compact(points, rows[tdim], rows[tdim - 1], source)
    return RawMesh(points, cells, values[tdim], facets, values[tdim - 1], tags)
