"""Frames of a flow around a body, found in the mesh: vorticity, jets, drag and lift."""

from __future__ import annotations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.image import AxesImage
from matplotlib.patches import Polygon

from hypemarl.meshing.morphing.motion import boundary_edges
from hypemarl.meshing.morphing.outlines import closed_loops
from hypemarl.meshing.polygons import signed_area
from hypemarl.types import Record
from hypemarl.visualisation import forces, style
from hypemarl.visualisation.offscreen import FieldPicture, round_up

Box = tuple[np.ndarray, np.ndarray]  # lower and upper corner, (2,) each

WIDTH = 10.0  # inches
PANEL_WIDTH, ROW_HEIGHT = 8.4, 2.3  # inches: a channel, and what stands below the channels
PIXELS, CLOSE_PIXELS = 1200, 400
CLIP = 0.98
"""Share of the domain's area whose vorticity lies within the colours; the layers at the body and
at the walls, far stronger and thin, are clipped."""
BODY_COLOUR = "0.55"


class FlowScene(style.Scene):
    """The controlled flow, below it the uncontrolled one, the jets close up, drag and lift."""

    def __init__(self, data: Record, reference: Record | None = None) -> None:
        """Both as ``fields.check_trajectory`` returns them; ``reference`` is the uncontrolled one.

        Raises:
            RenderError: PyVista cannot be used without a display here.
            ValueError: the mesh has no body in it.
        """
        self._flows = [data] if reference is None else [data, reference]
        points, cells = data["points"], data["cells"]
        self._outline = find_body(points, cells)
        self._jets = jets_of(self._outline, data)
        self._bound = vorticity_bound(self._flows)
        self._box = (points.min(axis=0), points.max(axis=0))
        close = self._jets.box(points)
        self._pictures: list[FieldPicture] = []
        try:
            self._pictures.append(self._picture(self._box, PIXELS))
            self._pictures.append(self._picture(close, CLOSE_PIXELS))
        except BaseException:
            self.close()
            raise
        self._arrows: Artist | None = None
        extent = self._box[1] - self._box[0]
        self._panel = PANEL_WIDTH * float(extent[1] / extent[0]) + 0.45
        height = len(self._flows) * self._panel + ROW_HEIGHT + 1.0
        super().__init__(WIDTH, np.ceil(8.0 * height) / 8.0)
        self._build(close)

    def _picture(self, box: Box, pixels: int) -> FieldPicture:
        data, limits = self._flows[0], (-self._bound, self._bound)
        return FieldPicture(data["points"], data["cells"], style.VORTICITY_MAP, limits, box, pixels)

    def _build(self, close: Box) -> None:
        count, figure = len(self._flows), self.figure
        ratios = [self._panel] * count + [ROW_HEIGHT]
        rows = figure.add_gridspec(count + 1, 1, height_ratios=ratios)
        channels = [figure.add_subplot(rows[k]) for k in range(count)]
        self._images = [self._place(axes, 0, self._box) for axes in channels]
        self._panels = channels
        colours = ScalarMappable(Normalize(-self._bound, self._bound), style.VORTICITY_MAP)
        figure.colorbar(
            colours, ax=channels, label="vorticity", extend="both", aspect=12 * count, pad=0.01
        )
        series = [name for name in ("drag", "lift") if all(name in flow for flow in self._flows)]
        below = rows[count].subgridspec(
            1, 1 + len(series), width_ratios=[1.0] + [1.45] * len(series)
        )
        self._near = figure.add_subplot(below[0])
        self._close = self._place(self._near, 1, close)
        self._near.set_title(f"jets (longest {self._jets.largest:.2g})", fontsize="medium")
        self._cursors = []
        for k, name in enumerate(series, 1):
            axes = figure.add_subplot(below[k])
            forces.draw_series(axes, self._flows, name)
            self._cursors.append(axes.axvline(0.0, color="0.3", linewidth=1.0))
        if series:
            style.legend_below(figure, count, handles=figure.axes[-1].get_lines()[:count])
        style.freeze_layout(figure)

    def _place(self, axes: Axes, which: int, box: Box) -> AxesImage:
        """The picture of a box with the body in it."""
        (left, bottom), (right, upper) = box
        picture = self._pictures[which].shot()
        image = axes.imshow(picture, extent=(left, right, bottom, upper), aspect="equal")
        axes.add_patch(Polygon(self._outline, facecolor=BODY_COLOUR, edgecolor="black", zorder=3))
        axes.tick_params(labelsize="small")
        return image

    def show(self, frame: int) -> None:
        """Vorticity of all flows, the jets, and the time in the series."""
        for flow, image, axes in zip(self._flows, self._images, self._panels, strict=True):
            last = min(frame, len(flow["times"]) - 1)
            image.set_data(self._pictures[0].draw(flow["vorticity"][last]))
            axes.set_title(forces.describe(flow, last), fontsize="medium")
        self._close.set_data(self._pictures[1].draw(self._flows[0]["vorticity"][frame]))
        if self._arrows is not None:
            self._arrows.remove()
        self._arrows = self._jets.draw(self._near, frame)
        for cursor in self._cursors:
            cursor.set_xdata([self._flows[0]["times"][frame]] * 2)

    def close(self) -> None:
        """Release the off-screen windows."""
        for picture in self._pictures:
            picture.close()


