"""Cost over the sizes of a network, a panel for each kind of size."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from hypemarl.types import Row
from hypemarl.visualisation import style


def draw_sizes(
    rows: Sequence[Row],
    kinds: Mapping[str, Mapping[int, str]],
    reference: str,
    path_png: str | Path,
) -> Path:
    """Seeds as dots and their means as a line; the reference and the optimum as levels.

    Args:
        rows: with the keys name, costs (one per seed), cost_mean, and where it is known optimum.
        kinds: kind of size -> size -> name of its row; sizes without a row are left out.
        reference: name of the row that is drawn as a level, where there is one.
        path_png: picture to write.

    Returns the path written.
    """
    known = {row["name"]: row for row in rows}
    figure = style.new_figure(9.0, 3.6)
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    levels = _levels(rows, reference)
    for index, (axes, (kind, names)) in enumerate(zip(panels, kinds.items(), strict=True)):
        found = {size: known[name] for size, name in names.items() if name in known}
        _draw(axes, style.COLOURS[index], found)
        for (name, level), line in zip(levels.items(), ("--", ":"), strict=False):
            label = f"{name} ({level:.3g})" if index == 0 else None
            axes.axhline(level, color="0.35", linestyle=line, label=label)
        ylabel = "held-out cost J (dimensionless)" if index == 0 else ""
        style.plain_axes(axes, xlabel=kind, ylabel=ylabel)
    panels[0].set_ylim(bottom=0.0)  # of all, once all costs are drawn
    style.legend_below(figure, 2)
    return style.save(figure, path_png)


def _levels(rows: Sequence[Row], reference: str) -> dict[str, float]:
    found = {style.scheme_name(r["name"]): r["cost_mean"] for r in rows if r["name"] == reference}
    found |= {name: rows[0][name] for name in ("optimum",) if name in rows[0]}
    return {
        name: level for name, level in found.items() if level is not None and np.isfinite(level)
    }


def _draw(axes: Axes, colour: str, found: Mapping[int, Row]) -> None:
    """Sizes at equal steps, since they grow by factors."""
    for place, row in enumerate(found.values()):
        costs = np.asarray(row["costs"], dtype=np.float64)
        axes.plot(np.full(len(costs), place), costs, "o", color=colour, markersize=5, alpha=0.5)
    means = [row["cost_mean"] for row in found.values()]
    axes.plot(range(len(means)), means, color=colour)
    axes.set_xticks(range(len(found)), [str(size) for size in found])
