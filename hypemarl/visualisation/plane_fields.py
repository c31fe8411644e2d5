"""Frames of a 2D episode, drawn by PyVista off screen."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D

from hypemarl.visualisation import style

PIXELS = 800  # of the longer side of the domain
LEVELS = (0.25, 0.5, 0.75)
"""Contours of the target, as fractions of its maximum."""
ARROW = [(-0.5, -0.06), (0.12, -0.06), (0.12, -0.18), (0.5, 0.0)]
ARROW += [(0.12, 0.18), (0.12, 0.06), (-0.5, 0.06)]
ARROW_COLOUR, OUTLINE_COLOUR, CONTOUR_COLOUR = "white", "#202020", "#FF7F50"
HEADLESS_LIBRARIES = ("libEGL.so.1", "libOSMesa.so.8", "libOSMesa.so")
HELP = (
    "PyVista cannot draw off screen here. On Debian or Ubuntu install libegl1, libgl1-mesa-dri and "
    "libxrender1 (other systems: EGL or OSMesa), or start under xvfb-run"
)


class RenderError(RuntimeError):
    """No picture could be drawn on this machine."""


class PlaneScene:
    """Density as colour, target as contours, control as arrows at the agents.

    PyVista draws the domain; matplotlib puts axes, a colour bar and a legend around it.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        """``data`` is what ``fields.check_trajectory`` returns.

        Raises:
            RenderError: PyVista cannot be used without a display here.
        """
        self._data = data
        self._plotter: Any = None
        top = max(float(data["density"].max()), float(data["target"].max()))
        self._top = _round_up(top)
        try:
            self._build()
            picture = self._field(0)
        except (ImportError, RuntimeError, OSError, AttributeError) as error:
            self.close()
            raise RenderError(f"{HELP} ({error})") from error
        if np.ptp(picture) == 0:
            self.close()
            raise RenderError(f"{HELP} (the picture is empty)")
        self._frame = _Frame(data, picture, self._top, self._longest)

    def _build(self) -> None:
        pyvista = _pyvista()
        points, cells = self._data["points"], self._data["cells"]
        extent = np.ptp(points, axis=0)
        width, height = np.maximum(np.round(PIXELS * extent / extent.max()), 16).astype(int)
        self._plotter = pyvista.Plotter(off_screen=True, window_size=(int(width), int(height)))
        self._plotter.set_background("white")
        self._mesh = _surface(pyvista, points, cells, 0.0)
        self._mesh.point_data["density"] = self._data["density"][0]
        self._plotter.add_mesh(
            self._mesh,
            scalars="density",
            cmap=style.DENSITY_MAP,
            clim=(0.0, self._top),
            show_scalar_bar=False,
            lighting=False,
        )
        self._add_target(_surface(pyvista, points, cells, 0.001))
        self._prepare_arrows(pyvista)
        _look_from_above(self._plotter, points)

    def _add_target(self, surface: Any) -> None:
        surface.point_data["target"] = self._data["target"]
        peak = float(self._data["target"].max())
        contours = surface.contour([level * peak for level in LEVELS], scalars="target")
        if contours.n_points:
            contours.clear_data()
            self._plotter.add_mesh(contours, color=CONTOUR_COLOUR, line_width=3, lighting=False)

    def _prepare_arrows(self, pyvista: Any) -> None:
        """One arrow per agent, turned and scaled in every frame; the longest spans the spacing."""
        places, arrows = self._data["positions"], self._data["arrows"]
        self._places = pyvista.PolyData(np.column_stack([places, np.full(len(places), 0.01)]))
        self._longest = float(np.linalg.norm(arrows, axis=2).max())
        spacing = np.sqrt(np.ptp(self._data["points"], axis=0).prod() / len(places))
        self._scale = 0.9 * spacing / max(self._longest, 1e-12)
        outline = np.array(ARROW)
        face = np.r_[len(outline), np.arange(len(outline))]
        self._arrow = pyvista.PolyData(np.column_stack([outline, 0 * outline[:, 0]]), face)

    def _field(self, frame: int) -> np.ndarray:
        """PyVista's picture of the domain: (height, width, 3) uint8."""
        self._mesh.point_data["density"] = self._data["density"][frame]
        arrows = self._data["arrows"][frame]
        self._places["u"] = np.column_stack([arrows, np.zeros(len(arrows))])
        glyphs = self._places.glyph(
            orient="u", scale="u", factor=self._scale, geom=self._arrow, tolerance=None
        )
        glyphs.clear_data()
        self._plotter.add_mesh(
            glyphs,
            color=ARROW_COLOUR,
            show_edges=True,
            edge_color=OUTLINE_COLOUR,
            line_width=1.5,
            lighting=False,
            name="arrows",
            reset_camera=False,
            render=False,
        )
        self._plotter.render()
        return np.asarray(self._plotter.screenshot(return_img=True))[..., :3]

    def draw(self, frame: int, text: str) -> np.ndarray:
        """One frame as an image: (height, width, 3) uint8."""
        return self._frame.draw(self._field(frame), text)

    def close(self) -> None:
        """Release the off-screen window."""
        if self._plotter is not None:
            self._plotter.close()


