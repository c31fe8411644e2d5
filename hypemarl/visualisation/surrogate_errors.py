"""Errors of a surrogate over the steps that it is rolled out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hypemarl.visualisation import style


def draw_errors(rows: Sequence[Mapping[str, Any]], path_png: str | Path) -> Path:
    """A line with the range of the seeds for each row.

    Args:
        rows: with the keys name, seeds, and by_step, (T, 3): mean, min and max of the error after
            each step, over the distance that the states went by then.
        path_png: picture to write.

    Returns the path written.
    """
    figure = style.new_figure(7.0, 4.2)
    axes = figure.subplots()
    for index, row in enumerate(rows):
        mean, low, high = np.asarray(row["by_step"], dtype=np.float64).T
        steps = np.arange(1, len(mean) + 1)
        colour = style.COLOURS[index % len(style.COLOURS)]
        line = style.LINES[index // len(style.COLOURS) % len(style.LINES)]
        axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(steps, mean, line, color=colour, label=row["name"])
    style.plain_axes(
        axes,
        xlabel="control steps predicted in a row",
        ylabel="error of the states / the way they went",
        title=f"Surrogate under real actions: mean and range of {rows[0]['seeds']} seeds",
    )
    axes.title.set_fontsize("medium")
    axes.set_xlim(left=1)
    axes.set_ylim(bottom=0.0)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    return style.save(figure, path_png)
