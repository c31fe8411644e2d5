"""Frames of an obstacle that agents move in a stream: speed, the mesh that follows, drag."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.tri import Triangulation

from hypemarl.types import Record
from hypemarl.visualisation import forces, style
from hypemarl.visualisation.offscreen import round_up

AHEAD, BEHIND, ASIDE = 1.6, 4.2, 1.8
"""Extent of the picture of the stream around the body, in units of its size."""
CLOSE = 1.15
"""Half the width of the close-up, in the same units."""
BODY_COLOUR = "0.55"


class ShapeScene(style.Scene):
    """Speed around the body, the mesh close up with the reference dotted, drag over the episode.

    The mesh of a frame is its own: ``points`` (F, N, 2) and ``cells`` (F, M, 3).
    """

    def __init__(self, data: Record, reference: Record | None = None) -> None:
        """Both as ``fields.check_trajectory`` returns them; ``reference`` is the uncontrolled one.

        Of the uncontrolled episode only the drag is drawn.
        """
        self._data = data
        self._speed = np.linalg.norm(data["velocity"], axis=2)
        self._top = round_up(float(self._speed.max()))
        self._centre = 0.5 * (data["reference"].min(axis=0) + data["reference"].max(axis=0))
        self._size = float(np.ptp(data["reference"], axis=0).max())
        self._flows = [data] if reference is None else [data, reference]
        super().__init__(12.0, 3.5)
        self._build()

    def _build(self) -> None:
        drag = all("drag" in flow for flow in self._flows)
        ratios = [1.9, 1.0] + [1.0] * drag
        panels = self.figure.subplots(1, len(ratios), width_ratios=ratios)
        self._wide, self._near = panels[:2]
        colours = ScalarMappable(Normalize(0.0, self._top), style.DENSITY_MAP)
        self.figure.colorbar(colours, ax=self._wide, label="speed $|v|$", shrink=0.7)
        self._cursor = None
        if drag:
            forces.draw_series(panels[2], self._flows, "drag")
            self._cursor = panels[2].axvline(0.0, color="0.3", linewidth=1.0)
            panels[2].legend(frameon=False, fontsize="small")
        self.show(0)
        handles, labels = self._near.get_legend_handles_labels()
        self._near.legend(
            handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2, frameon=False
        )
        style.freeze_layout(self.figure)

    def show(self, frame: int) -> None:
        """The frame's own mesh, its speed, outline and agents, and the drag."""
        data = self._data
        mesh = Triangulation(*data["points"][frame].T, data["cells"][frame])
        for axes in (self._wide, self._near):
            for artist in (*axes.collections, *axes.lines, *axes.patches):
                artist.remove()
        colours = {"cmap": style.DENSITY_MAP, "vmin": 0.0, "vmax": self._top}
        self._wide.tripcolor(mesh, self._speed[frame], shading="gouraud", **colours)
        self._stream(frame)
        self._near.triplot(mesh, color="0.75", linewidth=0.5)
        self._near.plot(*data["positions"].T, "o", color="black", markersize=3.5, label="agents")
        for axes in (self._wide, self._near):
            axes.fill(*data["outline"][frame].T, facecolor=BODY_COLOUR, edgecolor="black")
            closed = np.concatenate([data["reference"], data["reference"][:1]])
            axes.plot(*closed.T, ":", color="black", linewidth=1.3, label="reference")
        low, high = np.array([AHEAD, ASIDE]), np.array([BEHIND, ASIDE])
        self._frame(self._wide, low, high)
        self._frame(self._near, np.full(2, CLOSE), np.full(2, CLOSE))
        self._wide.set_title(self._describe(frame), fontsize="medium")
        if self._cursor is not None:
            self._cursor.set_xdata([data["times"][frame]] * 2)

    def _stream(self, frame: int) -> None:
        """An arrow upstream, along the velocity where the fluid enters."""
        points, velocity = self._data["points"][frame], self._data["velocity"][frame]
        entry = points[:, 0] <= points[:, 0].min() + 1e-9
        along = velocity[entry].mean(axis=0)
        step = 0.7 * self._size * along / max(float(np.linalg.norm(along)), 1e-12)
        tail = self._centre - 1.9 * step
        style.plane_arrows(self._wide, (*tail, *step), color="white", width=0.008)

    def _frame(self, axes: Axes, low: np.ndarray, high: np.ndarray) -> None:
        """Limits around the body, without ticks."""
        points = self._data["points"]
        first = np.maximum(self._centre - low * self._size, points.min(axis=(0, 1)))
        last = np.minimum(self._centre + high * self._size, points.max(axis=(0, 1)))
        style.frame(axes, first, last)

    def _describe(self, frame: int) -> str:
        """The drag at a frame; of the first one no cost was taken."""
        drag = self._data.get("drag")
        if drag is None or not 0 < frame <= len(drag):
            return " "
        return f"$C_D$ = {drag[frame - 1]:.3f}"