class _Frame:
    """Axes, colour bar, legend and caption around PyVista's picture."""

    def __init__(
        self, data: Mapping[str, Any], picture: np.ndarray, top: float, longest: float
    ) -> None:
        figure = style.new_figure(8.0, 7.25)
        figure.set_dpi(style.FRAME_DPI)
        self._canvas = FigureCanvasAgg(figure)
        axes = figure.subplots()
        self._title = axes.set_title(" ")
        (left, bottom), (right, upper) = data["points"].min(axis=0), data["points"].max(axis=0)
        self._image = axes.imshow(picture, extent=(left, right, bottom, upper))
        axes.set(xlabel="position $x_1$", ylabel="position $x_2$")
        colours = ScalarMappable(Normalize(0.0, top), style.DENSITY_MAP)
        beside = axes.inset_axes((1.03, 0.0, 0.04, 1.0))
        figure.colorbar(colours, cax=beside, label="density $y$")
        levels = ", ".join(f"{level:.0%}" for level in LEVELS).replace("%", "")
        target = Line2D(
            [], [], color=CONTOUR_COLOUR, label=f"target $y_d$: {levels} % of its maximum"
        )
        control = Line2D(
            *([], []),
            linestyle="none",
            marker=r"$\rightarrow$",
            markersize=16,
            color=OUTLINE_COLOUR,
            label=f"control $u$ at the agents, longest arrow {longest:.2g}",
        )
        figure.legend(handles=[target, control], loc="outside lower center", ncols=2, frameon=False)
        style.freeze_layout(figure)

    def draw(self, picture: np.ndarray, text: str) -> np.ndarray:
        self._image.set_data(picture)
        self._title.set_text(text)
        self._canvas.draw()
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()


def _round_up(value: float) -> float:
    """The next number of two digits, for the end of the colour bar; 1 for nothing."""
    if value <= 0.0:
        return 1.0
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(np.ceil(value / unit - 1e-9) * unit)


def _pyvista() -> Any:
    """PyVista for use without a display.

    Raises:
        RenderError: there is nothing to draw with; VTK would end the process without a message.
    """
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        if not any(_loads(library) for library in HEADLESS_LIBRARIES):
            raise RenderError(f"{HELP} (none of {', '.join(HEADLESS_LIBRARIES)} was found)")
    import pyvista
    from vtkmodules.vtkCommonCore import vtkLogger

    # VTK tries the display, then EGL, then OSMesa, and would warn of every miss.
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_ERROR)
    pyvista.OFF_SCREEN = True
    return pyvista


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _surface(pyvista: Any, points: np.ndarray, cells: np.ndarray, height: float) -> Any:
    """Triangles in the plane z = height."""
    spatial = np.column_stack([points, np.full(len(points), height)])
    return pyvista.PolyData.from_regular_faces(spatial, cells)


def _look_from_above(plotter: Any, points: np.ndarray) -> None:
    """The domain fills the window."""
    low, high = points.min(axis=0), points.max(axis=0)
    plotter.view_xy()
    plotter.enable_parallel_projection()
    plotter.camera.focal_point = (*(0.5 * (low + high)), 0.0)
    plotter.camera.position = (*(0.5 * (low + high)), 10.0)
    plotter.camera.parallel_scale = 0.5 * (high - low)[1]
    plotter.reset_camera_clipping_range()
