"""Parametric shapes: gmsh models with named physical groups, and their exact measures.

Triangles come from gmsh's frontal-Delaunay algorithm: nearly equilateral, no preferred direction,
and Delaunay, so that the off-diagonal entries of the P1 stiffness matrix are not positive (what
non-negative schemes need). A structured mesh of right triangles would favour its diagonals.
"""

from __future__ import annotations

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
    "square": {
        "domain": (2, 1),
        "left": (1, 2),
        "right": (1, 3),
        "bottom": (1, 4),
        "top": (1, 5),
    },
}
TAGS["square-with-disc"] = TAGS["square"] | {"disc": (1, 6)}
CHANNELS: Row = {
    "channel-with-disc": channel,
    "channel-with-obstacle": obstacle_channel,
}
TAGS |= {name: module.TAGS for name, module in CHANNELS.items()}

FRONTAL_DELAUNAY = 6
SIMPLEX_POINTS = {15: 1, 1: 2, 2: 3, 4: 4}
"""gmsh element type -> points, of the elements that are supported."""


@contextmanager
def session(name: str = "hypemarl") -> Iterator[type[gmsh.model]]:
    """A quiet gmsh model of our own; a session that the caller has open is left as it was.

    No signal handlers are installed and no configuration files of the user are read.
    """
    mine = not gmsh.isInitialized()
    before = None if mine else gmsh.model.getCurrent()
    if mine:
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
    gmsh.model.add(name)
    try:
        yield gmsh.model
    finally:
        gmsh.model.setCurrent(name)
        gmsh.model.remove()
        if mine:
            gmsh.finalize()
        else:
            for option, value in saved.items():
                gmsh.option.setNumber(option, value)
            gmsh.model.setCurrent(before)


def validate(config: MeshConfig) -> None:
    """Check the numbers of a shape.

    Raises:
        MeshError: names the key, the value and what is allowed.
    """
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
    if size <= 0.0:
        raise MeshError(f"env.mesh.element_size={size} must be positive")
    if size > upper - lower:
        raise MeshError(
            f"env.mesh.element_size={size} is larger than the domain, which has length "
            f"{upper - lower}"
        )
    if config.shape == "square-with-disc":
        room = min(upper, -lower)
        if not 0.0 < config.disc_radius < room:
            raise MeshError(
                f"env.mesh.disc_radius={config.disc_radius} does not fit: the disc at the origin "
                f"must lie inside the square ({lower}, {upper})^2, so 0 < disc_radius < {room}"
            )


def exact_measures(config: MeshConfig) -> dict[str, float]:
    """Exact length, area or count of every tag of a shape: name -> measure.

    Raises:
        MeshError: the numbers of the shape make no sense.
    """
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
    """Mesh a shape with gmsh on this rank.

    Raises:
        MeshError: the numbers of the shape make no sense.
    """
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
    lower, upper = config.lower, config.upper
    corners = [(lower, lower), (upper, lower), (upper, upper), (lower, upper)]
    points = [geo.addPoint(x, y, 0.0, config.element_size) for x, y in corners]
    bottom, right, top, left = (geo.addLine(points[i], points[(i + 1) % 4]) for i in range(4))
    loops = [geo.addCurveLoop([bottom, right, top, left])]
    entities = {"left": [left], "right": [right], "bottom": [bottom], "top": [top]}
    if config.shape == "square-with-disc":
        entities["disc"] = _circle(geo, config)
        loops.append(geo.addCurveLoop(entities["disc"]))
    entities["domain"] = [geo.addPlaneSurface(loops)]
    return entities


def _circle(geo: type[gmsh.model.geo], config: MeshConfig) -> list[int]:
    """Four arcs around the origin."""
    radius = config.disc_radius
    size = min(config.element_size, 2.0 * math.pi * radius / channel.DISC_FACETS)
    centre = geo.addPoint(0.0, 0.0, 0.0)
    ring = [(radius, 0.0), (0.0, radius), (-radius, 0.0), (0.0, -radius)]
    points = [geo.addPoint(x, y, 0.0, size) for x, y in ring]
    return [geo.addCircleArc(points[i], centre, points[(i + 1) % 4]) for i in range(4)]


