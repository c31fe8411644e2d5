"""Steady Navier-Stokes flow against exact solutions and the DFG benchmark 2D-1."""

from collections.abc import Sequence
from dataclasses import replace
from math import log, sqrt
from typing import Any

import numpy as np
import ufl
from mpi4py import MPI

from hypemarl.config import MeshConfig
from hypemarl.coupling.probes import PointProbes
from hypemarl.meshing import TaggedMesh, build
from hypemarl.mpi import world
from hypemarl.solvers.steady_flow import FlowSolution, SteadyFlow
from hypemarl.systems.flow.inflow import InflowProfile
from hypemarl.verification.flow import DFG, ENDS, WALLS, l2_errors
from hypemarl.verification.report import Report

KOVASZNAY_REYNOLDS = 40.0
# DFG benchmark 2D-1: Schaefer and Turek, Notes Numer. Fluid Mech. 52 (1996) 547; digits of
# Nabh, PhD thesis, Heidelberg 1998.
DRAG, LIFT, PRESSURE_DIFFERENCE = 5.57953523384, 0.010618948146, 0.11752016697
PUBLISHED_LIFT = (0.0104, 0.0110)
DFG_MESH = replace(DFG, element_size=0.03, disc_element_size=0.0022)


def poiseuille(sizes: Sequence[float] = (0.16, 0.08, 0.04)) -> Report:
    """Plane Poiseuille flow, which P2/P1 holds exactly, and rates in space on Kovasznay's flow."""
    report = Report("Poiseuille flow to rounding; Kovasznay flow, L2 errors and orders in h")
    _plane_poiseuille(report)
    widths, errors = zip(*(_kovasznay_errors(size) for size in sizes), strict=True)
    for k, (name, order, ceiling) in enumerate((("velocity", 2.9, 1e-3), ("pressure", 1.9, 3e-3))):
        for width, error in zip(widths, errors, strict=True):
            report.note(f"{name} error at h = {width:.3g}", error[k])
        for n in range(len(sizes) - 1):
            rate = log(errors[n][k] / errors[n + 1][k]) / log(widths[n] / widths[n + 1])
            report.at_least(f"{name}: order to h = {widths[n + 1]:.3g}", rate, order)
        report.at_most(f"finest {name} error", errors[-1][k], ceiling)
    return report


def dfg_2d_1(mesh: MeshConfig = DFG_MESH) -> Report:
    """Flow around a cylinder at Re 20: drag and lift coefficients and the pressure difference.

    Coefficients are 2 F / (U^2 D) with the mean inflow U = 0.2 and D = 0.1; the pressure difference
    is that between the front (0.15, 0.2) and the back (0.25, 0.2) of the cylinder.
    """
    mean, diameter, walls = 0.2, 0.1, ("inflow", "bottom", "top", "disc")
    flow, solution = channel_flow(build(mesh, world()), walls, mean)
    drag, lift = (2.0 * flow.force(solution, "disc") / (mean**2 * diameter)).tolist()
    ends = PointProbes(flow.space, ENDS)
    pressures = ends.evaluate(solution.velocity, solution.pressure)[:, 2]
    difference = float(pressures[0] - pressures[1])
    report = Report("DFG 2D-1: steady flow around a cylinder at Re 20")
    report.note("triangles", flow.space.mesh.topology.index_map(2).size_global)
    report.note("factorisations", solution.factorisations)
    report.note("drag coefficient", drag)
    report.at_most("its relative error", abs(drag / DRAG - 1.0), 1e-3)
    report.at_least("lift coefficient", lift, PUBLISHED_LIFT[0])
    report.at_most("lift coefficient", lift, PUBLISHED_LIFT[1])
    report.at_most("its relative error", abs(lift / LIFT - 1.0), 1e-2)
    report.note("pressure difference", difference)
    report.at_most("its relative error", abs(difference / PRESSURE_DIFFERENCE - 1.0), 1e-3)
    return report


def channel_flow(
    tagged: TaggedMesh, walls: Sequence[str], speed: float, viscosity: float = 1e-3
) -> tuple[SteadyFlow, FlowSolution]:
    """Flow through a channel with a parabolic inflow of the mean ``speed``. Collective."""
    flow = SteadyFlow(tagged, dirichlet=dict.fromkeys(walls, (0, 1)))
    boundary = np.zeros((2, flow.space.n_velocity_local))
    inflow = InflowProfile(flow.space, "parabolic", speed)
    boundary[:, inflow.nodes] = inflow.values()
    return flow, flow.solve(viscosity, boundary)


def _plane_poiseuille(report: Report, size: float = 0.2, viscosity: float = 0.05) -> None:
    """v = (1 - y^2, 0), p = 2 nu (1 - x) on (-1, 1)^2 with a free outflow at x = 1."""
    tagged = build(MeshConfig(shape="square", element_size=size), world())
    flow = SteadyFlow(tagged, dirichlet=dict.fromkeys(("left", "bottom", "top"), (0, 1)))
    x, y = flow.space.velocity_points.T
    exact = np.stack([1.0 - y**2, 0.0 * x])
    solution = flow.solve(viscosity, exact)
    pressure = 2.0 * viscosity * (1.0 - flow.space.pressure_points[:, 0])
    for name, computed, true in (
        ("velocity", solution.velocity, exact),
        ("pressure", solution.pressure, pressure),
    ):
        worst = flow.comm.allreduce(float(np.abs(computed - true).max(initial=0.0)), MPI.MAX)
        report.at_most(f"Poiseuille: largest nodal error of the {name}", worst, 1e-8)


def _kovasznay_errors(size: float) -> tuple[float, tuple[float, float]]:
    """sqrt(area / triangles), and L2 errors of velocity and pressure on (-0.5, 1.5)^2.

    The velocity is prescribed on the whole boundary.

    Kovasznay, Proc. Cambridge Philos. Soc. 44 (1948) 58: the wake of a grid at Re = 40.
    """
    mesh = MeshConfig(shape="square", element_size=size, lower=-0.5, upper=1.5)
    flow = SteadyFlow(build(mesh, world()), dirichlet=dict.fromkeys(WALLS, (0, 1)))
    velocity, _ = _kovasznay(flow.space.velocity_points.T, np)
    solution = flow.solve(1.0 / KOVASZNAY_REYNOLDS, np.stack(velocity))
    area = 4.0
    width = sqrt(area / flow.space.mesh.topology.index_map(2).size_global)
    exact = _kovasznay(ufl.SpatialCoordinate(flow.space.mesh), ufl)
    errors = l2_errors(flow.space, solution.velocity, solution.pressure, exact, area)
    return width, errors


def _kovasznay(x: Sequence, functions: Any) -> tuple[list, Any]:
    """Velocity and pressure at x; ``functions`` is a module with exp, sin, cos (numpy or ufl)."""
    half = KOVASZNAY_REYNOLDS / 2.0
    rate, wave = half - np.sqrt(half**2 + 4.0 * np.pi**2), 2.0 * np.pi
    decay = functions.exp(rate * x[0])
    velocity = [
        1.0 - decay * functions.cos(wave * x[1]),
        rate / wave * decay * functions.sin(wave * x[1]),
    ]
    return velocity, -0.5 * decay**2
