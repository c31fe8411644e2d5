"""Learning curves of one or more runs, from their metrics."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from hypemarl import mpi
from hypemarl.training.records import read_metrics
from hypemarl.visualisation import style

FROM_ZERO = 0.5
"""Above this share of the highest cost all costs are near: an axis from zero would hide them."""

Curve = dict[int, float]


def draw_curves(
    run_dirs: Sequence[str | Path], labels: Sequence[str], path_png: str | Path
) -> Path | None:
    """Validation cost over episodes. Runs with the same label are seeds of one scheme.

    See :func:`draw_groups`. The uncontrolled cost is the mean over the runs.

    Args:
        run_dirs: run folders; labels: one per run; path_png: picture to write.

    Returns the path written, None where no run has a finite validation cost.

    Raises:
        ValueError: another number of labels than runs, no run, or runs without validations.
    """
    if not run_dirs or len(run_dirs) != len(labels):
        raise ValueError(f"{len(labels)} labels for {len(run_dirs)} runs; give one label per run")
    groups: dict[str, list[Curve]] = {}
    uncontrolled: list[float] = []
    for folder, label in zip(run_dirs, labels, strict=True):
        curve, reference = read_validation(folder)
        groups.setdefault(label, []).append(curve)
        uncontrolled += reference
    levels = {"uncontrolled": float(np.mean(uncontrolled))} if uncontrolled else {}
    return draw_groups(groups, levels, path_png)


def draw_groups(
    groups: Mapping[str, list[Curve]], levels: Mapping[str, float], path_png: str | Path
) -> Path | None:
    """Curves of several seeds by label, with known costs as levels.

    Several seeds give their median as a line and their range as a band, over the episodes that
    all of them have reached. Curves without a finite cost are left out with a note.

    Returns the path written, None where no curve has a cost.

    Raises:
        ValueError: seeds of one label share no episode.
    """
    groups = _with_costs(groups, path_png)
    if not groups:
        return None
    figure, axes = style.chart()
    for (label, curves), index in zip(groups.items(), style.places(groups), strict=True):
        _draw_group(axes, index, label, curves)
    style.draw_levels(axes.axhline, levels)
    costs = [v for curves in groups.values() for c in curves for v in c.values()]
    _finish(axes, [*costs, *levels.values()])
    return style.save(figure, path_png)


def read_validation(folder: str | Path) -> tuple[Curve, list[float]]:
    """A run's finite validation costs by episode, and its last uncontrolled cost, if any.

    The curve is empty where every validation failed.

    Raises:
        ValueError: the run was never validated.
    """
    lines = [entry for entry in read_metrics(folder) if entry["kind"] == "validation"]
    if not lines:
        raise ValueError(
            f"{folder}: no validation costs to draw; train with training.validation_every > 0"
        )
    curve = {int(e["episode"]): float(e["cost"]) for e in lines if e.get("cost") is not None}
    levels = [float(e["uncontrolled"]) for e in lines if e.get("uncontrolled") is not None]
    return curve, levels[-1:]


def _with_costs(groups: Mapping[str, list[Curve]], path_png: str | Path) -> dict[str, list[Curve]]:
    """The groups without their empty curves; a note names each group that has some."""
    for label, curves in groups.items():
        if empty := sum(not curve for curve in curves):
            mpi.note(
                f"{label}: {empty} of {len(curves)} runs have no validation with a finite cost and "
                f"are not drawn in {path_png}"
            )
    kept = {label: [curve for curve in curves if curve] for label, curves in groups.items()}
    return {label: curves for label, curves in kept.items() if curves}


def _draw_group(axes: Axes, index: int, label: str, curves: list[Curve]) -> None:
    """Median and range of the seeds of one scheme."""
    episodes = sorted(set.intersection(*(set(curve) for curve in curves)))
    if not episodes:
        raise ValueError(f"the runs of {label!r} share no episode at which both were validated")
    costs = np.array([[curve[episode] for episode in episodes] for curve in curves])
    turn, place = divmod(index, len(style.COLOURS))  # colours end before labels may
    look = {"linestyle": style.LINES[turn % len(style.LINES)], "markersize": 4}
    look["markerfacecolor"] = "white" if turn else style.COLOURS[place]
    name = style.scheme_name(label) + (f", {len(curves)} seeds" if len(curves) > 1 else "")
    lines = np.median(costs, axis=0), costs.min(axis=0), costs.max(axis=0)
    style.plot_range(axes, episodes, lines, place, name, **look)


def _finish(axes: Axes, costs: list[float]) -> None:
    low, high = min(costs), max(costs)
    logarithmic = low > 0.0 and high / low > style.LOG_RATIO
    labels = {"xlabel": "training episodes", "ylabel": "validation cost J (dimensionless)"}
    title = "Mean cost of the validation set: median and range of the seeds"
    scale = "log" if logarithmic else "linear"
    style.plain_axes(axes, **labels, title=title, yscale=scale)
    if not logarithmic and 0.0 <= low < FROM_ZERO * high:
        axes.set_ylim(bottom=0.0)
    axes.set_xlim(left=0.0)
    # Below the axes, where it hides no curve.
    style.legend_below(axes.figure, 3, fontsize="small")
