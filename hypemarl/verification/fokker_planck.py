"""Fokker-Planck against exact solutions, and its mass and sign."""

from collections.abc import Sequence
from itertools import pairwise
from math import log

import numpy as np

from hypemarl.config import MeshConfig
from hypemarl.coupling.actuators import BlendActuators
from hypemarl.coupling.layout import grid_layout
from hypemarl.meshing import build
from hypemarl.mpi import world
from hypemarl.solvers.fokker_planck import FokkerPlanck
from hypemarl.verification.report import Report

SIZES = (0.1, 0.05, 0.025)


def square_solver(size: float, viscosity: float) -> FokkerPlanck:
    """A solver on the unstructured square (-1, 1)^2 with element size ``size``. Collective."""
    tagged = build(MeshConfig(shape="square", element_size=size), world())
    return FokkerPlanck(tagged.mesh, viscosity)


def gaussian(x: np.ndarray, mean: np.ndarray, variance: float) -> np.ndarray:
    """Density (m,) of an isotropic normal distribution at points (m, d)."""
    scale = (2 * np.pi * variance) ** (x.shape[1] / 2)
    return np.exp(-((x - mean) ** 2).sum(axis=1) / (2 * variance)) / scale


def l1_norm(solver: FokkerPlanck, values: np.ndarray) -> float:
    """Lumped L1 norm of nodal values (n_local,). Collective."""
    owned = solver.space.n_owned
    return solver.space.total(solver.lumped_mass @ np.abs(values[:owned]))


def ornstein_uhlenbeck(sizes: Sequence[float] = SIZES) -> Report:
    """Drift -a x: a Gaussian stays one, mean m e^{-at}, variance nu/a + (s - nu/a) e^{-2at}.

    (Risken, The Fokker-Planck Equation, 2nd ed., section 5.3.) The boundary is 5 standard
    deviations away or more, so that no-flux walls do not show at these errors.
    """
    rate, nu, duration = 2.0, 0.05, 0.5
    mean, variance = np.array([0.4, 0.3]), 0.02
    final = nu / rate + (variance - nu / rate) * np.exp(-2 * rate * duration)
    errors = []
    for size in sizes:
        solver = square_solver(size, nu)
        x = solver.space.points
        solver.reset(gaussian(x, mean, variance))
        solver.set_velocity(-rate * x)
        solver.advance(duration)
        exact = gaussian(x, mean * np.exp(-rate * duration), final)
        errors.append(l1_norm(solver, solver.density - exact))
    return _convergence("Ornstein-Uhlenbeck Gaussian, L1 error at t = 0.5", sizes, errors)


def gibbs(sizes: Sequence[float] = (0.1, 0.05, 1 / 30)) -> Report:
    """Drift -grad(phi), phi = A (1 - cos(pi x) cos(pi y)): steady state exp(-phi/nu) / Z.

    The flux of the Gibbs density vanishes everywhere, so that no-flux walls keep it exact.
    """
    nu, depth, duration = 0.05, 0.05, 12.0
    errors = []
    for size in sizes:
        solver = square_solver(size, nu)
        x = solver.space.points
        c, s = np.cos(np.pi * x), np.sin(np.pi * x)
        solver.reset(np.full(len(x), 0.25))
        slope = np.stack([s[:, 0] * c[:, 1], c[:, 0] * s[:, 1]], axis=1)
        solver.set_velocity(-depth * np.pi * slope)
        solver.advance(duration)
        exact = np.exp(-depth / nu * (1 - c[:, 0] * c[:, 1]))
        exact *= solver.mass() / l1_norm(solver, exact)
        errors.append(l1_norm(solver, solver.density - exact))
    title = "Gibbs steady state of a confining drift, L1 error at t = 12"
    return _convergence(title, sizes, errors)


def mass(steps: int = 1000) -> Report:
    """Mass over actuated steps, and the sign of the density in an unresolved wall layer."""
    report = Report("Mass and non-negativity")
    size, nu = 0.05, 1e-3
    solver = square_solver(size, nu)
    space, one = solver.space, np.ones(2)
    layout = grid_layout(space, (8, 8), -one, one)
    actuators = BlendActuators(space.points, layout.lattice, layout.positions)
    generator = np.random.default_rng(0)
    solver.reset(gaussian(space.points, np.array([-0.3, 0.1]), 0.05))
    start, drift, lowest = solver.mass(), 0.0, np.inf
    for _ in range(steps):
        solver.set_velocity(actuators.field(generator.uniform(-1, 1, layout.positions.shape)))
        solver.advance(0.01)
        drift = max(drift, abs(solver.mass() - start))
        lowest = min(lowest, solver.minimum())
    report.at_most(f"mass drift over {steps} actuated steps", drift / start, 1e-12)
    report.at_least("lowest density under actuation", lowest, -1e-12)
    _wall_layer(report, size, nu)
    return report


def _wall_layer(report: Report, size: float, nu: float) -> None:
    """A constant wind piles the density up against a wall, in a layer thinner than a cell."""
    solver = square_solver(size, nu)
    wind = np.array([1.0, 0.3])
    solver.reset(gaussian(solver.space.points, np.zeros(2), 0.05))
    solver.set_velocity(np.tile(wind, (solver.space.n_local, 1)))
    start, lowest = solver.mass(), np.inf
    for _ in range(200):
        solver.advance(0.01)
        lowest = min(lowest, solver.minimum())
    peclet = float(np.linalg.norm(wind)) * size / nu
    report.at_least("cell Peclet number of the wall layer", peclet, 30)
    report.at_least("lowest density in the wall layer", lowest, -1e-12)
    report.at_most("mass drift in the wall layer", abs(solver.mass() - start) / start, 1e-12)


def _convergence(title: str, sizes: Sequence[float], errors: Sequence[float]) -> Report:
    report = Report(f"{title} and order in h")
    pairs = list(zip(sizes, errors, strict=True))
    for size, error in pairs:
        report.note(f"L1 error at h = {size:.4g}", error)
    for (coarse, before), (fine, after) in pairwise(pairs):
        order = log(before / after) / log(coarse / fine)
        report.at_least(f"order from h = {coarse:.4g} to {fine:.4g}", order, 1.8)
    report.at_most("finest L1 error", errors[-1], 5e-3)
    return report
