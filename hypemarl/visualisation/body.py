"""The body in a flow by the mesh: its outline, and arrows of the jets on it."""

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from hypemarl.meshing.morphing.motion import boundary_edges
from hypemarl.meshing.morphing.outlines import closed_loops
from hypemarl.meshing.polygons import signed_area
from hypemarl.visualisation import style

Box = tuple[np.ndarray, np.ndarray]  # lower and upper corner, (2,) each


def find_body(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Outline (k, 2) of the largest hole of the mesh.

    Raises:
        ValueError: the mesh has no hole.
    """
    loops = [points[loop] for loop in closed_loops(boundary_edges(cells))]
    if len(loops) < 2:
        raise ValueError("a flow is drawn around a body, but the mesh has no hole")
    return sorted(loops, key=lambda outline: abs(signed_area(outline)))[-2]


class Jets:
    """Arrows on the body: normal amplitudes out of it or into it, tangential ones along it.

    Args:
        outline: (k, 2) of the body; positions: (n, 2) of the agents on it.
        actions: (F, n, m) amplitudes, normal (positive out of the body), then, for m = 2,
            tangential (anticlockwise).
    """

    def __init__(self, outline: np.ndarray, positions: np.ndarray, actions: np.ndarray) -> None:
        self.centre = 0.5 * (outline.min(axis=0) + outline.max(axis=0))
        self.size = float(np.ptp(outline, axis=0).max())
        offsets = positions - self.centre
        self.normals = offsets / np.linalg.norm(offsets, axis=1, keepdims=True)
        tangents = np.stack([-self.normals[:, 1], self.normals[:, 0]], axis=1)
        directions = np.stack([self.normals, tangents])[: actions.shape[2]]
        self._inward = np.minimum(actions[..., :1], 0.0) * self.normals
        self._vectors = np.einsum("fnc,cnx->fnx", actions, directions)
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
        """Where the arrows begin, and where they lead: (n, 2) each. Suction ends at the body."""
        return self._positions - self.scale * self._inward[frame], self.scale * self._vectors[frame]

    def draw(self, axes: Axes, frame: int) -> Artist:
        """Add the arrows of a frame to matplotlib axes; returns the artist."""
        tails, vectors = self.arrows(frame)
        look = {"width": 0.02, "headwidth": 4.5, "headlength": 5.0, "minlength": 0.5, "zorder": 4}
        colours = {"facecolor": "black", "edgecolor": "white", "linewidth": 0.4}
        arrows = (*tails.T, *vectors.T)
        return style.plane_arrows(axes, arrows, 1.0, units="inches", **look, **colours)
