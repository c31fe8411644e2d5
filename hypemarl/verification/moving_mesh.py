"""Flow on a moving mesh, an oscillating cylinder, and steady drag on a morphed mesh."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from mpi4py import MPI

from hypemarl.config import MeshConfig
from hypemarl.meshing import RawMesh, distribute
from hypemarl.meshing.morphing import (
    FeasibleMap,
    MovingMesh,
    anticlockwise,
    elastic_extension,
    place,
)
from hypemarl.meshing.morphing.motion import boundary_nodes
from hypemarl.meshing.morphing.outlines import loop_of
from hypemarl.meshing.polygons import centroid
from hypemarl.meshing.shapes import generate
from hypemarl.mpi import on_root, sum_over_ranks, world
from hypemarl.seeding import numpy_generator
from hypemarl.solvers.functionals import FlowFunctionals
from hypemarl.solvers.moving_flow import MovingFlow
from hypemarl.verification.flow import (
    AREA,
    VISCOSITY,
    WALLS,
    distance,
    rate,
    vortex_pressure,
    vortices,
)
from hypemarl.verification.morphing import AGENTS, channel, motion_of
from hypemarl.verification.morphing import WALLS as NO_SLIP
from hypemarl.verification.report import Report
from hypemarl.verification.steady_flow import channel_flow

PUBLISHED_DRAG, PUBLISHED_MASS = 2.09, 1.45
SHARE = 0.6
"""Amplitudes of the random shapes, in units of their bound."""
SWING = 0.1
"""Amplitude of the mesh in the square (-1, 1)^2."""


def ale() -> Report:
    """Flow on a moving mesh: uniform flow, order in time, a published case; and a morphed mesh.

    H. Duetsch, F. Durst, S. Becker, H. Lienhart, Low-Reynolds-number flow around an oscillating
    circular cylinder at low Keulegan-Carpenter numbers, J. Fluid Mech. 360 (1998) 249: KC = 5,
    Re = 100, C_D = 2.09 and C_M = 1.45. Collective.
    """
    report = Report("Moving mesh (ALE): uniform flow, order in time, oscillating cylinder, drag")
    uniform_flow(report)
    moving_vortices(report)
    oscillating_cylinder(report)
    morphed_drag(report)
    return report


def uniform_flow(report: Report, element_size: float = 0.06, steps: int = 100) -> None:
    """Velocity (1, 1/2) all around, the obstacle's outline included, which moves through it.

    A smooth motion of two random shapes, and another random shape each five steps.
    """
    mesh = MovingMesh(channel(element_size), "radial-fourier", AGENTS, world())
    shapes, motion = mesh.feasible, mesh.motion
    rng = numpy_generator(0, "uniform flow")
    qs = [_random_shape(shapes, rng).copy() for _ in range(steps // 5 + 2)]

    def smooth(n: int) -> np.ndarray:
        return qs[0] * np.sin(2.0 * np.pi * n / steps) + 0.3 * qs[1] * np.sin(n / 3.0)

    def abrupt(n: int) -> np.ndarray:
        k, share = divmod(n, 5)
        return qs[k] + 0.2 * share * (qs[k + 1] - qs[k])

    flow = MovingFlow(
        mesh.tagged,
        dirichlet=dict.fromkeys(NO_SLIP, (0, 1)),
        moving=(),
        time_step=1e-3,
        cfl_limit=4.0,
        rtol=1e-13,  # or a guess that is off by less would pass unsolved
    )
    for name, path in (("smooth", smooth), ("a new shape each five steps", abrupt)):
        flow.move(motion.points(path(0)))
        uniform = np.repeat([[1.0], [0.5]], flow.space.n_velocity_local, axis=1)
        flow.reset(uniform)
        worst, fastest = 0.0, 0.0
        for n in range(1, steps):
            flow.move(motion.points(path(n)))
            flow.step()
            worst = max(worst, float(np.abs(flow.velocity - uniform).max(initial=0.0)))
            fastest = max(fastest, float(np.abs(flow.mesh_velocity).max(initial=0.0)))
        worst, fastest = (flow.comm.allreduce(value, MPI.MAX) for value in (worst, fastest))
        report.at_most(f"uniform flow, {name}: largest deviation", worst, 1e-12)
        report.note(f"uniform flow, {name}: largest velocity of the mesh", fastest)


def _random_shape(shapes: FeasibleMap, rng: np.random.Generator) -> np.ndarray:
    """q of a feasible shape."""
    amplitudes = shapes.space.to_modes.shape[1]
    return shapes(SHARE * shapes.bounds.amplitude * rng.uniform(-1.0, 1.0, amplitudes)).q


def moving_vortices(
    report: Report,
    element_size: float = 0.1,
    time_steps: Sequence[float] = (0.025, 0.0125, 0.00625),
    end: float = 1.0,
) -> None:
    """Order in time with the nodes inside swinging twice, and the energy of the vortices.

    See :func:`hypemarl.verification.flow.taylor_green`; differences of time steps on one mesh.
    """
    raw = on_root(world(), lambda: generate(MeshConfig(shape="square", element_size=element_size)))
    flows = [_march(raw, dt, end, SWING) for dt in time_steps]
    steps = [distance(*pair) for pair in itertools.pairwise(flows)]
    report.at_least("vortices: order in time, velocity (L2)", rate(steps[-2:], 0), 1.85)
    report.at_least("vortices: order in time, pressure (L2)", rate(steps[-2:], 1), 1.5)
    still = _energy_error(_march(raw, time_steps[-1], end, 0.0), end)
    report.note("vortices: relative error of their energy, mesh at rest", still)
    report.at_most("vortices: that, mesh moving", _energy_error(flows[-1], end), 1e-3)


def _march(raw: RawMesh, time_step: float, end: float, swing: float) -> MovingFlow:
    """The vortices at time ``end``, nodes moved by up to ``swing`` along both axes."""
    flow = MovingFlow(
        distribute(raw, world()),
        dirichlet=dict.fromkeys(WALLS, (0, 1)),
        moving=(),
        time_step=time_step,
        viscosity=VISCOSITY,
        rtol=1e-9,
    )
    x, y = np.pi * raw.points.T
    shift = swing * np.stack([np.sin(x) * np.sin(y), np.sin(x) * np.sin(2.0 * y)], axis=1)
    points, corners = flow.space.velocity_points, flow.space.pressure_points
    flow.reset(vortices(points, 0.0), vortex_pressure(corners, 0.0))
    for n in range(1, round(end / time_step) + 1):
        t = n * time_step
        flow.move(raw.points + np.sin(4.0 * np.pi * t / end) * shift)
        flow.boundary[:] = vortices(points, t)
        flow.step()
    return flow


def _energy_error(flow: MovingFlow, end: float) -> float:
    exact = 0.25 * AREA * np.exp(-4.0 * np.pi**2 * VISCOSITY * end)
    return abs(FlowFunctionals(flow.space).kinetic_energy(flow.velocity) / exact - 1.0)


def oscillating_cylinder(
    report: Report,
    resolutions: Sequence[tuple[float, int]] = ((0.16, 100), (0.08, 200), (0.04, 400)),
) -> None:
    """Morison coefficients at several lengths of facets and time steps; the last ones count."""
    for facet, steps in resolutions:
        result = morison_coefficients(facet, steps)
        name = f"cylinder, {result.triangles} triangles, dt = T/{steps}"
        report.note(f"{name}: C_D", result.drag)
        report.note(f"{name}: C_D by least squares", result.fitted_drag)
        report.note(f"{name}: C_M", result.mass)
    drag, mass = abs(result.drag / PUBLISHED_DRAG - 1.0), abs(result.mass / PUBLISHED_MASS - 1.0)
    report.at_most("cylinder: C_D, relative to 2.09", drag, 0.01)
    report.at_most("cylinder: C_M, relative to 1.45", mass, 0.01)
    report.at_most("cylinder: largest lift coefficient (symmetric wake)", result.lift, 0.01)


def morphed_drag(report: Report, element_size: float = 0.04, count: int = 4) -> None:
    """Drag at Re 20 on morphed meshes against meshes that gmsh made for the same outline.

    The new mesh lays out its own facets along the outline's spline.
    """
    motion, shapes = on_root(world(), lambda: motion_of(channel(element_size), "radial-bspline"))
    rng = numpy_generator(0, "morphed drag")
    for k in range(count):
        q = _random_shape(shapes, rng)
        moved = _drag(motion.moved(q))
        outline = motion.space.points(q)
        fresh = _drag(on_root(world(), partial(_fresh, element_size, outline)))
        report.note(f"shape {k}: drag coefficient on the morphed mesh", moved)
        report.at_most(f"shape {k}: relative to a new mesh", abs(moved / fresh - 1.0), 5e-3)


def _fresh(element_size: float, outline: np.ndarray) -> RawMesh:
    """The channel around a closed outline (n, 2), meshed by gmsh. Local."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "outline.dat"
        np.savetxt(path, np.vstack([outline, outline[:1]]), fmt="%.17g")
        config = replace(channel(element_size), obstacle="points", obstacle_file=str(path))
        length, centre = float(np.ptp(outline[:, 0])), tuple(centroid(outline).tolist())
        return generate(replace(config, obstacle_length=length, disc_centre=centre))


def _drag(raw: RawMesh, speed: float = 0.2, diameter: float = 0.1) -> float:
    """Drag coefficient at the viscosity 1e-3, that is, Re 20. Collective."""
    flow, solution = channel_flow(distribute(raw, world()), NO_SLIP, speed)
    drag, _ = flow.force(solution, "obstacle")
    return float(2.0 * drag / (speed**2 * diameter))


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