def extract(model: type[gmsh.model], source: str) -> RawMesh:
    """The mesh of the current gmsh model as arrays.

    Raises:
        MeshError: no elements, or elements other than straight simplices.
    """
    node_tags, coordinates, _ = model.mesh.getNodes()
    order = np.argsort(node_tags)
    tags: dict[str, tuple[int, int]] = {}
    tdim = max((dim for dim, _ in model.getEntities() if _has_elements(model, dim)), default=0)
    if tdim == 0:
        raise MeshError(f"{source}: the file holds no mesh (no lines, triangles or tetrahedra)")
    blocks = {tdim: _cells_untagged(model, tdim, source), tdim - 1: _no_entities(tdim - 1)}
    for dim in (tdim, tdim - 1):
        groups = [tag for d, tag in model.getPhysicalGroups() if d == dim]
        parts = [_group(model, dim, tag, source) for tag in groups]
        if parts:
            blocks[dim] = tuple(np.concatenate(p) for p in zip(*parts, strict=True))
        for tag in groups:
            add_tag(tags, model.getPhysicalName(dim, tag) or str(tag), dim, tag, source)
    _all_cells(model, tdim, len(blocks[tdim][0]), source)
    cells, facets = (
        np.searchsorted(node_tags[order], blocks[dim][0].astype(node_tags.dtype))
        for dim in (tdim, tdim - 1)
    )
    points, cells, facets = compact(coordinates.reshape(-1, 3)[order], cells, facets, source)
    return RawMesh(points, cells, blocks[tdim][1], facets, blocks[tdim - 1][1], tags)


def _has_elements(model: type[gmsh.model], dim: int) -> bool:
    return any(len(found) for found in model.mesh.getElements(dim)[1])


def _no_entities(dim: int) -> tuple[np.ndarray, ...]:
    return np.empty((0, dim + 1), dtype=np.int64), np.empty(0, dtype=np.int32)


def _elements(model: type[gmsh.model], dim: int, entity: int, source: str) -> np.ndarray:
    """Node tags of the simplices of one entity (all entities for -1): (m, dim + 1)."""
    found = [np.empty((0, dim + 1), dtype=np.int64)]
    kinds, _, nodes = model.mesh.getElements(dim, entity)
    for kind, node in zip(kinds, nodes, strict=True):
        if SIMPLEX_POINTS.get(kind) != dim + 1:
            name = model.mesh.getElementProperties(kind)[0]
            raise MeshError(
                f"{source}: elements of type {name!r} are not supported; write straight "
                f"(first-order) lines, triangles or tetrahedra"
            )
        found.append(node.reshape(-1, dim + 1).astype(np.int64))
    return np.concatenate(found)


def _group(model: type[gmsh.model], dim: int, tag: int, source: str) -> tuple[np.ndarray, ...]:
    """Elements of a physical group and their values."""
    entities = model.getEntitiesForPhysicalGroup(dim, tag)
    nodes = np.concatenate([_elements(model, dim, entity, source) for entity in entities])
    return nodes, np.full(len(nodes), tag, dtype=np.int32)


def _cells_untagged(model: type[gmsh.model], tdim: int, source: str) -> tuple[np.ndarray, ...]:
    nodes = _elements(model, tdim, -1, source)
    return nodes, np.zeros(len(nodes), dtype=np.int32)


def _all_cells(model: type[gmsh.model], tdim: int, tagged: int, source: str) -> None:
    total = sum(len(found) for found in model.mesh.getElements(tdim)[1])
    if tagged < total:
        raise MeshError(
            f"{source}: {total - tagged} of {total} cells are in no physical group; put every "
            f"cell in one"
        )
