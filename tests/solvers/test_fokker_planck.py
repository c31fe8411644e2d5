from __future__ import annotations

import numpy as np
import pytest

from hypemarl.config import MeshConfig
from hypemarl.meshing import build
from hypemarl.mpi import world
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.solvers.fokker_planck import FokkerPlanck
from hypemarl.solvers.kernels import add_squares


@pytest.fixture(scope="module")
def solver() -> FokkerPlanck:
    return FokkerPlanck(build(MeshConfig(element_size=0.1), world()).mesh, 1e-3)


def bump(x: np.ndarray) -> np.ndarray:
    return np.exp(-10 * (x**2).sum(axis=1))


@pytest.mark.parametrize("viscosity", [-1e-3, 0.0, np.nan])
def test_viscosity_must_be_positive(viscosity: float) -> None:
    mesh = build(MeshConfig(element_size=0.5), world()).mesh
    with pytest.raises(ValueError, match=r"viscosity: expected a positive finite number.*got"):
        FokkerPlanck(mesh, viscosity)


def test_still_fluid_only_diffuses(solver: FokkerPlanck) -> None:
    """Without velocity the second moment grows by 2 d nu t."""
    x = solver.space.points
    solver.reset(bump(x))
    solver.set_velocity(np.zeros_like(x))
    square = (x**2).sum(axis=1)
    before = solver.lumped_mass @ (square * solver.density)
    solver.advance(2.0)
    after = solver.lumped_mass @ (square * solver.density)
    assert (after - before) / solver.mass() == pytest.approx(4 * 1e-3 * 2.0, rel=0.05)


def test_mass_moves_with_the_wind(solver: FokkerPlanck) -> None:
    """A uniform velocity carries the centre of mass along while no wall is near."""
    x = solver.space.points
    solver.reset(bump(x))
    solver.set_velocity(np.tile([0.5, -0.25], (len(x), 1)))
    start = solver.lumped_mass @ (solver.density[:, None] * x)
    solver.advance(0.4)
    moved = (solver.lumped_mass @ (solver.density[:, None] * x) - start) / solver.mass()
    np.testing.assert_allclose(moved, [0.2, -0.1], atol=2e-3)


def test_limiter_is_idle_on_a_smooth_state(solver: FokkerPlanck) -> None:
    """There the fluxes are Galerkin's: the rate of change matches the assembled operator."""
    x = solver.space.points
    y = 2.0 + np.sin(2 * x[:, 0]) * np.cos(x[:, 1])
    velocity = np.stack([np.cos(x[:, 1]), np.sin(x[:, 0])], axis=1)
    solver.reset(y)
    solver.set_velocity(velocity)
    dt = 1e-7
    p, m = solver.space, solver.lumped_mass
    k = np.repeat(np.arange(p.n_owned), np.diff(p.indptr))
    galerkin = -1e-3 * np.bincount(k, _stiffness(solver) * y[p.indices])
    for axis in range(2):
        c = p.assemble(lambda u, v, a=axis: v.dx(a) * u)
        galerkin += np.bincount(k, c * (velocity[:, axis] * y)[p.indices])
    solver.advance(dt)
    np.testing.assert_allclose((solver.density - y) / dt, galerkin / m, atol=2e-4)


def _stiffness(solver: FokkerPlanck) -> np.ndarray:
    import ufl

    return solver.space.assemble(lambda u, v: ufl.inner(ufl.grad(u), ufl.grad(v)))


def test_snapshot_restores_the_trajectory(solver: FokkerPlanck) -> None:
    x = solver.space.points
    solver.reset(bump(x))
    solver.set_velocity(-x)
    solver.advance(0.1)
    state = solver.snapshot()
    solver.advance(0.3)
    first = solver.density.copy()
    solver.set_velocity(x)
    solver.advance(0.2)
    solver.restore(state)
    solver.advance(0.3)
    np.testing.assert_array_equal(solver.density, first)
    assert solver.time == pytest.approx(0.4)


def test_nan_is_refused(solver: FokkerPlanck) -> None:
    x = solver.space.points
    solver.reset(bump(x))
    bad = np.zeros_like(x)
    bad[3, 1] = np.nan
    with pytest.raises(SolverDiverged, match="velocity: expected finite"):
        solver.set_velocity(bad)
    solver.set_velocity(np.zeros_like(x))
    y = bump(x)
    y[7] = np.inf
    solver.reset(y)
    with pytest.raises(SolverDiverged, match=r"density: expected finite values, got \d+ NaN"):
        solver.advance(0.01)


@pytest.mark.parametrize(
    ("viscosity", "max_time_step", "speed", "at_least", "reason"),
    [
        (1e-3, 0.01, 1e9, 1, "the velocity reaches 1e\\+09; bound it"),
        (1e4, 0.01, 0.0, 1, "diffusion alone needs [0-9]+, the viscosity is 10000; lower it"),
        (1e4, 0.01, 1.0, 1, "diffusion alone needs"),
        (1e-3, 1e-7, 1.0, 1, "the time step may not exceed 1e-07; allow a larger one"),
        (1e-3, 0.01, 1.0, 10**6, "the largest velocity that controls may reach needs them"),
        (1e-3, 0.01, 1.0, 1, ""),  # sound
    ],
)
def test_too_many_time_steps_are_refused_for_what_needs_them(
    viscosity: float, max_time_step: float, speed: float, at_least: int, reason: str
) -> None:
    mesh = build(MeshConfig(element_size=0.3), world()).mesh
    solver = FokkerPlanck(mesh, viscosity, max_time_step)
    x = solver.space.points
    solver.reset(bump(x))
    solver.set_velocity(speed * x / np.abs(x).max())
    if not reason:
        assert solver.advance(1.0, at_least=at_least) >= 100
        return
    before = solver.exchange.rates.copy()
    with pytest.raises(SolverDiverged, match="time steps needed for 1 time units.*: " + reason):
        solver.advance(1.0, at_least=at_least)
    assert np.array_equal(solver.exchange.rates, before)


def test_square_integral_is_exact(solver: FokkerPlanck) -> None:
    """int (x + 2 y - 1)^2 over (-1, 1)^2 = 4/3 + 16/3 + 4, split over two owners."""
    p = solver.space
    owners = (p.midpoints[:, 0] > 0).astype(np.int32)
    shares = np.zeros(2)
    y = p.points[:, 0] + 2 * p.points[:, 1]
    add_squares(y, np.ones_like(y), p.cells, p.volumes, owners, 1.0, shares)
    assert shares.sum() == pytest.approx(4 / 3 + 16 / 3 + 4, rel=1e-12)
    assert shares[0] != pytest.approx(shares[1])
