"""Frames of a problem in 2D: the field as colours, target contours, agents by their actions."""

import numpy as np
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.tri import Triangulation

from hypemarl.types import Record, Row
from hypemarl.visualisation import style
from hypemarl.visualisation.offscreen import FieldPicture
from hypemarl.visualisation.problem_fields import PanelScene, Problem

PIXELS = 800  # of the longer side of the domain
LEVELS = (0.25, 0.5, 0.75)
"""Contours of the target, as fractions of its range."""
CONTOUR_COLOURS = {style.DENSITY_MAP: "#FF7F50", style.VORTICITY_MAP: "black"}
"""By the colour map of the field, on all of which they must be seen."""


class PlaneProblemScene(PanelScene):
    """The controlled field, and beside or below it the uncontrolled one, drawn by PyVista.

    matplotlib draws the target's contours, whose levels are marked on the colour bar, and the
    agents as discs in the colour of their action.
    """

    def __init__(self, data: Record, reference: Record | None = None) -> None:
        """Both as ``fields.check_trajectory`` returns them; ``reference`` is the uncontrolled one.

        Raises:
            RenderError: PyVista cannot be used without a display here.
            ValueError: see :class:`Problem`.
        """
        problem = Problem(data, reference)
        points, cells, colours = problem.points, problem.cells, problem.colours
        box = (points.min(axis=0), points.max(axis=0))
        super().__init__(problem, problem.titles, box[1] - box[0])
        self._contour_colour = CONTOUR_COLOURS[colours.name]
        self._mesh = Triangulation(*points.T, cells)
        self._contours: list[Artist] = []
        self._picture = FieldPicture(points, cells, colours.name, colours.limits, box, PIXELS)
        try:
            self._build(box)
        except BaseException:
            self.close()
            raise

    def _build(self, box: tuple[np.ndarray, np.ndarray]) -> None:
        (left, bottom), (right, upper) = box
        extent, picture = (left, right, bottom, upper), self._picture.shot()
        self._images = [axes.imshow(picture, extent=extent) for axes in self.panels]
        self.draw_agents(self.problem.positions)
        for axes in self.panels:
            axes.set(xlim=(left, right), ylim=(bottom, upper))
        self.label_panels("position $x_1$", "position $x_2$")
        self._announce_target()
        self._draw_target(0)
        style.freeze_layout(self.figure)

    def _announce_target(self) -> None:
        """Choose the levels, mark them on the colour bar and say below what the lines are."""
        self._levels: list[float] = []
        target = self.problem.target
        if target is None:
            return
        low, high = float(target.min()), float(target.max())
        label = f"target: {low:.3g} everywhere"
        if high - low > 1e-9 * max(abs(low), abs(high)):
            self._levels = [low + share * (high - low) for share in LEVELS]
            label = "target, at the levels marked on the colour bar"
        for level in self._levels or [low]:
            self.bar.ax.axhline(level, color=self._contour_colour, linewidth=1.2)
        line = Line2D([], [], color=self._contour_colour, linewidth=1.2, label=label)
        style.legend_below(self.figure, 1, handles=[line])

    def _draw_target(self, frame: int) -> None:
        """Contours of the target in all panels, in place of earlier ones."""
        for artist in self._contours:
            artist.remove()
        self._contours = []
        if self.problem.target is not None and self._levels:
            values = self.problem.target[frame]
            look: Row = {"colors": self._contour_colour, "linewidths": 1.5, "linestyles": "solid"}
            for axes in self.panels:
                self._contours.append(axes.tricontour(self._mesh, values, self._levels, **look))

    def show(self, frame: int) -> None:
        """Fields, actions, and the target where it moves."""
        for run, image in enumerate(self._images):
            image.set_data(self._picture.draw(self.problem.values(run, frame)))
        self.agents.set_array(self.problem.actions[frame])
        if self.problem.target_moves:
            self._draw_target(frame)

    def close(self) -> None:
        """Release the off-screen window."""
        self._picture.close()
