"""Frames of a 2D episode, drawn by PyVista off screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D

from hypemarl.types import Record
from hypemarl.visualisation import style
from hypemarl.visualisation.axis_fields import agent_arrows
from hypemarl.visualisation.offscreen import FieldPicture, round_up, surface

if TYPE_CHECKING:
    from types import ModuleType

    import pyvista


PIXELS = 800  # of the longer side of the domain
LEVELS = (0.25, 0.5, 0.75)
"""Contours of the target, as fractions of its maximum."""
ARROW = [(-0.5, -0.06), (0.12, -0.06), (0.12, -0.18), (0.5, 0.0)]
ARROW += [(0.12, 0.18), (0.12, 0.06), (-0.5, 0.06)]
ARROW_COLOUR, OUTLINE_COLOUR, CONTOUR_COLOUR = "white", "#202020", "#FF7F50"


class PlaneScene(style.Scene):
    """Density as colour, target as contours, control as arrows at the agents.

    PyVista draws the domain; matplotlib puts axes, a colour bar and a legend around it.
    """

    def __init__(self, data: Record) -> None:
        """``data`` is what ``fields.check_trajectory`` returns.

        Raises:
            RenderError: PyVista cannot be used without a display here.
        """
        self._data, self._control = data, agent_arrows(data)
        points, cells = data["points"], data["cells"]
        top = round_up(max(float(data["density"].max()), float(data["target"].max())))
        box = (points.min(axis=0), points.max(axis=0))
        self._picture = FieldPicture(points, cells, style.DENSITY_MAP, (0.0, top), box, PIXELS)
        self._plotter = self._picture.plotter
        self._add_target(surface(self._picture.pyvista, points, cells, 0.001))
        self._prepare_arrows(self._picture.pyvista)
        super().__init__(8.0, 7.25)
        self._surround(top)

    def _add_target(self, plane: pyvista.PolyData) -> None:
        plane.point_data["target"] = self._data["target"]
        peak = float(self._data["target"].max())
        contours = plane.contour([level * peak for level in LEVELS], scalars="target")
        if contours.n_points:
            contours.clear_data()
            self._plotter.add_mesh(contours, color=CONTOUR_COLOUR, line_width=3, lighting=False)

    def _prepare_arrows(self, pyvista: ModuleType) -> None:
        """One arrow per agent, turned and scaled in every frame; the longest spans the spacing."""
        places, arrows = self._data["positions"], self._control
        self._places = pyvista.PolyData(np.column_stack([places, np.full(len(places), 0.01)]))
        self._longest = float(np.linalg.norm(arrows, axis=2).max())
        spacing = np.sqrt(np.ptp(self._data["points"], axis=0).prod() / len(places))
        self._scale = 0.9 * spacing / max(self._longest, 1e-12)
        outline = np.array(ARROW)
        face = np.r_[len(outline), np.arange(len(outline))]
        self._arrow = pyvista.PolyData(np.column_stack([outline, 0 * outline[:, 0]]), face)

    def _field(self, frame: int) -> np.ndarray:
        """PyVista's picture of the domain: (height, width, 3) uint8."""
        arrows = self._control[frame]
        self._places["u"] = np.column_stack([arrows, np.zeros(len(arrows))])
        glyphs = self._places.glyph(
            orient="u", scale="u", factor=self._scale, geom=self._arrow, tolerance=None
        )
        glyphs.clear_data()
        look = {"color": ARROW_COLOUR, "edge_color": OUTLINE_COLOUR, "line_width": 1.5}
        once = {"name": "arrows", "reset_camera": False, "render": False}
        self._plotter.add_mesh(glyphs, show_edges=True, lighting=False, **look, **once)
        return self._picture.draw(self._data["density"][frame])

    def show(self, frame: int) -> None:
        """The density and the agents' arrows."""
        self._image.set_data(self._field(frame))

    def close(self) -> None:
        """Release the off-screen window."""
        self._picture.close()

    def _surround(self, top: float) -> None:
        """Axes, colour bar, legend and caption around PyVista's picture."""
        figure, points = self.figure, self._data["points"]
        axes = figure.subplots()
        self._title.set_in_layout(False)
        self._title = axes.set_title(" ")
        (left, bottom), (right, upper) = points.min(axis=0), points.max(axis=0)
        self._image = axes.imshow(self._field(0), extent=(left, right, bottom, upper))
        axes.set(xlabel="position $x_1$", ylabel="position $x_2$")
        colours = ScalarMappable(Normalize(0.0, top), style.DENSITY_MAP)
        beside = axes.inset_axes((1.03, 0.0, 0.04, 1.0))
        figure.colorbar(colours, cax=beside, label="density $y$")
        levels = ", ".join(f"{level:.0%}" for level in LEVELS).replace("%", "")
        label = f"target $y_d$: {levels} % of its maximum"
        target = Line2D([], [], color=CONTOUR_COLOUR, label=label)
        label = f"control $u$ at the agents, longest arrow {self._longest:.2g}"
        control = Line2D([], [], color=OUTLINE_COLOUR, linestyle="none", label=label)
        control.set(marker=r"$\rightarrow$", markersize=16)
        style.legend_below(figure, 2, handles=[target, control])
        style.freeze_layout(figure)
