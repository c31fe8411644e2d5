"""Frames of a problem in 3D: slices through the middle, and the agents, seen from one side."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.image import AxesImage

from hypemarl.types import Record, Row
from hypemarl.visualisation import style
from hypemarl.visualisation.offscreen import Picture, window_size
from hypemarl.visualisation.problem_fields import PanelScene, Problem

PIXELS = 640  # of the longer side of a panel
VIEW = np.array([1.0, -1.7, 1.0])
"""Direction from the middle of the domain to the eye."""
MARGIN = 0.1
"""Around the domain in a panel, as a share of its larger extent; the labels stand there."""
DEPTH = 0.55
"""Diameter of the farthest agents relative to the nearest ones."""
EDGE_COLOUR = "#303030"


class View:
    """A parallel projection of a box onto a picture that it fills, up to a margin.

    Args:
        low, high: corners (3,) of the box.
    """

    def __init__(self, low: np.ndarray, high: np.ndarray) -> None:
        self.low, self.high = low, high
        self.centre, self.size = 0.5 * (low + high), float(np.linalg.norm(high - low))
        self.towards = VIEW / np.linalg.norm(VIEW)
        across = np.cross([0.0, 0.0, 1.0], self.towards)
        self.across = across / np.linalg.norm(across)
        self.upwards = np.cross(self.towards, self.across)
        corners = [self.project(np.where(bits, high, low)) for bits in np.ndindex(2, 2, 2)]
        extent = np.max(corners, axis=0) - np.min(corners, axis=0)
        self.extent = extent + 2.0 * MARGIN * extent.max()

    def project(self, places: np.ndarray) -> np.ndarray:
        """Coordinates (..., 2) in the picture, whose middle is zero, of places (..., 3)."""
        return np.asarray((places - self.centre) @ np.stack([self.across, self.upwards], axis=1))

    def nearness(self, places: np.ndarray) -> np.ndarray:
        """From 0 for the corner of the box farthest from the eye to 1 for the nearest: (...)."""
        reach = 0.5 * np.abs(self.towards) @ (self.high - self.low)
        return np.asarray(0.5 + 0.5 * ((places - self.centre) @ self.towards) / reach)

    def edges(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Middle in the picture, and direction away from the box, of one front edge per axis."""
        x, y, z = (self.low + self.high) / 2.0
        (left, front, bottom), right = self.low, self.high[0]
        places = [(x, front, bottom), (right, y, bottom), (left, front, z)]
        away = [(0.0, -1.0, -1.0), (1.0, 0.0, -1.0), (-1.0, -1.0, 0.0)]
        found = []
        for place, direction in zip(places, away, strict=True):
            flat = self.project(self.centre + np.array(direction))
            found.append((self.project(np.array(place)), flat / np.linalg.norm(flat)))
        return found


class SpacePicture(Picture):
    """A field on tetrahedra: three slices through the middle, and the domain's edges.

    Args:
        problem: in 3D. view: how it is seen, the same in all pictures.

    Raises:
        RenderError: PyVista cannot be used without a display here.
    """

    def __init__(self, problem: Problem, view: View) -> None:
        self._problem, self._view = problem, view
        super().__init__(window_size(view.extent, PIXELS))

    def _fill(self) -> None:
        problem, view, pyvista = self._problem, self._view, self.pyvista
        points = np.asarray(problem.points, dtype=float)
        cells = {pyvista.CellType.TETRA: turned_alike(points, np.asarray(problem.cells))}
        self._grid = pyvista.UnstructuredGrid(cells, points)
        self._grid.point_data["field"] = problem.values(0, 0)
        edges = self._grid.extract_surface(algorithm=None).extract_feature_edges(30.0)
        edges.clear_data()
        self._add(edges if edges.n_points else self._grid.outline())
        colours = problem.colours
        look: Row = {"cmap": colours.name, "clim": colours.limits, "show_scalar_bar": False}
        self._slices = [self._slice(axis) for axis in range(3)]
        for piece in self._slices:
            self._add(piece, scalars="field", **look)
        camera = self.plotter.camera
        camera.focal_point = tuple(view.centre)
        camera.position = tuple(view.centre + 3.0 * view.size * view.towards)
        camera.up = (0.0, 0.0, 1.0)
        self.plotter.enable_parallel_projection()
        camera.parallel_scale = 0.5 * view.extent[1]
        self.plotter.reset_camera_clipping_range()

    def _add(self, mesh: Any, **look: Any) -> None:
        options: Row = {"color": EDGE_COLOUR, "line_width": 2, "lighting": False, "render": False}
        self.plotter.add_mesh(mesh, reset_camera=False, **(options | look))

    def _slice(self, axis: int) -> Any:
        normal = np.eye(3)[axis]
        return self._grid.slice(normal=normal, origin=self._view.centre)

    def draw(self, values: np.ndarray) -> np.ndarray:
        """The picture of nodal values (N,): (height, width, 3) uint8."""
        self._grid.point_data["field"] = values
        for axis, piece in enumerate(self._slices):
            piece.copy_from(self._slice(axis))
        return self.shot()


