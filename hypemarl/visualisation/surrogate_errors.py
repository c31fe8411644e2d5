"""Errors of a surrogate over the steps that it is rolled out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from hypemarl.types import Record
from hypemarl.visualisation import style


def draw_errors(rows: Sequence[Record], path_png: str | Path) -> Path:
    """A line with the range of the seeds for each row: a colour for a policy, a style for a run.

    Args:
        rows: with the keys name, ``<run>: <policy>``, seeds, and by_step, (T, 3): mean, min and
            max of the error after each step, over the distance that the states went by then.
        path_png: picture to write.

    Returns the path written.
    """
    figure = style.new_figure(7.0, 4.2)
    axes = figure.subplots()
    names = [row["name"].partition(": ") for row in rows]
    runs, policies = (list(dict.fromkeys(name[k] for name in names)) for k in (0, 2))
    for row, (run, _, policy) in zip(rows, names, strict=True):
        mean, low, high = np.asarray(row["by_step"], dtype=np.float64).T
        steps = np.arange(1, len(mean) + 1)
        colour = style.COLOURS[policies.index(policy)]
        line = style.LINES[runs.index(run) % len(style.LINES)]
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
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_yscale("log")  # where nothing is done the way is short, and errors are large beside it
    style.legend_below(figure, 4)
    return style.save(figure, path_png)
