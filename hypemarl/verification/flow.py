"""Unsteady flows with known answers: Taylor-Green vortices and the DFG cylinder at Re 100."""

import itertools
from collections.abc import Sequence

import numpy as np
import ufl
from dolfinx import fem

from hypemarl.config import MeshConfig
from hypemarl.coupling.probes import PointProbes
from hypemarl.meshing import build
from hypemarl.mpi import sum_over_ranks, world
from hypemarl.solvers.functionals import strouhal
from hypemarl.solvers.navier_stokes import UnsteadyFlow
from hypemarl.solvers.taylor_hood import TaylorHood
from hypemarl.systems.flow.inflow import InflowProfile
from hypemarl.verification.report import Report

WALLS = ("left", "right", "bottom", "top")
VISCOSITY = 0.01
END = 0.5
AREA = 4.0
DIAMETER = 0.1
ENDS = np.array([[0.15, 0.2], [0.25, 0.2]])  # front and back of the cylinder
DFG = MeshConfig(
    shape="channel-with-disc",
    length=2.2,
    height=0.41,
    disc_centre=(0.2, 0.2),
    disc_radius=0.05,
    element_size=0.02,
    disc_element_size=0.006,
)
DEVELOPED = 5.0  # time from which the shedding is periodic


def taylor_green() -> Report:
    """Decaying vortices on (-1, 1)^2, exact velocity on the walls: rates in space and time.

    v = (-cos(pi x) sin(pi y), sin(pi x) cos(pi y)) exp(-2 pi^2 nu t),
    p = -1/4 (cos(2 pi x) + cos(2 pi y)) exp(-4 pi^2 nu t) (Taylor and Green, Proc. R. Soc. Lond. A
    158 (1937) 499). Rates are those of the last refinement. Collective.
    """
    report = Report("Taylor-Green vortices, P2/P1 and BDF2, unstructured triangles")
    errors = [_errors(_march(h, 2.5e-3)) for h in (0.4, 0.2, 0.1)]
    report.at_least("order in space, velocity (L2)", rate(errors[-2:], 0), 2.8)
    report.at_least("order in space, pressure (L2)", rate(errors[-2:], 1), 1.8)
    report.at_most("velocity error, h = 0.1, dt = 1/400", errors[-1][0], 2.5e-3)
    report.at_most("pressure error, h = 0.1, dt = 1/400", errors[-1][1], 6e-3)
    flows = [_march(0.15, dt) for dt in (0.05, 0.025, 0.0125, 0.00625)]
    steps = [distance(*pair) for pair in itertools.pairwise(flows)]
    report.at_least("order in time, velocity (L2)", rate(steps[-2:], 0), 1.85)
    report.at_least("order in time, pressure (L2)", rate(steps[-2:], 1), 1.5)
    report.at_most("velocity, dt = 1/80 against 1/160", steps[-1][0], 1e-3)
    return report


def rate(errors: Sequence[tuple[float, float]], place: int) -> float:
    """Order of the second of two errors, of half the step: entry ``place`` of each. Local."""
    return float(np.log2(errors[0][place] / errors[1][place]))


def distance(one: UnsteadyFlow, other: UnsteadyFlow) -> tuple[float, float]:
    """L2 distances of velocities and pressures on the same mesh (the space error drops out)."""
    reference = as_functions(one.space, other.velocity, other.pressure)
    return l2_errors(one.space, one.velocity, one.pressure, reference, AREA)


def _march(element_size: float, time_step: float) -> UnsteadyFlow:
    """The vortices at time END."""
    tagged = build(MeshConfig(shape="square", element_size=element_size), world())
    walls = dict.fromkeys(WALLS, (0, 1))
    flow = UnsteadyFlow(
        tagged, dirichlet=walls, time_step=time_step, viscosity=VISCOSITY, rtol=1e-9
    )
    points, corners = flow.space.velocity_points, flow.space.pressure_points
    flow.reset(vortices(points, 0.0), vortex_pressure(corners, 0.0))
    for n in range(round(END / time_step)):
        flow.boundary[:] = vortices(points, (n + 1) * time_step)
        flow.step()
    return flow


def vortices(x: np.ndarray, t: float) -> np.ndarray:
    """Velocity (2, n) of the decaying vortices at points (n, 2) and a time. Local."""
    decay = np.exp(-2.0 * np.pi**2 * VISCOSITY * t)
    a, b = np.pi * x[:, 0], np.pi * x[:, 1]
    return decay * np.stack([-np.cos(a) * np.sin(b), np.sin(a) * np.cos(b)])


def vortex_pressure(x: np.ndarray, t: float) -> np.ndarray:
    """Their pressure (n,). Local."""
    decay = np.exp(-4.0 * np.pi**2 * VISCOSITY * t)
    return -0.25 * decay * (np.cos(2 * np.pi * x[:, 0]) + np.cos(2 * np.pi * x[:, 1]))


