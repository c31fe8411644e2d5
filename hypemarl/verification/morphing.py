"""Verification of morphing: feasible shapes, and fields that go over to a remeshed shape."""

from collections.abc import Callable, Sequence

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI

from hypemarl.config import MeshConfig
from hypemarl.config.keys import Displacement
from hypemarl.meshing import RawMesh, distribute
from hypemarl.meshing.morphing import (
    KINDS,
    DensityTransfer,
    FeasibleMap,
    MeshMotion,
    Parametrisation,
    ShapeSpace,
    default_bounds,
    follow,
    outline_of,
    remesh,
)
from hypemarl.meshing.raw import measures
from hypemarl.meshing.shapes import generate
from hypemarl.seeding import numpy_generator
from hypemarl.solvers.taylor_hood import TaylorHood
from hypemarl.solvers.velocity_transfer import VelocityTransfer
from hypemarl.verification.flow import as_functions
from hypemarl.verification.report import Report

OBSTACLES = ("circle", "ellipse", "rounded-square")
SIZES = (0.052, 0.026)
WALLS = ("obstacle", "inflow", "bottom", "top")
AGENTS = 16

Field = Callable[[np.ndarray], np.ndarray]


def channel(element_size: float, obstacle: str = "circle") -> MeshConfig:
    """A channel like that of the DFG benchmark around an obstacle."""
    return MeshConfig(
        shape="channel-with-obstacle",
        element_size=element_size,
        disc_element_size=0.154 * element_size,
        obstacle=obstacle,  # type: ignore[arg-type]
    )


def motion_of(config: MeshConfig, kind: Displacement) -> tuple[MeshMotion, FeasibleMap]:
    """A mesh, and the feasible shapes of its obstacle under the default bounds. Local."""
    raw = generate(config)
    space = ShapeSpace(Parametrisation(outline_of(raw), kind, AGENTS))
    motion = follow(raw, space)
    return motion, FeasibleMap(space, default_bounds(space, motion), motion)


def feasible(count: int = 40, element_size: float = 0.052) -> Report:
    """Random and extreme amplitudes, every parametrisation of three obstacles.

    Args:
        count: vectors per obstacle and parametrisation, half of them corners of the box.
    """
    report = Report(f"{count} random amplitudes for each of 3 obstacles and 5 parametrisations")
    area, worst, least, tried, met = 0.0, np.inf, np.inf, 0, 0
    for obstacle in OBSTACLES:
        for kind in KINDS:
            motion, shapes = motion_of(channel(element_size, obstacle), kind)
            whole = measures(motion.raw.points, motion.raw.cells).sum()
            size = (count, shapes.space.to_modes.shape[1])
            shares = numpy_generator(0, f"{obstacle} {kind}").uniform(-1.0, 1.0, size)
            shares[::2] = np.sign(shares[::2])
            for share in shares:
                shape = shapes(shapes.bounds.amplitude * share)
                covered = measures(motion.points(shape.q), motion.raw.cells).sum()
                area = max(area, abs(covered - whole) / shapes.area)
                worst = min(worst, motion.worst_cell(shape.q)[0])
                least = min(least, *shape.margins.values())
                tried, met = tried + 1, met + (shape.limit is not None)
    report.at_most("change of the obstacle's area in the mesh, relative", area, 1e-10)
    report.at_least("worst cell's radius ratio", worst, 0.2)
    report.at_least("least margin of all bounds", least, 0.0)
    report.note("amplitude vectors", tried)
    report.note("share of them that met a bound", met / tried)
    return report


def transfer(sizes: Sequence[float] = SIZES) -> Report:
    """Smooth fields from a moved mesh to a new one of the same shape, at several sizes. Local."""
    report = Report("Remesh and transfer: mass, L2 error and divergence of smooth fields")
    densities, velocities = [], []
    for size in sizes:
        motion, shapes = motion_of(channel(size), "radial-fourier")
        shares = numpy_generator(1, "transfer").uniform(-1.0, 1.0, AGENTS)
        q = shapes(shapes.bounds.amplitude * shares).q
        old, new = motion.moved(q), remesh(motion, q).raw
        densities.append(_density(report, f"h = {size}: density", old, new))
        velocities.append(_velocity(report, f"h = {size}: velocity", old, new))
    steps = np.log(np.array(sizes[:-1]) / np.array(sizes[1:]))
    for name, errors, bound in (("density", densities, 1.7), ("velocity", velocities, 2.6)):
        orders = np.log(np.array(errors[:-1]) / np.array(errors[1:])) / steps
        report.at_least(f"order of the {name}'s error", float(orders.min()), bound)
    return report


