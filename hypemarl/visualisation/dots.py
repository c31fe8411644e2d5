"""Numbers of several runs per name: every seed a dot, their mean a bar, a panel per number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter

from hypemarl.visualisation import style

PANEL = 3.1  # inches
LEVELS = (":", "--", "-.")


@dataclass(frozen=True)
class Panel:
    """One number: what it is, its values per name and seed, and known levels beside them."""

    title: str
    values: Sequence[Sequence[float]]
    """[name][seed]; entries that are not finite are not drawn"""
    logarithmic: bool = False
    levels: Mapping[str, float] = field(default_factory=dict)
    """vertical lines by name"""


def draw_dots(
    names: Sequence[str], panels: Sequence[Panel], path_png: str | Path, *, columns: int = 3
) -> Path:
    """Names down the side, ``columns`` panels in a row; a name keeps its colour in all of them.

    Raises:
        ValueError: a panel has values for another number of names.
    """
    for panel in panels:
        if len(panel.values) != len(names):
            raise ValueError(f"{panel.title!r}: {len(panel.values)} rows for {len(names)} names")
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = style.new_figure(1.4 + PANEL * columns, 0.3 + rows * (0.8 + 0.3 * len(names)))
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw(axes, panel)
    labels = [style.scheme_name(name) for name in names]
    grid[0, 0].set_yticks(range(len(names)), labels)
    grid[0, 0].set_ylim(len(names) - 0.4, -0.6)
    if any(panel.levels for panel in panels):
        style.legend_below(figure, 3)
    return style.save(figure, path_png)


def _draw(axes: Axes, panel: Panel) -> None:
    for place, own in enumerate(panel.values):
        seeds = np.asarray(own, dtype=np.float64)
        seeds = seeds[np.isfinite(seeds)]
        if not len(seeds):
            continue
        colour = style.COLOURS[place % len(style.COLOURS)]
        axes.plot(seeds, np.full(len(seeds), place), "o", color=colour, markersize=5, alpha=0.6)
        mean = float(seeds.mean())
        axes.plot([mean], [place], "|", color=colour, markersize=16, markeredgewidth=2.5)
    for (name, level), line in zip(panel.levels.items(), LEVELS, strict=False):
        axes.axvline(level, color="0.35", linestyle=line, label=f"{name} ({level:.3g})")
    style.plain_axes(axes, xscale="log" if panel.logarithmic else "linear")
    if panel.logarithmic:
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_title(panel.title, fontsize="medium")
