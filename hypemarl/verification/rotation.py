"""Transport at working resolution: one revolution of a bump and of a disc with a sharp edge."""

import numpy as np

from hypemarl.solvers.fokker_planck import FokkerPlanck
from hypemarl.verification.fokker_planck import gaussian, l1_norm, square_solver
from hypemarl.verification.report import Report

CENTRE = np.array([0.4, 0.0])
VARIANCE = 0.02
VISCOSITY = 1e-3
RADIUS = 0.3
SIZES = (0.05, 0.025, 0.0125)


def rotation(sizes: tuple[float, ...] = SIZES) -> Report:
    """Errors after one revolution under a limiter that only keeps the density non-negative.

    A Gaussian of deviation 0.14 stays one under nu = 1e-3, of variance + 2 nu t; a disc of density
    1 (nu = 1e-6) stays a disc. Only the sign has a bound: the errors show the accuracy at
    working resolution (h = 0.05). Collective.
    """
    report = Report("One revolution: errors at working resolution, and finer")
    bumps, discs = [], []
    for size in sizes:
        solver = square_solver(size, VISCOSITY)
        exact = gaussian(solver.space.points, CENTRE, VARIANCE + 2.0 * VISCOSITY * 2.0 * np.pi)
        bumps.append(_revolve(solver, gaussian(solver.space.points, CENTRE, VARIANCE), exact)[0])
        report.note(f"bump, h = {size:g}: L1 error, share of the mass", bumps[-1])
        solver = square_solver(size, 1e-6)
        inside = np.linalg.norm(solver.space.points - CENTRE, axis=1) < RADIUS
        disc = inside.astype(float)
        error, highest, lowest = _revolve(solver, disc, disc)
        discs.append(error)
        report.note(f"disc, h = {size:g}: L1 error, share of the mass", error)
        report.note(f"disc, h = {size:g}: largest density, of 1", highest)
        report.at_least(f"disc, h = {size:g}: lowest density", lowest, -1e-12)
    for name, errors in (("bump", bumps), ("disc", discs)):
        order = np.log(errors[-2] / errors[-1]) / np.log(sizes[-2] / sizes[-1])
        report.note(f"{name}: order of the last refinement", float(order))
    return report


def _revolve(
    solver: FokkerPlanck, start: np.ndarray, exact: np.ndarray
) -> tuple[float, float, float]:
    """L1 error as a share of the mass, largest and lowest density after a revolution."""
    x = solver.space.points
    solver.reset(start)
    solver.set_velocity(np.stack([-x[:, 1], x[:, 0]], axis=1))
    solver.advance(2.0 * np.pi)
    error = l1_norm(solver, solver.density - exact) / l1_norm(solver, exact)
    return error, float(solver.density.max()), float(solver.minimum())