def turned_alike(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Tetrahedra (M, 4) of positive volume: facets look outwards, which edges are found by."""
    sides = points[cells[:, 1:]] - points[cells[:, :1]]
    turned = np.linalg.det(sides) < 0.0
    return np.where(turned[:, None], cells[:, [0, 2, 1, 3]], cells)


class SpaceProblemScene(PanelScene):
    """The controlled field, the uncontrolled one and the target, as far as recorded.

    Agents are discs in the colour of their action, the smaller the farther away. They are drawn
    over the slices, so that none is hidden.
    """

    def __init__(self, data: Record, reference: Record | None = None) -> None:
        """Both as ``fields.check_trajectory`` returns them; ``reference`` is the uncontrolled one.

        Raises:
            RenderError: PyVista cannot be used without a display here.
            ValueError: see :class:`Problem`.
        """
        problem = Problem(data, reference)
        self._view = View(problem.points.min(axis=0), problem.points.max(axis=0))
        titles = problem.titles + ["target"] * (problem.target is not None)
        super().__init__(problem, titles, self._view.extent)
        self._picture = SpacePicture(problem, self._view)
        try:
            self._images = [self._place(panel) for panel in range(len(titles))]
            if problem.target is not None:
                self._images[-1].set_data(self._picture.draw(problem.target[0]))
            near = self._view.nearness(problem.positions)
            flat = self._view.project(problem.positions)
            self.draw_agents(flat, (DEPTH + (1.0 - DEPTH) * near) ** 2)
            style.freeze_layout(self.figure)
        except BaseException:
            self.close()
            raise

    def _place(self, panel: int) -> AxesImage:
        """A picture with the names and ranges of the axes at three edges of the box."""
        axes, (width, height) = self.panels[panel], 0.5 * self._view.extent
        axes.set_axis_off()
        image = axes.imshow(self._picture.shot(), extent=(-width, width, -height, height))
        ranges = zip(self._view.edges(), self._view.low, self._view.high, strict=True)
        for number, ((middle, away), low, high) in enumerate(ranges, 1):
            place = middle + 0.05 * self._view.extent.max() * away
            text = f"$x_{number}$: {low:.3g} to {high:.3g}"
            look: Row = {"ha": "center", "va": "center", "fontsize": "small"}
            look["rotation"] = 90.0 if number == 3 else 0.0
            axes.text(place[0], place[1], text, **look)
        return image

    def show(self, frame: int) -> None:
        """Fields, actions, and the target where it moves."""
        problem = self.problem
        for run in range(len(problem.runs)):
            self._images[run].set_data(self._picture.draw(problem.values(run, frame)))
        self.agents.set_array(problem.actions[frame])
        if problem.target is not None and problem.target_moves:
            self._images[-1].set_data(self._picture.draw(problem.target[frame]))

    def close(self) -> None:
        """Release the off-screen window."""
        self._picture.close()
