"""Pictures of ``hypemarl mesh``: a mesh, and an obstacle before and after morphing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection

from hypemarl.config import MeshConfig
from hypemarl.config.keys import Displacement
from hypemarl.meshing import MeshError, TaggedMesh, gather
from hypemarl.meshing.boundary import Fault
from hypemarl.meshing.morphing import MovingMesh, anticlockwise, radius_ratios
from hypemarl.mpi import on_root, world
from hypemarl.seeding import numpy_generator
from hypemarl.visualisation import style

MARGIN = 0.25
"""Room around the obstacle, in units of its largest extent."""


@dataclass(frozen=True)
class MeshPanel:
    """One mesh in a row of pictures.

    Attributes:
        title: above it.
        points, cells: (N, 2), (M, 3). quality: (M,) of each cell, its colour.
        outlines: closed curves (k, 2) with their labels: the first dashed, the second dotted.
        agents: (n, 2) places of the agents; may be empty.
        marked: (m, 2, 2) ends of facets that are drawn on top, faults of the boundary.
    """

    title: str
    points: np.ndarray
    cells: np.ndarray
    quality: np.ndarray
    outlines: dict[str, np.ndarray] = field(default_factory=dict)
    agents: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    marked: np.ndarray = field(default_factory=lambda: np.empty((0, 2, 2)))


def morph(
    mesh: MeshConfig, kind: Displacement, agents: int, shares: Sequence[float] | None, seed: int
) -> MovingMesh:
    """A mesh whose obstacle was moved. Collective.

    Args:
        shares: amplitudes in units of their bound; None draws them between -1 and 1.
        seed: of the random amplitudes.

    Raises:
        MeshError: on every rank: no obstacle, or amplitudes that do not fit.
    """
    moving = MovingMesh(mesh, kind, agents, world(), remeshes=True)
    count = moving.feasible.space.to_modes.shape[1]
    if shares is None:
        shares = numpy_generator(seed, "morph").uniform(-1.0, 1.0, count).tolist()
    if len(shares) != count:
        raise MeshError(
            f"--amplitudes: expected {count} numbers, for {agents} agents, got {len(shares)}"
        )
    moving.move(moving.feasible.bounds.amplitude * np.array(shares))
    return moving


def describe(moving: MovingMesh) -> dict[str, str]:
    """The change of the shape, as text."""
    shape, space = moving.shape, moving.feasible.space
    if shape is None:
        return {}
    still = np.zeros(space.size)
    change = space.area(shape.q) / space.area(still) - 1.0
    margins = {name: value for name, value in shape.margins.items() if np.isfinite(value)}
    reached, target = np.linalg.norm(shape.q), np.linalg.norm(shape.target)
    return {
        "limit": shape.limit or "none",
        "displacement": f"{reached:.4g} (root mean square), asked for {target:.4g}",
        "area change": f"{change:.1e}",
        "margins": ", ".join(f"{name} {value:.2g}" for name, value in margins.items()),
        "remeshed": "no" if moving.motion.root is None else "yes",
    }


def draw_mesh(tagged: TaggedMesh, path: Path, faults: Sequence[Fault] = ()) -> Path:
    """A whole triangle mesh, coloured by quality, the facets of ``faults`` on top. Collective."""
    raw = gather(tagged)

    def draw() -> Path:
        if raw is None or raw.tdim != 2:
            raise MeshError("--picture: expected a mesh of triangles")
        cells = anticlockwise(raw).cells
        quality = radius_ratios(raw.points, cells)
        marked = [raw.points[fault.facets] for fault in faults if fault.facets is not None]
        lines = np.unique(np.concatenate([np.empty((0, 2, 2)), *marked]), axis=0)
        return draw_meshes([MeshPanel("", raw.points, cells, quality, marked=lines)], path)

    return on_root(tagged.mesh.comm, draw)


def draw_morph(moving: MovingMesh, path: Path) -> Path:
    """The obstacle's surroundings at rest and morphed, with the requested shape. Collective."""
    box = around(moving.feasible.space.reference)
    return on_root(world(), lambda: draw_meshes(_panels(moving), path, box))


def _panels(moving: MovingMesh) -> list[MeshPanel]:
    space, shape, first = moving.feasible.space, moving.shape, moving.motion.root or moving.motion
    if shape is None:
        raise ValueError("draw_morph: the mesh was not moved")
    points, cells = moving.motion.points(shape.q), moving.motion.raw.cells
    outlines = {"reference": space.reference, "asked for": space.points(shape.target)}
    title = f"{space.parametrisation.kind}, limit: {shape.limit or 'none'}"
    still = (first.raw.points, first.raw.cells)
    agents = space.parametrisation.positions
    return [
        MeshPanel("reference", *still, radius_ratios(*still), agents=agents),
        MeshPanel(title, points, cells, radius_ratios(points, cells), outlines),
    ]


def draw_meshes(
    panels: Sequence[MeshPanel], path: str | Path, box: tuple[np.ndarray, np.ndarray] | None = None
) -> Path:
    """Meshes side by side, coloured by quality; returns the path.

    Args:
        box: lower and upper corner (2,) of the picture; by default the whole mesh.
    """
    low, high = box or (panels[0].points.min(axis=0), panels[0].points.max(axis=0))
    aspect = (high[1] - low[1]) / (high[0] - low[0])
    width = 3.4 if len(panels) > 1 else 8.0
    figure = style.new_figure(width * len(panels) + 0.9, max(1.8, width * aspect + 0.9))
    rows = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(rows, panels, strict=True):
        colours = _draw(axes, panel)
        style.frame(axes, low, high)
        axes.set_title(panel.title)
    figure.colorbar(colours, ax=rows, shrink=0.85, label="radius ratio of a cell")
    if handles := rows[-1].get_legend_handles_labels()[0]:
        style.legend_below(figure, len(handles), handles=handles)
    return style.save(figure, path)


def around(outline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The box around an obstacle's outline (k, 2)."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    room = MARGIN * (high - low).max()
    return low - room, high + room


def _draw(axes: Axes, panel: MeshPanel) -> PolyCollection:
    cells = PolyCollection(list(panel.points[panel.cells]), cmap=style.DENSITY_MAP)
    cells.set(array=panel.quality, clim=(0.0, 1.0), edgecolor="white", linewidth=0.25)
    axes.add_collection(cells)
    lines = ((style.CONTROL_COLOUR, "--"), (style.DENSITY_COLOUR, ":"))
    for (label, curve), (colour, line) in zip(panel.outlines.items(), lines, strict=False):
        closed = np.concatenate([curve, curve[:1]])
        axes.plot(*closed.T, line, color=colour, linewidth=1.4, label=label)
    if len(panel.marked):
        faults = LineCollection(list(panel.marked), colors=style.CONTROL_COLOUR, linewidths=3.0)
        faults.set(capstyle="round", label=f"{len(panel.marked)} facets that do not fit")
        axes.add_collection(faults)
    if len(panel.agents):
        axes.plot(*panel.agents.T, "o", color="black", markersize=4, label="agents")
    return cells
