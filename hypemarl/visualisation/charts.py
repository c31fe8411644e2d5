"""Charts of studies: ranges of seeds, dots per seed, costs over sizes, maps of recovered shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, NullFormatter

from hypemarl.training.learner import algorithm_of
from hypemarl.types import Record, Row
from hypemarl.visualisation import style

HELD_OUT = "held-out cost J (dimensionless)"
PANEL = 3.1  # inches
COLUMNS = 3  # of panels


def draw_budgets(rows: Sequence[Row], path_png: str | Path, reference: str) -> Path:
    """A line of means with the range of the seeds for each algorithm, the reference as a level.

    Args:
        rows: with the keys method, episodes, cost_mean, cost_min, cost_max, uncontrolled, and
            where it is known optimum.
        path_png: picture to write, whose path is returned; reference: the algorithm whose rows
            are levels.
    """
    figure, axes = style.chart()
    compared = [row for row in rows if row["method"] != reference]
    for index, method in enumerate(dict.fromkeys(row["method"] for row in compared)):
        group = sorted((r for r in rows if r["method"] == method), key=lambda row: row["episodes"])
        keys = ("episodes", "cost_mean", "cost_min", "cost_max")
        episodes, mean, low, high = ([row[key] for row in group] for key in keys)
        label = f"{algorithm_of(method).title or method}, {group[0]['seeds']} seeds"
        style.plot_range(axes, episodes, (mean, low, high), index, label)
    title = algorithm_of(reference).title
    for row in rows:
        if row["method"] == reference:
            name = f"{title}, {row['episodes']} real episodes"
            style.draw_levels(axes.axhline, {name: row["cost_mean"]})
    if "optimum" in rows[0]:
        style.draw_levels(axes.axhline, {"open-loop optimum": rows[0]["optimum"]}, ":")
    style.plain_axes(
        axes,
        xlabel="real episodes",
        ylabel=HELD_OUT,
        title=f"Mean held-out cost; uncontrolled {rows[0]['uncontrolled']:.3g}",
        xscale="log",
    )
    ticks = sorted({row["episodes"] for row in compared})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0.0)
    return style.save(figure, path_png, legend=2)


def draw_speeds(rows: Sequence[Record], path_png: str | Path) -> Path:
    """A line with the range of the seeds for each row.

    Args:
        rows: with the keys name, seeds, and by_speed, (S, 4): speed, mean, min and max of the
            cost; the slowest two speeds decide where the axis goes over from linear to logarithmic.
        path_png: picture to write, whose path is returned.
    """
    figure, axes = style.chart()
    _draw_rows(axes, rows, "by_speed")
    speeds = [entry[0] for entry in rows[0]["by_speed"]]
    style.plain_axes(
        axes,
        xlabel="speed of the agents (length per time)",
        ylabel=HELD_OUT,
        title=f"Agents that move while they act: mean and range of {rows[0]['seeds']} seeds",
    )
    axes.set_xscale("symlog", linthresh=min(speed for speed in speeds if speed > 0.0))
    axes.set_xticks(speeds, [f"{speed:g}" for speed in speeds])
    costs = [mean for row in rows for _, mean, *_ in row["by_speed"]]
    if max(costs) > style.LOG_RATIO * min(costs):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0.0)
    axes.minorticks_off()
    return style.save(figure, path_png, legend=2)


def draw_distances(rows: Sequence[Record], path_png: str | Path) -> Path:
    """A line with the range of the seeds for each row; the effect of observations dashed.

    Args:
        rows: with the keys name, seeds, by_distance, (B, 4): distance of places, mean, min and
            max of that of policies, and observation_spread, the distance that observations make.
        path_png: picture to write, whose path is returned.
    """
    figure, axes = style.chart()
    _draw_rows(axes, rows, "by_distance")
    for colour, row in zip(style.COLOURS, rows, strict=False):
        axes.axhline(row["observation_spread"], color=colour, linestyle="--", linewidth=1.0)
    seeds = rows[0]["seeds"]
    style.plain_axes(
        axes,
        xlabel="distance between two agents",
        ylabel="distance between their actions",
        title=f"Same observations, two agents ({seeds} seeds); dashed: one agent, two observations",
    )
    axes.title.set_fontsize("medium")
    axes.set_xlim(left=0.0)
    return style.save(figure, path_png, legend=4)


def draw_errors(rows: Sequence[Record], path_png: str | Path) -> Path:
    """A line with the range of the seeds for each row: a colour for a policy, a style for a run.

    Args:
        rows: with the keys name, ``<run>: <policy>``, seeds, and by_step, (T, 3): mean, min and
            max of the error after each step, over the distance that the states went by then.
        path_png: picture to write, whose path is returned.
    """
    figure, axes = style.chart()
    names = [row["name"].partition(": ") for row in rows]
    runs, policies = (list(dict.fromkeys(name[k] for name in names)) for k in (0, 2))
    for row, (run, _, policy) in zip(rows, names, strict=True):
        mean, low, high = np.asarray(row["by_step"], dtype=np.float64).T
        line = {"linestyle": style.LINES[runs.index(run) % len(style.LINES)], "marker": None}
        steps, index = np.arange(1, len(mean) + 1), policies.index(policy)
        style.plot_range(axes, steps, (mean, low, high), index, row["name"], **line)
    style.plain_axes(
        axes,
        xlabel="control steps predicted in a row",
        ylabel="error of the states / distance that they went",
        title=f"Surrogate under real actions: mean and range of {rows[0]['seeds']} seeds",
    )
    axes.title.set_fontsize("medium")
    axes.set_xlim(left=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_yscale("log")  # without control the distance is short, and errors are large beside it
    return style.save(figure, path_png, legend=4)


def _draw_rows(axes: Axes, rows: Sequence[Record], key: str) -> None:
    """A line for each row from its array (k, 4) of x, mean, lowest and highest."""
    for index, row in enumerate(rows):
        x, mean, low, high = np.asarray(row[key], dtype=np.float64).T
        label = style.scheme_name(row["name"])
        style.plot_range(axes, x, (mean, low, high), index, label, markersize=4)


@dataclass(frozen=True)
class Panel:
    """One number: what it is, its values per name and seed, and known levels beside them."""

    title: str
    values: Sequence[Sequence[float]]
    """[name][seed]; entries that are not finite are not drawn"""
    logarithmic: bool = False
    levels: Mapping[str, float] = field(default_factory=dict)
    """vertical lines by name"""


def draw_dots(names: Sequence[str], panels: Sequence[Panel], path_png: str | Path) -> Path:
    """Every seed as a dot and their mean as a bar, a panel per number, returning the path.

    Names stand down the side, up to three panels in a row; a name keeps its colour in all of them.

    Raises:
        ValueError: a panel has values for another number of names.
    """
    for panel in panels:
        if len(panel.values) != len(names):
            raise ValueError(f"{panel.title!r}: {len(panel.values)} rows for {len(names)} names")
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = style.new_figure(1.4 + PANEL * columns, 0.3 + rows * (0.8 + 0.3 * len(names)))
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw_panel(axes, panel)
    grid[0, 0].set_yticks(range(len(names)), [style.scheme_name(name) for name in names])
    grid[0, 0].set_ylim(len(names) - 0.4, -0.6)
    columns = 3 if any(panel.levels for panel in panels) else 0
    return style.save(figure, path_png, legend=columns)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for place, values in enumerate(panel.values):
        seeds = np.asarray(values, dtype=np.float64)
        seeds = seeds[np.isfinite(seeds)]
        if not len(seeds):
            continue
        colour = style.COLOURS[place % len(style.COLOURS)]
        axes.plot(seeds, np.full(len(seeds), place), "o", color=colour, markersize=5, alpha=0.6)
        axes.plot([seeds.mean()], [place], "|", color=colour, markersize=16, markeredgewidth=2.5)
    style.draw_levels(axes.axvline, panel.levels)
    style.plain_axes(axes, xscale="log" if panel.logarithmic else "linear")
    if panel.logarithmic:
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_title(panel.title, fontsize="medium")


def draw_sizes(
    rows: Sequence[Row], kinds: Mapping[str, Mapping[int, str]], reference: str, path: str | Path
) -> Path:
    """Costs over the sizes of a network, a panel for each kind of size.

    Seeds are dots and their means a line, the reference and the optimum levels.

    Args:
        rows: with the keys name, costs (one per seed), cost_mean, and where it is known optimum.
        kinds: kind of size -> size -> name of its row; sizes without a row are left out.
        reference: name of the row that is drawn as a level, where there is one.
        path: picture to write, whose path is returned.
    """
    known = {row["name"]: row for row in rows}
    figure = style.new_figure(9.0, 3.6)
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    levels = {style.scheme_name(r["name"]): r["cost_mean"] for r in rows if r["name"] == reference}
    levels |= {"optimum": rows[0].get("optimum")}
    levels = {name: x for name, x in levels.items() if x is not None and np.isfinite(x)}
    for index, (axes, (kind, names)) in enumerate(zip(panels, kinds.items(), strict=True)):
        sizes = {size: known[name] for size, name in names.items() if name in known}
        _draw_costs(axes, style.COLOURS[index], sizes)
        style.draw_levels(axes.axhline, levels, named=index == 0)
        style.plain_axes(axes, xlabel=kind, ylabel="" if index else HELD_OUT)
    panels[0].set_ylim(bottom=0.0)  # of all, once all costs are drawn
    return style.save(figure, path, legend=2)


def _draw_costs(axes: Axes, colour: str, sizes: Mapping[int, Row]) -> None:
    """Sizes at equal steps, since they grow by factors."""
    for place, row in enumerate(sizes.values()):
        costs = np.asarray(row["costs"], dtype=np.float64)
        axes.plot(np.full(len(costs), place), costs, "o", color=colour, markersize=5, alpha=0.5)
    axes.plot(range(len(sizes)), [row["cost_mean"] for row in sizes.values()], color=colour)
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])


@dataclass(frozen=True)
class Axis:
    """One parameter over the map: its column, name, values (k,), and training range."""

    column: int
    name: str
    values: np.ndarray
    low: float
    high: float


def draw_share_maps(
    shares: Mapping[str, np.ndarray], axes: Sequence[Axis], path_png: str | Path
) -> Path:
    """One panel per policy: the share at each pair of values, the training range as a frame.

    Args:
        shares: label -> (k0, k1) recovered shares; axes: the two parameters;
            path_png: picture to write, whose path is returned.
    """
    figure = style.new_figure(4.2 * len(shares) + 0.6, 4.0)
    panels = np.atleast_1d(figure.subplots(1, len(shares), sharey=True))
    first, second = axes
    image: Any = None
    for panel, (label, share) in zip(panels, shares.items(), strict=True):
        image = panel.pcolormesh(
            first.values, second.values, share.T, cmap="viridis", vmin=0.0, vmax=1.0
        )
        for (i, j), value in np.ndenumerate(share):
            colour = "black" if value > 0.6 else "white"
            place, text = (first.values[i], second.values[j]), f"{100 * value:.0f}"
            panel.text(*place, text, ha="center", va="center", color=colour, fontsize=8)
        extent = first.high - first.low, second.high - second.low
        frame = Rectangle((first.low, second.low), *extent, fill=False, linewidth=2)
        frame.set_edgecolor(style.CONTROL_COLOUR)
        panel.add_patch(frame)
        panel.set(title=label, xlabel=first.name.replace("_", " "))
    panels[0].set_ylabel(second.name.replace("_", " "))
    if image is not None:
        figure.colorbar(image, ax=list(panels), label="recovered share; frame: training range")
    return style.save(figure, path_png)
