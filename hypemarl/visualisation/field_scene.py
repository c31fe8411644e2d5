"""Frames of an episode of any system: its first field over the domain, and the agents' actions."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.tri import Triangulation

from hypemarl.types import Record
from hypemarl.visualisation import style

FIXED = ("points", "cells", "times", "positions", "actions", "costs", "mu")
"""Arrays of every trajectory, which are no fields."""


class FieldScene(style.Scene):
    """The first recorded field in 1D as a line, in 2D as colours; below it the first actions."""

    def __init__(self, data: Record) -> None:
        """``data`` is what ``fields.check_trajectory`` returns.

        Raises:
            ValueError: nothing was recorded at the points.
        """
        self._data = data
        self._name, self._values = first_field(data)
        limits = float(self._values.min()), float(self._values.max())
        room = 0.05 * max(limits[1] - limits[0], 1e-12)
        self._limits = (limits[0] - room, limits[1] + room)
        super().__init__(8.0, 5.5)
        above, below = self.figure.subplots(2, 1, height_ratios=(2.6, 1.0))
        self._line(above) if data["points"].shape[1] == 1 else self._plane(above)
        self._actions(below)
        style.freeze_layout(self.figure)

    def _line(self, axes: Axes) -> None:
        self._order = np.argsort(self._data["points"][:, 0])
        x = self._data["points"][self._order, 0]
        (line,) = axes.plot(x, 0 * x, color=style.DENSITY_COLOUR)
        self._set: Callable[[np.ndarray], None] = line.set_ydata
        style.plain_axes(axes, ylabel=self._name, xlabel="position $x$", ylim=self._limits)

    def _plane(self, axes: Axes) -> None:
        self._order = np.arange(len(self._data["points"]))
        mesh = Triangulation(*self._data["points"].T, self._data["cells"])
        low, high = self._limits
        colours = axes.tripcolor(
            mesh, self._values[0], shading="gouraud", cmap=style.DENSITY_MAP, vmin=low, vmax=high
        )
        axes.plot(*self._data["positions"].T, "o", color="black", markersize=3.0)
        axes.set_aspect("equal")
        axes.figure.colorbar(colours, ax=axes, label=self._name)
        self._set = colours.set_array

    def _actions(self, axes: Axes) -> None:
        actions = self._data["actions"][:, :, 0]
        bound = 1.1 * max(float(np.abs(actions).max()), 1e-12)
        self._bars = axes.bar(np.arange(actions.shape[1]), actions[0], color=style.CONTROL_COLOUR)
        style.plain_axes(axes, ylabel="action", xlabel="agent", ylim=(-bound, bound))

    def show(self, frame: int) -> None:
        """Values of the field, and the actions."""
        self._set(self._values[frame][self._order])
        for bar, action in zip(self._bars, self._data["actions"][frame, :, 0], strict=True):
            bar.set_height(action)


def first_field(data: Record) -> tuple[str, np.ndarray]:
    """Name and values (F, N) of the first array at the points, of vectors their lengths.

    Raises:
        ValueError: there is none.
    """
    shape = (len(data["times"]), len(data["points"]))
    arrays = {
        name: v for name, v in data.items() if isinstance(v, np.ndarray) and name not in FIXED
    }
    for name, values in arrays.items():
        if values.shape[:2] == shape and values.ndim in (2, 3):
            lengths = values if values.ndim == 2 else np.linalg.norm(values, axis=2)
            return name, np.asarray(lengths, dtype=float)
    for name, values in arrays.items():  # a field that never changed is recorded once
        if values.shape == shape[1:]:
            return name, np.broadcast_to(values.astype(float), shape)
    raise ValueError(f"the trajectory has no field of shape {shape} (frames, points) to draw")