def _density(report: Report, name: str, old: RawMesh, new: RawMesh) -> float:
    def exact(points: np.ndarray) -> np.ndarray:
        return 1.0 + np.sin(6.0 * points[:, 0]) * np.cos(9.0 * points[:, 1])

    field = exact(old.points)
    result = DensityTransfer(old, new)(field)
    before, after = _mass(old, field), _mass(new, result)
    report.at_most(f"{name}, mass error", abs(after - before) / before, 1e-13)
    errors = [_nodal_error(raw, values, exact) for raw, values in ((old, field), (new, result))]
    report.note(f"{name}, L2 error before", errors[0])
    report.at_most(f"{name}, L2 error after, in units of that before", errors[1] / errors[0], 1.2)
    excess = max(result.max() - field.max(), field.min() - result.min(), 0.0)
    report.at_most(f"{name}, excess over the old extremes", excess, 1e-13)
    return errors[1]


def _mass(raw: RawMesh, field: np.ndarray) -> float:
    return float(measures(raw.points, raw.cells) @ field[raw.cells].mean(axis=1))


def _nodal_error(raw: RawMesh, field: np.ndarray, exact: Field) -> float:
    """L2 error by the midpoints of the sides."""
    total, areas = 0.0, measures(raw.points, raw.cells)
    for side in ([0, 1], [1, 2], [2, 0]):
        ends = raw.cells[:, side]
        miss = field[ends].mean(axis=1) - exact(raw.points[ends].mean(axis=1))
        total += float(areas @ miss**2) / 3.0
    return total**0.5


def _velocity(report: Report, name: str, old: RawMesh, new: RawMesh) -> float:
    source, target = (TaylorHood(distribute(raw, MPI.COMM_SELF)) for raw in (old, new))
    move = VelocityTransfer(source, target, target.prescribed(dict.fromkeys(WALLS, (0, 1))))
    x, y = source.velocity_points.T
    field = np.stack([9 * np.sin(6 * x) * np.cos(9 * y), -6 * np.cos(6 * x) * np.sin(9 * y)])
    plain, new_field = move.interpolate(field), move(field)
    pairs = ((source, field), (target, plain), (target, new_field))
    errors = [_errors(space, v) for space, v in pairs]
    report.note(f"{name}, L2 error before", errors[0][0])
    ratio = errors[2][0] / errors[0][0]
    report.at_most(f"{name}, L2 error after, in units of that before", ratio, 1.5)
    sizes = [float(np.linalg.norm(move.divergence(v))) for v in (plain, new_field)]
    report.note(f"{name}, divergence tested by pressures, interpolated", sizes[0])
    report.at_most(f"{name}, divergence tested by pressures, corrected", sizes[1], 1e-12)
    report.note(f"{name}, L2 norm of the divergence before", errors[0][1])
    report.note(f"{name}, L2 norm of the divergence, interpolated", errors[1][1])
    report.at_most(f"{name}, that, corrected", errors[2][1], 1.01 * errors[1][1])
    return errors[2][0]


def _errors(space: TaylorHood, velocity: np.ndarray) -> tuple[float, float]:
    """L2 norms of the error and of the divergence."""
    (u, v), _ = as_functions(space, velocity, np.zeros(space.n_pressure))
    x, y = ufl.SpatialCoordinate(space.mesh)
    miss = (u - 9 * ufl.sin(6 * x) * ufl.cos(9 * y)) ** 2
    miss += (v + 6 * ufl.cos(6 * x) * ufl.sin(9 * y)) ** 2
    dx = ufl.dx(space.mesh, degree=8)
    forms = (miss * dx, (u.dx(0) + v.dx(1)) ** 2 * dx)
    error, divergence = (float(fem.assemble_scalar(fem.form(form))) for form in forms)
    return error**0.5, divergence**0.5