def _errors(flow: UnsteadyFlow) -> tuple[float, float]:
    """L2 errors of velocity and pressure at time END."""
    mesh, decay = flow.space.mesh, np.exp(-2.0 * np.pi**2 * VISCOSITY * END)
    a, b = (np.pi * x for x in ufl.SpatialCoordinate(mesh))
    decay = fem.Constant(mesh, decay)
    velocity = (-ufl.cos(a) * ufl.sin(b) * decay, ufl.sin(a) * ufl.cos(b) * decay)
    pressure = -0.25 * (ufl.cos(2 * a) + ufl.cos(2 * b)) * decay**2
    return l2_errors(flow.space, flow.velocity, flow.pressure, (velocity, pressure), AREA)


def as_functions(
    space: TaylorHood, velocity: np.ndarray, pressure: np.ndarray
) -> tuple[list[fem.Function], fem.Function]:
    """Velocity components (2, n_velocity_local) and pressure (n_pressure_local,). Local."""
    components = [fem.Function(space.V) for _ in velocity]
    for function, values in zip(components, velocity, strict=True):
        function.x.array[:] = values
    p = fem.Function(space.Q)
    p.x.array[:] = pressure
    return components, p


def l2_errors(
    space: TaylorHood,
    velocity: np.ndarray,
    pressure: np.ndarray,
    exact: tuple[Sequence, ufl.core.expr.Expr],
    area: float,
) -> tuple[float, float]:
    """L2 errors of velocity and pressure, the latter up to a constant. Collective.

    ``exact``: two components and a pressure that UFL can integrate; area: of the domain.
    """
    components, p = as_functions(space, velocity, pressure)
    dx = ufl.dx(space.mesh, degree=8)
    difference = p - exact[1]
    parts = [(v - true) ** 2 * dx for v, true in zip(components, exact[0], strict=True)]
    parts += [difference * dx, difference**2 * dx]
    integrals = np.array([fem.assemble_scalar(fem.form(part)) for part in parts])
    first, second, offset, square = sum_over_ranks(space.comm, integrals)
    return float(np.sqrt(first + second)), float(np.sqrt(max(square - offset**2 / area, 0.0)))


def dfg_2d_2() -> Report:
    """Vortex shedding behind a cylinder at Re 100, against the published intervals. Collective.

    Schaefer and Turek, Benchmark computations of laminar flow around a cylinder, Notes Numer. Fluid
    Mech. 52 (1996) 547: largest drag and lift coefficients, Strouhal number, and the pressure
    difference between front and back half a period after the largest lift.
    """
    report = Report("DFG 2D-2: cylinder in a channel, Re 100, 7,300 triangles, dt = 1/1000")
    forces, pressures = _shedding()
    last = len(forces) - round(3 * 0.34 / 1e-3)  # three periods
    drag, lift = forces[last:].T
    frequency = strouhal(lift, 1e-3, length=DIAMETER, speed=1.0)
    half = round(0.5 * DIAMETER / frequency / 1e-3) if np.isfinite(frequency) else 0
    peak = int(np.argmax(lift[: len(lift) - half]))
    report.within("largest drag coefficient", float(drag.max()), 3.22, 3.24)
    report.within("largest lift coefficient", float(lift.max()), 0.98, 1.02)
    report.within("Strouhal number", frequency, 0.295, 0.305)
    report.within("pressure difference", float(pressures[last + peak + half]), 2.46, 2.50)
    return report


def _shedding() -> tuple[np.ndarray, np.ndarray]:
    """Drag and lift coefficients (n, 2) and pressure differences (n,) of a developed flow.

    A push sideways at the entrance starts the shedding; it develops at dt = 1/500.
    """
    tagged = build(DFG, world())
    walls = dict.fromkeys(("inflow", "disc", "bottom", "top"), (0, 1))
    flow = UnsteadyFlow(tagged, dirichlet=walls, time_step=2e-3, bodies=("disc",))
    inflow, disc = InflowProfile(flow.space, "parabolic", 1.0), flow.space.nodes("disc")
    profile = inflow.values()[0]
    while flow.time < DEVELOPED:
        start, push = min(1.0, flow.time / 0.1), np.sin(np.pi * min(1.0, flow.time / 0.3))
        flow.boundary[:, inflow.nodes] = np.stack([start * profile, 0.2 * push * profile])
        flow.step()
    flow.set_time_step(1e-3)
    ends = PointProbes(flow.space, ENDS).pressure_matrix
    samples = []
    for _ in range(1500):
        flow.step()
        samples.append([*flow.traction()[:, disc].sum(axis=1), *(ends @ flow.pressure)])
    totals = sum_over_ranks(flow.comm, np.array(samples))
    return 2.0 / DIAMETER * totals[:, :2], totals[:, 2] - totals[:, 3]
