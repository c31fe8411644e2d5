"""A cylinder that oscillates along a line in fluid at rest, on a mesh that follows it."""

import math
from typing import NamedTuple

import numpy as np

from hypemarl.config import MeshConfig
from hypemarl.meshing import RawMesh, distribute
from hypemarl.meshing.morphing import anticlockwise, elastic_extension, place
from hypemarl.meshing.morphing.motion import boundary_nodes
from hypemarl.meshing.morphing.outlines import loop_of
from hypemarl.meshing.shapes import generate
from hypemarl.mpi import on_root, sum_over_ranks, world
from hypemarl.solvers.moving_flow import MovingFlow

KEULEGAN_CARPENTER, REYNOLDS = 5.0, 100.0
"""U T / D and U D / nu, U the largest speed of the cylinder; here U = D = 1."""
AMPLITUDE = KEULEGAN_CARPENTER / (2.0 * math.pi)
LENGTH, HEIGHT = 55.0, 35.0
"""Of the tank, in diameters; the fluid is at rest on its walls."""
COARSE = 1.6


class Morison(NamedTuple):
    """Coefficients of F = -1/2 C_D D |U| U - pi/4 C_M D^2 dU/dt over a period.

    drag, mass: C_D and C_M by the averages of F U and F dU/dt; fitted_drag: C_D by least squares;
    lift: largest coefficient of the force across; triangles of the mesh.
    """

    drag: float
    mass: float
    fitted_drag: float
    lift: float
    triangles: int


def morison_coefficients(facet: float, steps: int, periods: int = 4) -> Morison:
    """The coefficients of the last period. Collective.

    Args:
        facet: length of the cylinder's facets, in diameters.
        steps: per period. periods: from the start, at rest.
    """
    raw, extension = on_root(world(), lambda: _mesh(facet))
    forces = _forces(raw, extension, steps, periods)[-steps:]
    phase = 2.0 * np.pi * np.arange(1, steps + 1) / steps
    speed, rate = np.sin(phase), 2.0 * np.pi / KEULEGAN_CARPENTER * np.cos(phase)
    along, across = forces.T
    terms = np.stack([-0.5 * np.abs(speed) * speed, -0.25 * np.pi * rate], axis=1)
    return Morison(
        drag=float(-2.0 * np.mean(along * speed) / np.mean(np.abs(speed) ** 3)),
        mass=float(-4.0 / np.pi * np.mean(along * rate) / np.mean(rate**2)),
        fitted_drag=float(np.linalg.lstsq(terms, along)[0][0]),
        lift=float(2.0 * np.abs(across).max()),
        triangles=len(raw.cells),
    )


def _mesh(facet: float) -> tuple[RawMesh, np.ndarray]:
    """The mesh for the cylinder in the middle, and how nodes follow its displacement (N, 2)."""
    config = MeshConfig(
        shape="channel-with-obstacle",
        length=LENGTH,
        height=HEIGHT,
        disc_centre=(0.5 * LENGTH, 0.5 * HEIGHT),
        obstacle_length=1.0,
        element_size=COARSE,
        disc_element_size=facet,
    )
    raw = anticlockwise(generate(config))
    loop = loop_of(raw, "obstacle")
    outer = np.setdiff1d(boundary_nodes(raw.cells), loop)
    unit = np.tile([1.0, 0.0], len(loop))[:, None]
    return raw, elastic_extension(raw.points, raw.cells, loop, outer, unit).reshape(-1, 2)


def _forces(raw: RawMesh, extension: np.ndarray, steps: int, periods: int) -> np.ndarray:
    """Forces (steps * periods, 2) of the fluid on the cylinder at -AMPLITUDE cos(2 pi t / T)."""
    time_step = KEULEGAN_CARPENTER / steps

    def points(step: int) -> np.ndarray:
        return raw.points - AMPLITUDE * math.cos(2.0 * math.pi * step / steps) * extension

    tagged = distribute(raw, world())
    place(tagged, points(0))
    walls = ("inflow", "outflow", "bottom", "top", "obstacle")
    flow = MovingFlow(
        tagged,
        dirichlet=dict.fromkeys(walls, (0, 1)),
        time_step=time_step,
        viscosity=1.0 / REYNOLDS,
        bodies=("obstacle",),
    )
    body, samples = flow.space.nodes("obstacle"), []
    for step in range(1, steps * periods + 1):
        flow.move(points(step))
        flow.step()
        samples.append(flow.traction()[:, body].sum(axis=1))
    return sum_over_ranks(flow.comm, np.array(samples))
