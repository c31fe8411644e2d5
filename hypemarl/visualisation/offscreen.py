"""Triangulated fields as pictures, drawn by PyVista without a display."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from types import ModuleType

    import pyvista


HEADLESS_LIBRARIES = ("libEGL.so.1", "libOSMesa.so.8", "libOSMesa.so")
HELP = (
    "PyVista cannot draw off screen here. On Debian or Ubuntu install libegl1, libgl1-mesa-dri and "
    "libxrender1 (other systems: EGL or OSMesa), or start under xvfb-run"
)


class RenderError(RuntimeError):
    """No picture could be drawn on this machine."""


class Picture:
    """A window off screen; subclasses put what it shows into it by ``_fill``.

    Args:
        size: width and height in pixels.

    Raises:
        RenderError: PyVista cannot be used without a display here.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.plotter: Any = None
        try:
            self.pyvista = _pyvista()
            self.plotter = self.pyvista.Plotter(off_screen=True, window_size=size)
            self.plotter.set_background("white")
            self._fill()
            picture = self.shot()
        except (ImportError, RuntimeError, OSError, AttributeError) as error:
            self.close()
            known = isinstance(error, RenderError)
            raise (error if known else RenderError(f"{HELP} ({error})")) from error
        if np.ptp(picture) == 0:
            self.close()
            raise RenderError(f"{HELP} (the picture is empty)")

    def _fill(self) -> None:
        """Add meshes to the plotter and place the camera."""
        raise NotImplementedError

    def shot(self) -> np.ndarray:
        """The present picture: (height, width, 3) uint8."""
        self.plotter.render()
        return np.asarray(self.plotter.screenshot(return_img=True))[..., :3]

    def close(self) -> None:
        """Release the off-screen window."""
        if self.plotter is not None:
            self.plotter.close()


class FieldPicture(Picture):
    """A scalar field on a plane triangulation as colours; the box low..high fills the picture.

    Args:
        points: (N, 2); cells: (M, 3).
        colours, limits: name of the colour map, and the values at its ends.
        box: lower and upper corner (2,) of the picture.
        pixels: length of the longer side.

    Raises:
        RenderError: PyVista cannot be used without a display here.
    """

    def __init__(
        self,
        points: np.ndarray,
        cells: np.ndarray,
        colours: str,
        limits: tuple[float, float],
        box: tuple[np.ndarray, np.ndarray],
        pixels: int,
    ) -> None:
        self._points, self._cells, self._box = points, cells, box
        self._colours, self._limits = colours, limits
        super().__init__(window_size(box[1] - box[0], pixels))

    def _fill(self) -> None:
        self._mesh = surface(self.pyvista, self._points, self._cells, 0.0)
        self._mesh.point_data["field"] = np.linspace(*self._limits, len(self._points))
        look = {"scalars": "field", "cmap": self._colours, "clim": self._limits}
        self.plotter.add_mesh(self._mesh, show_scalar_bar=False, lighting=False, **look)
        _look_from_above(self.plotter, *self._box)

    def draw(self, values: np.ndarray) -> np.ndarray:
        """The picture of nodal values (N,): (height, width, 3) uint8."""
        self._mesh.point_data["field"] = values
        return self.shot()


def window_size(extent: np.ndarray, pixels: int) -> tuple[int, int]:
    """Width and height in pixels of this extent (2,), whose longer side has ``pixels``."""
    width, height = np.maximum(np.round(pixels * extent / extent.max()), 16).astype(int)
    return int(width), int(height)


def surface(
    pyvista: ModuleType, points: np.ndarray, cells: np.ndarray, height: float
) -> pyvista.PolyData:
    """Triangles in the plane z = height."""
    spatial = np.column_stack([points, np.full(len(points), height)])
    return pyvista.PolyData.from_regular_faces(spatial, cells)


def round_up(value: float) -> float:
    """The next number of two digits, for the end of a colour bar; 1 for nothing."""
    if value <= 0.0:
        return 1.0
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(np.ceil(value / unit - 1e-9) * unit)


def _pyvista() -> ModuleType:
    """PyVista for use without a display.

    Raises:
        RenderError: there is nothing to draw with; VTK would end the process without a message.
    """
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        if not any(_loads(library) for library in HEADLESS_LIBRARIES):
            raise RenderError(f"{HELP} (there is none of {', '.join(HEADLESS_LIBRARIES)})")
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


def _look_from_above(plotter: pyvista.Plotter, low: np.ndarray, high: np.ndarray) -> None:
    """The box fills the window."""
    plotter.view_xy()
    plotter.enable_parallel_projection()
    plotter.camera.focal_point = (*(0.5 * (low + high)), 0.0)
    plotter.camera.position = (*(0.5 * (low + high)), 10.0)
    plotter.camera.parallel_scale = 0.5 * (high - low)[1]
    plotter.reset_camera_clipping_range()
