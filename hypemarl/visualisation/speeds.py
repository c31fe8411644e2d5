"""Cost over the speed at which agents move."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hypemarl.types import Record
from hypemarl.visualisation import style
from hypemarl.visualisation.curves import LOG_RATIO


def draw_speeds(rows: Sequence[Record], path_png: str | Path) -> Path:
    """A line with the range of the seeds for each row.

    Args:
        rows: with the keys name, seeds, and by_speed, (S, 4): speed, mean, min and max of the
            cost; the slowest two speeds decide where the axis goes over from linear to logarithmic.
        path_png: picture to write.

    Returns the path written.
    """
    figure = style.new_figure(7.0, 4.2)
    axes = figure.subplots()
    for index, row in enumerate(rows):
        speed, mean, low, high = np.asarray(row["by_speed"], dtype=np.float64).T
        label = style.scheme_name(row["name"])
        style.plot_range(axes, speed, (mean, low, high), index, label, markersize=4)
    speeds = [entry[0] for entry in rows[0]["by_speed"]]
    style.plain_axes(
        axes,
        xlabel="speed of the agents (length per time)",
        ylabel="held-out cost J (dimensionless)",
        title=f"Agents that move while they act: mean and range of {rows[0]['seeds']} seeds",
    )
    axes.set_xscale("symlog", linthresh=min(speed for speed in speeds if speed > 0.0))
    axes.set_xticks(speeds, [f"{speed:g}" for speed in speeds])
    costs = [mean for row in rows for _, mean, *_ in row["by_speed"]]
    if max(costs) > LOG_RATIO * min(costs):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0.0)
    axes.minorticks_off()
    style.legend_below(figure, 2)
    return style.save(figure, path_png)
