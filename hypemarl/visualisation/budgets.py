"""Cost over the number of real episodes that training was given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypemarl.training.learner import algorithm_of
from hypemarl.types import Row
from hypemarl.visualisation import style


def draw_budgets(rows: Sequence[Row], path_png: str | Path, reference: str) -> Path:
    """A line of means with the range of the seeds for each algorithm, the reference as a level.

    Args:
        rows: with the keys method, episodes, cost_mean, cost_min, cost_max, uncontrolled, and
            where it is known optimum.
        path_png: picture to write; reference: the algorithm whose rows are levels.

    Returns the path written.
    """
    figure = style.new_figure(7.0, 4.2)
    axes = figure.subplots()
    methods = dict.fromkeys(row["method"] for row in rows if row["method"] != reference)
    for index, method in enumerate(methods):
        own = sorted((r for r in rows if r["method"] == method), key=lambda row: row["episodes"])
        keys = ("episodes", "cost_mean", "cost_min", "cost_max")
        episodes, mean, low, high = ([row[key] for row in own] for key in keys)
        label = f"{algorithm_of(method).title or method}, {own[0]['seeds']} seeds"
        style.plot_range(axes, episodes, (mean, low, high), index, label)
    for row in rows:
        if row["method"] == reference:
            name = algorithm_of(reference).title
            label = f"{name}, {row['episodes']} real episodes ({row['cost_mean']:.3g})"
            axes.axhline(row["cost_mean"], color="0.35", linestyle="--", label=label)
    if "optimum" in rows[0]:
        label = f"open-loop optimum ({rows[0]['optimum']:.3g})"
        axes.axhline(rows[0]["optimum"], color="0.35", linestyle=":", label=label)
    style.plain_axes(
        axes,
        xlabel="real episodes",
        ylabel="held-out cost J (dimensionless)",
        title=f"Mean held-out cost; uncontrolled {rows[0]['uncontrolled']:.3g}",
        xscale="log",
    )
    ticks = sorted({row["episodes"] for row in rows if row["method"] != reference})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0.0)
    style.legend_below(figure, 2)
    return style.save(figure, path_png)
