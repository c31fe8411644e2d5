"""Charts of means over seeds with their range as a band, over numbers of several kinds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from hypemarl.training.learner import algorithm_of
from hypemarl.types import Record, Row
from hypemarl.visualisation import style
from hypemarl.visualisation.curves import LOG_RATIO


def draw_budgets(rows: Sequence[Row], path_png: str | Path, reference: str) -> Path:
    """A line of means with the range of the seeds for each algorithm, the reference as a level.

    Args:
        rows: with the keys method, episodes, cost_mean, cost_min, cost_max, uncontrolled, and
            where it is known optimum.
        path_png: picture to write; reference: the algorithm whose rows are levels.

    Returns the path written.
    """
    figure, axes = style.chart()
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


def draw_speeds(rows: Sequence[Record], path_png: str | Path) -> Path:
    """A line with the range of the seeds for each row.

    Args:
        rows: with the keys name, seeds, and by_speed, (S, 4): speed, mean, min and max of the
            cost; the slowest two speeds decide where the axis goes over from linear to logarithmic.
        path_png: picture to write.

    Returns the path written.
    """
    figure, axes = style.chart()
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


def draw_distances(rows: Sequence[Record], path_png: str | Path) -> Path:
    """A line with the range of the seeds for each row; what an observation makes of it dashed.

    Args:
        rows: with the keys name, seeds, by_distance, (B, 4): distance of places, mean, min and
            max of that of policies, and observation_spread, the distance that observations make.
        path_png: picture to write.

    Returns the path written.
    """
    figure, axes = style.chart()
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


def draw_errors(rows: Sequence[Record], path_png: str | Path) -> Path:
    """A line with the range of the seeds for each row: a colour for a policy, a style for a run.

    Args:
        rows: with the keys name, ``<run>: <policy>``, seeds, and by_step, (T, 3): mean, min and
            max of the error after each step, over the distance that the states went by then.
        path_png: picture to write.

    Returns the path written.
    """
    figure, axes = style.chart()
    names = [row["name"].partition(": ") for row in rows]
    runs, policies = (list(dict.fromkeys(name[k] for name in names)) for k in (0, 2))
    for row, (run, _, policy) in zip(rows, names, strict=True):
        mean, low, high = np.asarray(row["by_step"], dtype=np.float64).T
        steps = np.arange(1, len(mean) + 1)
        line = {"linestyle": style.LINES[runs.index(run) % len(style.LINES)], "marker": None}
        index = policies.index(policy)
        style.plot_range(axes, steps, (mean, low, high), index, row["name"], **line)
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
