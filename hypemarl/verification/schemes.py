"""Candidate Fokker-Planck schemes side by side: the measurement behind the choice of the solver's.

All are written in the same vectorised style over the edges of the same mesh, advanced by the same
Heun steps, so that their errors and relative times compare. Serial; the mesh is structured and
small.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import ufl
from dolfinx import mesh as dmesh
from mpi4py import MPI

from hypemarl.solvers.p1 import P1Space
from hypemarl.verification.fokker_planck import gaussian
from hypemarl.verification.report import Report


@dataclass
class Edges:
    """Undirected edges i < j of a P1 mesh with the rates of exchange under one velocity."""

    i: np.ndarray
    j: np.ndarray
    k_ij: np.ndarray
    k_ji: np.ndarray
    diffusion: np.ndarray
    mass: np.ndarray

    def spread(self, flux: np.ndarray) -> np.ndarray:
        """dy/dt from fluxes into i (and out of j)."""
        n = len(self.mass)
        into = np.bincount(self.i, flux, n) - np.bincount(self.j, flux, n)
        return into / self.mass

    def artificial(self, theta: float = 1.0) -> np.ndarray:
        """d_ij = theta max(0, -k_ij, -k_ji)."""
        return theta * np.maximum(0.0, np.maximum(-self.k_ij, -self.k_ji))

    def largest_step(self, theta: float) -> float:
        """The time step up to which bounding rates with ``theta`` keep the sign."""
        d, n = self.artificial(theta), len(self.mass)
        outflow = np.bincount(self.i, self.k_ji + d, n) + np.bincount(self.j, self.k_ij + d, n)
        return float(0.95 * np.min(self.mass / outflow))


Euler = Callable[[Edges, np.ndarray, float], np.ndarray]


def upwind(edges: Edges, y: np.ndarray, dt: float) -> np.ndarray:
    """Galerkin plus just enough artificial diffusion: first order."""
    d = edges.artificial()
    flux = (edges.k_ij + d) * y[edges.j] - (edges.k_ji + d) * y[edges.i]
    return y + dt * edges.spread(flux)


def galerkin(edges: Edges, y: np.ndarray, dt: float) -> np.ndarray:
    """No stabilisation at all."""
    return y + dt * edges.spread(edges.k_ij * y[edges.j] - edges.k_ji * y[edges.i])


def scharfetter_gummel(edges: Edges, y: np.ndarray, dt: float) -> np.ndarray:
    """Exponentially fitted edges (EAFE): exact for constant flux along an edge."""
    convection, nu = edges.k_ij - edges.k_ji, edges.diffusion
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        z = convection / nu
        fitted = np.where(np.abs(z) < 1e-8, nu * (1 + z / 2), convection / -np.expm1(-z))
    a_ij = np.where(nu > 1e-14, fitted, np.maximum(convection, 0.0))
    return y + dt * edges.spread(a_ij * y[edges.j] - (a_ij - convection) * y[edges.i])


def flux_corrected(edges: Edges, y: np.ndarray, dt: float) -> np.ndarray:
    """Zalesak's limiter with the low-order solution's local bounds (Kuzmin's algebraic FCT)."""
    i, j, n = edges.i, edges.j, len(y)
    low = upwind(edges, y, dt)
    flux = edges.artificial() * (y[i] - y[j])
    highest, lowest = low.copy(), low.copy()
    np.maximum.at(highest, i, low[j])
    np.maximum.at(highest, j, low[i])
    np.minimum.at(lowest, i, low[j])
    np.minimum.at(lowest, j, low[i])
    gain, loss = np.maximum(flux, 0.0), np.minimum(flux, 0.0)
    plus = np.bincount(i, gain, n) - np.bincount(j, loss, n)
    minus = np.bincount(i, loss, n) - np.bincount(j, gain, n)
    room = edges.mass / dt
    with np.errstate(divide="ignore", invalid="ignore"):
        r_plus = np.where(plus > 0, np.minimum(1.0, room * (highest - low) / plus), 1.0)
        r_minus = np.where(minus < 0, np.minimum(1.0, room * (lowest - low) / minus), 1.0)
    share = np.where(flux > 0, np.minimum(r_plus[i], r_minus[j]), np.minimum(r_minus[i], r_plus[j]))
    return low + dt * edges.spread(share * flux)


def donor_limited(theta: float) -> Euler:
    """The solver's scheme: the Galerkin flux, bounded by multiples of what its donor holds."""

    def euler(edges: Edges, y: np.ndarray, dt: float) -> np.ndarray:
        d, y_i, y_j = edges.artificial(theta), y[edges.i], y[edges.j]
        flux = edges.k_ij * y_j - edges.k_ji * y_i
        bounded = np.clip(flux, -(edges.k_ji + d) * y_i, (edges.k_ij + d) * y_j)
        return y + dt * edges.spread(bounded)

    return euler


CANDIDATES: dict[str, tuple[Euler, float]] = {
    "galerkin": (galerkin, 1.0),
    "upwind": (upwind, 1.0),
    "scharfetter-gummel": (scharfetter_gummel, 1.0),
    "flux-corrected": (flux_corrected, 1.0),
    "donor-limited theta=1": (donor_limited(1.0), 1.0),
    "donor-limited theta=2": (donor_limited(2.0), 2.0),
    "donor-limited theta=3": (donor_limited(3.0), 3.0),
}


def compare_schemes(cells: int = 80) -> Report:
    """Moving bump (L1 error), Ornstein-Uhlenbeck (order), wall layer (lowest density), time.

    The order is pre-asymptotic here, where limiters still act on the steep bump at the coarser
    mesh; the case ``ou`` asserts the solver's own. Cell Peclet number 28 for the bump and the wall
    layer at ``cells`` = 80.
    """
    space, coarse = _space(cells), _space(cells // 2)
    report = Report("Fokker-Planck schemes; 'donor-limited theta=2' is the solver's")
    for name, (euler, theta) in CANDIDATES.items():
        if name != "galerkin":
            order = np.log2(_ou_error(coarse, euler, theta) / _ou_error(space, euler, theta))
            report.note(f"{name}: order on Ornstein-Uhlenbeck", float(order))
        error, lowest, seconds = _moving_bump(space, euler, theta)
        report.note(f"{name}: L1 error of a moving bump", error)
        report.note(f"{name}: milliseconds per stage here", 1e3 * seconds)
        wall = _wall_minimum(space, euler, theta)
        report.note(f"{name}: lowest density at a wall", min(wall, lowest))
        if "theta=2" in name:
            report.at_most("chosen scheme: L1 error of a moving bump", error, 0.06)
            report.at_least("chosen scheme: lowest density", min(wall, lowest), -1e-12)
    return report


def _space(cells: int) -> P1Space:
    corners = [np.array([-1.0, -1.0]), np.array([1.0, 1.0])]
    return P1Space(dmesh.create_rectangle(MPI.COMM_SELF, corners, [cells, cells]))


def _edges(space: P1Space, velocity: np.ndarray, nu: float) -> Edges:
    """Edges of a serial mesh under nodal ``velocity`` (n, 2)."""
    i = np.repeat(np.arange(space.n_owned), np.diff(space.indptr))
    j = space.indices
    stiffness = nu * space.assemble(lambda u, v: ufl.inner(ufl.grad(u), ufl.grad(v)))
    k_ij, k_ji = -stiffness.copy(), -stiffness.copy()
    for axis in range(2):
        k_ij += space.assemble(lambda u, v, a=axis: v.dx(a) * u) * velocity[j, axis]
        k_ji += space.assemble(lambda u, v, a=axis: u.dx(a) * v) * velocity[i, axis]
    mass = np.add.reduceat(space.assemble(lambda u, v: u * v), space.indptr[:-1])
    once = i < j
    return Edges(i[once], j[once], k_ij[once], k_ji[once], -stiffness[once], mass)


def _march(
    edges: Edges, euler: Euler, theta: float, y: np.ndarray, duration: float
) -> tuple[np.ndarray, float, float]:
    """Heun steps; returns the density, its lowest value on the way, seconds per stage."""
    steps = int(np.ceil(duration / min(0.01, edges.largest_step(theta))))
    dt, lowest = duration / steps, np.inf
    start = time.perf_counter()
    for _ in range(steps):
        y = 0.5 * (y + euler(edges, euler(edges, y, dt), dt))
        lowest = min(lowest, float(y.min()))
    return y, lowest, (time.perf_counter() - start) / (2 * steps)


def _moving_bump(space: P1Space, euler: Euler, theta: float) -> tuple[float, float, float]:
    nu, duration, wind = 1e-3, 0.6, np.array([1.0, 0.5])
    start = np.array([-0.4, -0.2])
    edges = _edges(space, np.tile(wind, (space.n_owned, 1)), nu)
    y, lowest, seconds = _march(edges, euler, theta, gaussian(space.points, start, 0.02), duration)
    exact = gaussian(space.points, start + duration * wind, 0.02 + 2 * nu * duration)
    return float(edges.mass @ np.abs(y - exact)), lowest, seconds


def _ou_error(space: P1Space, euler: Euler, theta: float) -> float:
    rate, nu, duration, mean, variance = 2.0, 0.05, 0.25, np.array([0.4, 0.3]), 0.02
    edges = _edges(space, -rate * space.points, nu)
    y, _, _ = _march(edges, euler, theta, gaussian(space.points, mean, variance), duration)
    final = nu / rate + (variance - nu / rate) * np.exp(-2 * rate * duration)
    exact = gaussian(space.points, mean * np.exp(-rate * duration), final)
    return float(edges.mass @ np.abs(y - exact))


def _wall_minimum(space: P1Space, euler: Euler, theta: float) -> float:
    edges = _edges(space, np.tile([1.0, 0.3], (space.n_owned, 1)), 1e-3)
    start = gaussian(space.points, np.array([0.3, 0.0]), 0.05)
    return _march(edges, euler, theta, start, 1.0)[1]
