"""Meshes as pictures, and an obstacle before and after morphing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection

from hypemarl.visualisation.style import (
    CONTROL_COLOUR,
    DENSITY_COLOUR,
    DENSITY_MAP,
    new_figure,
    save,
)

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
    outlines: dict[str, np.ndarray]
    agents: np.ndarray
    marked: np.ndarray = field(default_factory=lambda: np.empty((0, 2, 2)))


def draw_meshes(
    panels: Sequence[MeshPanel], path: str | Path, box: tuple[np.ndarray, np.ndarray] | None = None
) -> Path:
    """Meshes side by side, coloured by quality; returns the path.

    Args:
        box: lower and upper corner (2,) of what is shown; by default the whole mesh.
    """
    low, high = box or (panels[0].points.min(axis=0), panels[0].points.max(axis=0))
    aspect = (high[1] - low[1]) / (high[0] - low[0])
    width = 3.4 if len(panels) > 1 else 8.0
    figure = new_figure(width * len(panels) + 0.9, max(1.8, width * aspect + 0.9))
    rows = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(rows, panels, strict=True):
        colours = _draw(axes, panel)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", title=panel.title)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.colorbar(colours, ax=rows, shrink=0.85, label="radius ratio of a cell")
    handles, labels = rows[-1].get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, labels, loc="outside lower center", ncols=len(handles), frameon=False
        )
    return save(figure, path)


def around(outline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The box around an obstacle's outline (k, 2)."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    room = MARGIN * (high - low).max()
    return low - room, high + room


def _draw(axes: Axes, panel: MeshPanel) -> PolyCollection:
    cells = PolyCollection(
        list(panel.points[panel.cells]), cmap=DENSITY_MAP, edgecolors="white", linewidths=0.25
    )
    cells.set_array(panel.quality)
    cells.set_clim(0.0, 1.0)
    axes.add_collection(cells)
    styles = ((CONTROL_COLOUR, "--"), (DENSITY_COLOUR, ":"))
    for (label, curve), (colour, style) in zip(panel.outlines.items(), styles, strict=False):
        closed = np.concatenate([curve, curve[:1]])
        axes.plot(*closed.T, style, color=colour, linewidth=1.4, label=label)
    if len(panel.marked):
        lines = LineCollection(
            list(panel.marked), colors=CONTROL_COLOUR, linewidths=3.0, capstyle="round"
        )
        lines.set_label(f"{len(panel.marked)} facets that do not fit")
        axes.add_collection(lines)
    if len(panel.agents):
        axes.plot(*panel.agents.T, "o", color="black", markersize=4, label="agents")
    return cells
