"""The channel (0, length) x (0, height) around an obstacle that can be morphed.

The obstacle's facets are laid out along its outline (:mod:`hypemarl.meshing.obstacles`); the edge
length grows from theirs in proportion to the distance up to ``element_size``, with a finer wake.
"""

import math

import gmsh
import numba
import numpy as np

from hypemarl.config import MeshConfig
from hypemarl.meshing import obstacles
from hypemarl.meshing.channel import (
    FRAME,
    GROWTH,
    WAKE_LENGTH,
    WAKE_SIZE,
    WAKE_WIDTH,
    add_frame,
    disc_size,
    frame_measures,
    require_sizes,
)
from hypemarl.meshing.raw import MeshError

TAGS = FRAME | {"obstacle": (1, 6)}


def validate(config: MeshConfig) -> None:
    """Check the numbers of the channel and that the obstacle lies inside, off the walls.

    Raises MeshError with the keys and the allowed values.
    """
    require_sizes(config)
    points = obstacles.curve(config)(np.arange(512) / 512)
    low, high = points.min(axis=0), points.max(axis=0)
    room = min(*low, config.length - high[0], config.height - high[1])
    if not room > 0.0:
        raise MeshError(
            f"the obstacle, from {low.tolist()} to {high.tolist()}, touches or leaves the channel "
            f"of env.mesh.length={config.length}, env.mesh.height={config.height}; take a smaller "
            f"env.mesh.obstacle_length={config.obstacle_length} or another "
            f"env.mesh.disc_centre={list(config.disc_centre)}"
        )


def exact_measures(config: MeshConfig) -> dict[str, float]:
    """Exact area or length of every tag: name -> measure."""
    area, length = obstacles.exact_measures(config)
    return frame_measures(config, area) | {"obstacle": length}


def channel(model: type[gmsh.model], config: MeshConfig) -> dict[str, list[int]]:
    """Add the channel to a gmsh model, with its sizes; returns the entities of each tag."""
    outline = obstacles.lay_out(obstacles.curve(config), disc_size(config))
    entities = add_frame(model.geo, config, "obstacle", lambda: add_facets(model.geo, outline))
    _prescribe_sizes(model, config, outline)
    return entities


def add_facets(geo: type[gmsh.model.geo], corners: np.ndarray) -> list[int]:
    """Add a closed polygon whose sides gmsh does not divide; returns its lines."""
    points = [geo.addPoint(x, y, 0.0) for x, y in corners.tolist()]
    lines = [geo.addLine(point, points[i - 1]) for i, point in enumerate(points)]
    for line in lines:
        geo.mesh.setTransfiniteCurve(line, 2)
    return lines


def facet_sizes(corners: np.ndarray) -> np.ndarray:
    """Mean length (n,) of the two facets at each corner of a closed polygon."""
    lengths = np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1)
    return 0.5 * (lengths + np.roll(lengths, -1))


@numba.njit(cache=True)
def graded_size(
    x: float, y: float, points: np.ndarray, sizes: np.ndarray, growth: float, coarse: float
) -> float:
    """Smallest of ``coarse`` and size + growth * distance over all points."""
    least = coarse
    for k in range(len(points)):
        if sizes[k] < least:
            d_x, d_y = x - points[k, 0], y - points[k, 1]
            least = min(least, sizes[k] + growth * np.sqrt(d_x * d_x + d_y * d_y))
    return least


def _prescribe_sizes(model: type[gmsh.model], config: MeshConfig, outline: np.ndarray) -> None:
    """Growth from the facets, and the wake, whichever is finer."""
    sizes, coarse = facet_sizes(outline), config.element_size
    extent = float(np.ptp(outline, axis=0).max())
    x_0, y_0 = config.disc_centre
    wake = max(WAKE_SIZE * coarse, float(sizes.min()))

    def size(dim: int, tag: int, x: float, y: float, z: float, before: float) -> float:
        off_x = max(x_0 - x, x - x_0 - WAKE_LENGTH * extent, 0.0)
        off_y = max(abs(y - y_0) - 0.5 * WAKE_WIDTH * extent, 0.0)
        finest = min(coarse, wake + GROWTH * math.hypot(off_x, off_y))
        return float(graded_size(x, y, outline, sizes, GROWTH, finest))

    model.mesh.setSizeCallback(size)
