"""Drag, lift and dissipation over an episode, controlled beside uncontrolled."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from hypemarl.types import Record
from hypemarl.visualisation import style

LABELS = {
    "drag": "drag coefficient $C_D$",
    "lift": "lift coefficient $C_L$",
    "dissipation": r"dissipation $\frac{1}{2}\|\nabla v\|^2$",
}


def draw_forces(trajectories: Sequence[Record], path: str | Path) -> Path:
    """Time series of every force that all trajectories have, one panel each.

    Args:
        trajectories: as ``hypemarl.training.records.read_trajectory`` returns them, the
            controlled one first. path: picture to write, whose path is returned.

    Raises:
        ValueError: there is no series that all of them have.
    """
    names = [name for name in LABELS if all(name in entry for entry in trajectories)]
    if not trajectories or not names:
        raise ValueError(f"no series to draw: every trajectory needs one of {', '.join(LABELS)}")
    figure = style.new_figure(8.0, 0.8 + 2.0 * len(names))
    panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, names, strict=True):
        draw_series(axes, trajectories, name)
        axes.set_xlabel("")
    panels[-1].set_xlabel("time $t$")
    lines = panels[0].get_lines()[: len(trajectories)]
    style.legend_below(figure, len(lines), handles=lines)
    return style.save(figure, path)


def draw_series(axes: Axes, trajectories: Sequence[Record], name: str) -> None:
    """One series of every trajectory over time."""
    places = style.places([str(entry["scheme"]) for entry in trajectories])
    for entry, place in zip(trajectories, places, strict=True):
        reference = entry["scheme"] == "uncontrolled"
        axes.plot(
            *(series_times(entry, name), entry[name]),
            color="0.35" if reference else style.COLOURS[place % len(style.COLOURS)],
            linestyle="--" if reference else "-",
            linewidth=1.4,
            label=style.scheme_name(str(entry["scheme"])) or "controlled",
        )
    style.plain_axes(axes, xlabel="time $t$", ylabel=LABELS[name])


def series_times(trajectory: Record, name: str) -> np.ndarray:
    """Times (T,) of a series: the ends of the equal time steps of the episode."""
    times = trajectory["times"]
    return np.linspace(times[0], times[-1], len(trajectory[name]) + 1)[1:]


def describe(trajectory: Record, frame: int) -> str:
    """Scheme and the coefficients at a frame, for a title."""
    parts = [style.scheme_name(str(trajectory["scheme"])) or "controlled"]
    for name, symbol in (("drag", "$C_D$"), ("lift", "$C_L$")):
        if name in trajectory:
            at = np.searchsorted(series_times(trajectory, name), trajectory["times"][frame] - 1e-9)
            parts.append(f"{symbol} = {trajectory[name][min(at, len(trajectory[name]) - 1)]:.3f}")
    return ",  ".join(parts)