def vorticity_bound(flows: list[Record]) -> float:
    """End of the symmetric colours: ``CLIP`` of the area stays below it in all frames.

    Areas count, not nodes, of which most stand close to the body where the mesh is fine.
    """
    points, cells = flows[0]["points"], flows[0]["cells"]
    a, b, c = (points[cells[:, k]] for k in range(3))
    (ux, uy), (vx, vy) = (b - a).T, (c - a).T
    areas = 0.5 * np.abs(ux * vy - uy * vx)
    weights = np.bincount(cells.ravel(), np.repeat(areas, 3), minlength=len(points))
    bounds = []
    for flow in flows:
        for values in np.abs(flow["vorticity"]):
            order = np.argsort(values)
            share = np.cumsum(weights[order]) / weights.sum()
            bounds.append(values[order[np.searchsorted(share, CLIP)]])
    return round_up(float(np.max(bounds)))


def find_body(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Outline (k, 2) of the largest hole of the mesh.

    Raises:
        ValueError: the mesh has no hole.
    """
    loops = [points[loop] for loop in closed_loops(boundary_edges(cells))]
    if len(loops) < 2:
        raise ValueError("a flow is drawn around a body, but the mesh has no hole")
    return sorted(loops, key=lambda outline: abs(signed_area(outline)))[-2]


def jets_of(outline: np.ndarray, data: Record) -> Jets:
    """The jets of a trajectory; in those of version 0.1 they are the amplitudes of the agents."""
    if "jets" in data:
        frames = (len(data["times"]), *data["jets"].shape[-2:])
        return Jets(outline, data["jets"], np.broadcast_to(data["jet_velocity"], frames))
    offsets = data["positions"] - 0.5 * (outline.min(axis=0) + outline.max(axis=0))
    normals = offsets / np.linalg.norm(offsets, axis=1, keepdims=True)
    tangents = np.stack([-normals[:, 1], normals[:, 0]], axis=1)
    directions = np.stack([normals, tangents])[: data["actions"].shape[2]]
    return Jets(outline, data["positions"], np.einsum("fnc,cnx->fnx", data["actions"], directions))


class Jets:
    """Arrows on the body: out of it, into it or along it.

    Args:
        outline: (k, 2) of the body; positions: (n, 2) of the jets on it.
        velocities: (F, n, 2) of them.
    """

    def __init__(self, outline: np.ndarray, positions: np.ndarray, velocities: np.ndarray) -> None:
        self.centre = 0.5 * (outline.min(axis=0) + outline.max(axis=0))
        self.size = float(np.ptp(outline, axis=0).max())
        offsets = positions - self.centre
        self.normals = offsets / np.linalg.norm(offsets, axis=1, keepdims=True)
        through = np.einsum("fnx,nx->fn", velocities, self.normals)[..., None]
        self._inward = np.minimum(through, 0.0) * self.normals
        self._vectors = velocities
        self.largest = float(np.linalg.norm(self._vectors, axis=2).max(initial=0.0))
        # The longest arrow is half as long as the body is wide.
        self.scale = 0.5 * self.size / max(self.largest, 1e-12)
        self._positions = positions

    def box(self, points: np.ndarray, diameters: float = 1.25) -> Box:
        """A square around the body that also holds the arrows, cut off at the domain's walls."""
        reach = diameters * self.size
        low = np.maximum(self.centre - reach, points.min(axis=0))
        return low, np.minimum(self.centre + reach, points.max(axis=0))

    def arrows(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Tails and vectors of the arrows: (n, 2) each. Suction ends at the body."""
        return self._positions - self.scale * self._inward[frame], self.scale * self._vectors[frame]

    def draw(self, axes: Axes, frame: int) -> Artist:
        """Add the arrows of a frame to matplotlib axes; returns the artist."""
        tails, vectors = self.arrows(frame)
        look = {"width": 0.02, "headwidth": 4.5, "headlength": 5.0, "minlength": 0.5, "zorder": 4}
        colours = {"facecolor": "black", "edgecolor": "white", "linewidth": 0.4}
        arrows = (*tails.T, *vectors.T)
        return style.plane_arrows(axes, arrows, 1.0, units="inches", **look, **colours)
