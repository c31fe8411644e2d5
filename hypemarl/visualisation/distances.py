"""Distance between agents' policies over the distance between their places."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hypemarl.types import Record
from hypemarl.visualisation import style


def draw_distances(rows: Sequence[Record], path_png: str | Path) -> Path:
    """A line with the range of the seeds for each row; what an observation makes of it dashed.

    Args:
        rows: with the keys name, seeds, by_distance, (B, 4): distance of places, mean, min and
            max of that of policies, and observation_spread, the distance that observations make.
        path_png: picture to write.

    Returns the path written.
    """
    figure = style.new_figure(7.0, 4.2)
    axes = figure.subplots()
    for index, row in enumerate(rows):
        place, mean, low, high = np.asarray(row["by_distance"], dtype=np.float64).T
        label = style.scheme_name(row["name"])
        style.plot_range(axes, place, (mean, low, high), index, label, markersize=4)
        level = row["observation_spread"]
        axes.axhline(level, color=style.COLOURS[index], linestyle="--", linewidth=1.0)
    seeds = rows[0]["seeds"]
    style.plain_axes(
        axes,
        xlabel="distance between two agents",
        ylabel="distance between their actions",
        title=f"Same observations, two agents ({seeds} seeds); dashed: one agent, two observations",
    )
    axes.title.set_fontsize("medium")
    axes.set_xlim(left=0.0)
    style.legend_below(figure, 4)
    return style.save(figure, path_png)
