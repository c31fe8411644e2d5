"""Frames of a problem in 1D: space and time, the present profile, and the agents' actions."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from hypemarl.types import Record, Row
from hypemarl.visualisation import style
from hypemarl.visualisation.problem_fields import Problem

COLUMNS, ROWS = 600, 500
"""Samples in space and time of a space-time diagram."""
AHEAD_COLOUR = "0.93"
"""Of the time that has not come yet."""


class SpaceTimeScene(style.Scene):
    """Columns: with control, without control where recorded, and the actions.

    Above, space-time diagrams with time upwards, filled up to the frame's time; below, over the
    same positions, the profile at that time with the target dashed, and the actions as bars.
    """

    def __init__(self, data: Record, reference: Record | None = None) -> None:
        """Both as ``fields.check_trajectory`` returns them; ``reference`` is the uncontrolled one.

        Raises:
            ValueError: see :class:`Problem`.
        """
        self._problem = problem = Problem(data, reference)
        self._order = np.argsort(problem.points[:, 0], kind="stable")
        self._x = problem.points[self._order, 0]
        self._start = float(problem.times[0])
        self._end = float(problem.times[-1]) if len(problem.times) > 1 else self._start + 1.0
        self._covers: list[Rectangle] = []
        count = len(problem.runs)
        super().__init__(3.75 * count + 4.75, 7.0)
        panels = self.figure.subplots(2, count + 1, height_ratios=(2.2, 1.0), squeeze=False)
        self._draw_runs(panels[0, :count])
        self._draw_profiles(panels[1, :count])
        self._draw_actions(*panels[:, count])
        style.freeze_layout(self.figure)

    def _draw_runs(self, panels: np.ndarray) -> None:
        problem, colours = self._problem, self._problem.colours
        look: Row = {"cmap": colours.name, "vmin": colours.limits[0], "vmax": colours.limits[1]}
        look |= {"origin": "lower", "aspect": "auto", "interpolation": "nearest"}
        for run, axes in enumerate(panels):
            values = problem.runs[run][:, self._order]
            times = problem.times[: len(values)]
            end = times[-1] if len(times) > 1 else self._end
            extent = (self._x[0], self._x[-1], self._start, end)
            axes.imshow(space_time(self._x, times, values), extent=extent, **look)
            axes.set_title(f"{problem.label} {problem.titles[run]}", fontsize="medium")
            self._frame(axes)
            axes.tick_params(labelleft=run == 0)
        panels[0].set_ylabel("time $t$")
        self.figure.colorbar(
            colours.mappable, ax=list(panels), extend=colours.extend, aspect=30, pad=0.02
        )

    def _frame(self, axes: Axes) -> None:
        """Limits, and a cover over the time that has not come yet."""
        axes.set(xlim=(self._x[0], self._x[-1]), ylim=(self._start, self._end))
        width, height = self._x[-1] - self._x[0], self._end - self._start
        cover = Rectangle((self._x[0], self._start), width, height, facecolor=AHEAD_COLOUR)
        cover.set(edgecolor="0.3", linewidth=0.8, zorder=2.5)
        axes.add_patch(cover)
        self._covers.append(cover)
        axes.tick_params(labelbottom=False)

    def _draw_profiles(self, panels: np.ndarray) -> None:
        self._profiles, self._targets = [], []
        for axes in panels:
            (line,) = axes.plot(self._x, 0 * self._x, color=style.DENSITY_COLOUR)
            line.set_label(f"{self._problem.label} at time $t$")
            self._profiles.append(line)
            if self._problem.target is not None:
                look: Row = {"color": style.TARGET_COLOUR, "linestyle": "--", "linewidth": 1.2}
                self._targets += axes.plot(self._x, 0 * self._x, label="target", **look)
            limits: Row = {"xlim": (self._x[0], self._x[-1]), "ylim": self._profile_limits()}
            style.plain_axes(axes, xlabel="position $x$", **limits)
            axes.tick_params(labelleft=axes is panels[0])
        panels[0].set_ylabel(self._problem.label)
        handles = self._profiles[:1] + self._targets[:1]
        style.legend_below(self.figure, 2, handles=handles)

    def _profile_limits(self) -> tuple[float, float]:
        low, high = self._problem.colours.limits
        room = 0.05 * (high - low)
        return low - room, high + room

    def _draw_actions(self, above: Axes, below: Axes) -> None:
        problem, colours = self._problem, self._problem.action_colours
        places = problem.positions[:, 0]
        order = np.argsort(places, kind="stable")
        edges = agent_edges(places[order], (self._x[0], self._x[-1]))
        look: Row = {"cmap": colours.name, "vmin": -problem.bound, "vmax": problem.bound}
        if len(problem.times) > 1:
            above.pcolormesh(edges, problem.times, problem.actions[1:, order], **look)
        above.set_title(problem.action_label, fontsize="medium")
        self._frame(above)
        above.tick_params(labelleft=False)
        self.figure.colorbar(colours.mappable, ax=above, aspect=30, pad=0.04)
        gaps = np.diff(places[order])
        span = float(self._x[-1] - self._x[0])
        width = 0.7 * min([0.1 * span, *gaps[gaps > 1e-9 * span]])
        self._bars = below.bar(places, 0 * places, width, color=style.CONTROL_COLOUR)
        below.axhline(0.0, color="0.6", linewidth=0.8)
        ends = 1.05 * problem.bound
        style.plain_axes(below, xlabel="position $x$", ylim=(-ends, ends))
        below.set_xlim(self._x[0], self._x[-1])

    def show(self, frame: int) -> None:
        """Diagrams up to the frame's time, profiles, target and actions."""
        problem = self._problem
        for cover in self._covers:
            cover.set(y=problem.times[frame], height=self._end - problem.times[frame])
        for run, line in enumerate(self._profiles):
            line.set_ydata(problem.values(run, frame)[self._order])
        if problem.target is not None:
            for line in self._targets:
                line.set_ydata(problem.target[frame, self._order])
        for bar, action in zip(self._bars, problem.actions[frame], strict=True):
            bar.set_height(action)


def space_time(x: np.ndarray, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values (F, N) at points x (N,) and times (F,), interpolated to ROWS x COLUMNS pixels.

    Both must not decrease; points and times need not be evenly spaced.
    """
    places = x[0] + (np.arange(COLUMNS) + 0.5) / COLUMNS * (x[-1] - x[0])
    rows = np.array([np.interp(places, x, row) for row in values])
    if len(times) < 2:
        return rows[:1]
    moments = times[0] + (np.arange(ROWS) + 0.5) / ROWS * (times[-1] - times[0])
    before = np.clip(np.searchsorted(times, moments, side="right") - 1, 0, len(times) - 2)
    share = ((moments - times[before]) / (times[before + 1] - times[before]))[:, None]
    return np.asarray((1.0 - share) * rows[before] + share * rows[before + 1])


def agent_edges(places: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """Edges (n + 1,) of the strips of agents at increasing places (n,), half-way between them.

    The outer strips reach as far beyond their agents as towards their neighbours, but not beyond
    the ``ends`` of the domain; that of a single agent fills it.
    """
    if len(places) == 1:
        return np.array(ends)
    middle = 0.5 * (places[1:] + places[:-1])
    outer = 2.0 * places[[0, -1]] - middle[[0, -1]]
    return np.concatenate([[max(outer[0], ends[0])], middle, [min(outer[1], ends[1])]])
