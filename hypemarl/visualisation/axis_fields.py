"""Frames of a 1D episode, drawn by matplotlib."""

import numpy as np
from matplotlib.axes import Axes

from hypemarl.types import Record
from hypemarl.visualisation import style


class AxisScene(style.Scene):
    """Density and target above, control velocity with the agents' arrows below."""

    def __init__(self, data: Record) -> None:
        """``data`` is what ``fields.check_trajectory`` returns."""
        self._data, self._control = data, agent_arrows(data)
        self._order = np.argsort(data["points"][:, 0])
        self._x = data["points"][self._order, 0]
        super().__init__(8.0, 5.5)
        above, below = self.figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1.0))
        self._draw_density(above)
        self._draw_control(below)
        self.figure.align_ylabels()
        style.legend_below(self.figure, 4)
        style.freeze_layout(self.figure)

    def _draw_density(self, axes: Axes) -> None:
        data, x = self._data, self._x
        self._low = min(0.0, float(data["density"].min()))
        high = 1.08 * max(float(data["density"].max()), float(data["target"].max()), 1e-12)
        self._fill = axes.fill_between(x, 0 * x, 0 * x, color=style.DENSITY_COLOUR, alpha=0.3)
        (self._line,) = axes.plot(x, 0 * x, color=style.DENSITY_COLOUR, label="density $y$")
        target = data["target"][self._order]
        axes.plot(x, target, color=style.TARGET_COLOUR, linestyle="--", label="target $y_d$")
        style.plain_axes(axes, ylabel="density $y$", ylim=(self._low, high), xlim=(x[0], x[-1]))

    def _draw_control(self, axes: Axes) -> None:
        data, x = self._data, self._x
        self._bound = 1.1 * max(
            float(np.abs(data["velocity"]).max()), float(np.abs(self._control).max()), 1e-12
        )
        (self._field,) = axes.plot(x, 0 * x, color=style.CONTROL_COLOUR, label="velocity $u$")
        places = data["positions"][:, 0]
        nothing = np.zeros_like(places)
        # One unit of control is an arrow over 0.9 of the agents' spacing at the largest amplitude.
        spacing = float(np.ptp(places)) / max(len(places) - 1, 1) or float(np.ptp(x)) / 4
        scale, arrows = self._bound / (0.9 * spacing), (places, nothing, nothing, nothing)
        look = {"units": "inches", "width": 0.035, "pivot": "mid", "minlength": 0.3, "zorder": 3}
        self._arrows = style.plane_arrows(axes, arrows, scale, color="0.15", **look)
        label = "agents and their control"
        axes.plot(places, nothing, "|", color="0.15", markersize=7, label=label)
        style.plain_axes(
            axes, ylabel="velocity $u$", xlabel="position $x$", ylim=(-self._bound, self._bound)
        )
        axes.axhline(0.0, color="0.6", linewidth=0.8)

    def show(self, frame: int) -> None:
        """Density, velocity and the agents' arrows."""
        density = self._data["density"][frame][self._order]
        self._line.set_ydata(density)
        self._fill.set_data(self._x, 0 * density, density)
        self._field.set_ydata(self._data["velocity"][frame][self._order, 0])
        arrows = self._control[frame][:, 0]
        self._arrows.set_UVC(arrows, np.zeros_like(arrows))


def agent_arrows(data: Record) -> np.ndarray:
    """Control at the agents: (F, n, gdim), their amplitudes, or else the field at their places."""
    gdim = data["points"].shape[1]
    if data["actions"].shape[2] == gdim:
        return np.asarray(data["actions"], dtype=float)
    gaps = np.linalg.norm(data["points"][None] - data["positions"][:, None], axis=2)
    return np.asarray(data["velocity"][:, gaps.argmin(axis=1)], dtype=float)
