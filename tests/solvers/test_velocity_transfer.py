"""A velocity's way to a new mesh: third order, and no divergence that a pressure sees."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from hypemarl.config import MeshConfig
from hypemarl.meshing import distribute
from hypemarl.meshing.morphing import (
    FeasibleMap,
    Parametrisation,
    ShapeSpace,
    default_bounds,
    follow,
    outline_of,
    remesh,
)
from hypemarl.meshing.shapes import generate
from hypemarl.solvers.flow_kernels import reference_products
from hypemarl.solvers.mixed_flow import MixedFlow
from hypemarl.solvers.taylor_hood import TaylorHood
from hypemarl.solvers.velocity_transfer import VelocityTransfer, quadratics

WALLS = ("obstacle", "inflow", "bottom", "top")


@cache
def spaces(size: float) -> tuple[TaylorHood, TaylorHood]:
    config = MeshConfig(
        shape="channel-with-obstacle", element_size=size, disc_element_size=size / 6
    )
    raw = generate(config)
    space = ShapeSpace(Parametrisation(outline_of(raw), "radial-fourier"))
    motion = follow(raw, space)
    bounds = default_bounds(space, motion)
    q = FeasibleMap(space, bounds, motion)(0.4 * bounds.amplitude * np.cos(np.arange(16) * 1.2)).q
    old, new = motion.moved(q), remesh(motion, q).raw
    return TaylorHood(distribute(old, MPI.COMM_SELF)), TaylorHood(distribute(new, MPI.COMM_SELF))


def solenoidal(points: np.ndarray) -> np.ndarray:
    """curl of sin(6 x) sin(9 y), and a uniform flow."""
    x, y = points.T
    return np.stack([9 * np.sin(6 * x) * np.cos(9 * y) + 0.3, -6 * np.cos(6 * x) * np.sin(9 * y)])


def distances(space: TaylorHood, velocity: np.ndarray) -> tuple[float, float]:
    """L2 norms of the error and of the divergence, by dolfinx."""
    x, y = ufl.SpatialCoordinate(space.mesh)
    exact = (9 * ufl.sin(6 * x) * ufl.cos(9 * y) + 0.3, -6 * ufl.cos(6 * x) * ufl.sin(9 * y))
    parts = [fem.Function(space.V) for _ in exact]
    for part, values in zip(parts, velocity, strict=True):
        part.x.array[:] = values
    error = sum((part - e) ** 2 for part, e in zip(parts, exact, strict=True))
    divergence = (parts[0].dx(0) + parts[1].dx(1)) ** 2
    dx = ufl.dx(metadata={"quadrature_degree": 8})
    squares = (fem.assemble_scalar(fem.form(form * dx)) for form in (error, divergence))
    first, second = (float(np.sqrt(square)) for square in squares)
    return first, second


def transfer_of(size: float) -> tuple[TaylorHood, TaylorHood, VelocityTransfer, np.ndarray]:
    old, new = spaces(size)
    given = new.prescribed(dict.fromkeys(WALLS, (0, 1)))
    return old, new, VelocityTransfer(old, new, given), given


def test_divergence_vanishes_at_third_order_error() -> None:
    errors = []
    for size in (0.1, 0.05):
        old, new, transfer, given = transfer_of(size)
        velocity = solenoidal(old.velocity_points)
        before, after = transfer.interpolate(velocity), transfer(velocity)
        assert np.linalg.norm(transfer.divergence(before)) > 1e-6
        assert np.linalg.norm(transfer.divergence(after)) < 1e-12
        assert np.array_equal(before[given], after[given])
        plain, best = distances(new, before), distances(old, velocity)
        errors.append(distances(new, after))
        assert errors[-1][0] < 1.05 * plain[0] < 1.5 * best[0]
        assert errors[-1][1] < 1.05 * plain[1]
    rates = np.log2(np.array(errors[0]) / errors[1])
    assert rates[0] > 2.6
    assert rates[1] > 1.6


def test_the_change_is_the_least_one() -> None:
    """It is orthogonal, in L2, to every field that is free of divergence and zero where given."""
    old, new, transfer, given = transfer_of(0.1)
    velocity = solenoidal(old.velocity_points)
    change = transfer(velocity) - transfer.interpolate(velocity)
    rng = np.random.default_rng(0)
    other = transfer_of(0.1)[2]
    other.interpolate = lambda field: field.copy()  # type: ignore[method-assign]
    free = other(np.where(given, 0.0, rng.normal(size=given.shape)))
    mass = transfer._mass
    inner = sum(c @ mass @ f for c, f in zip(change, free, strict=True))
    sizes = [np.sqrt(sum(v @ mass @ v for v in field)) for field in (change, free)]
    assert abs(inner) < 1e-9 * sizes[0] * sizes[1]


def test_the_matrices_are_those_that_dolfinx_assembles() -> None:
    _, new, transfer, _ = transfer_of(0.1)
    constant = transfer.divergence_matrix.T @ np.ones(new.n_pressure)
    expected = MixedFlow(new).divergence
    assert constant.reshape(2, -1) == pytest.approx(expected, abs=1e-14)
    u, v = ufl.TrialFunction(new.V), ufl.TestFunction(new.V)
    mass = fem.assemble_matrix(fem.form(u * v * ufl.dx)).to_scipy()
    assert abs(transfer._mass - mass).max() < 1e-15
    q, w = ufl.TestFunction(new.Q), ufl.TrialFunction(new.V)
    for axis in range(2):
        d = fem.assemble_matrix(fem.form(q * w.dx(axis) * ufl.dx)).to_scipy()
        part = transfer.divergence_matrix[:, axis * new.n_velocity : (axis + 1) * new.n_velocity]
        assert abs(part - d).max() < 1e-15


def test_quadratics_are_nodal_and_the_reference_mass_is_theirs() -> None:
    nodes = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    assert quadratics(nodes) == pytest.approx(np.eye(6))
    mass = reference_products()[0]
    assert mass.sum() == pytest.approx(1.0)
    assert mass.sum(axis=1) == pytest.approx([0, 0, 0, 1 / 3, 1 / 3, 1 / 3], abs=1e-15)


def test_a_quadratic_velocity_arrives_unchanged() -> None:
    old, new, transfer, _ = transfer_of(0.1)

    def poiseuille(points: np.ndarray) -> np.ndarray:
        return np.stack([points[:, 1] * (0.41 - points[:, 1]), 0.0 * points[:, 0]])

    found = transfer(poiseuille(old.velocity_points))
    assert found == pytest.approx(poiseuille(new.velocity_points), abs=1e-11)


def test_other_domains_are_refused() -> None:
    old, new = spaces(0.1)
    larger = generate(MeshConfig(shape="square", lower=-0.1, upper=3.0, element_size=0.3))
    outside = TaylorHood(distribute(larger, MPI.COMM_SELF))
    with pytest.raises(ValueError, match="lies outside the old one"):
        VelocityTransfer(old, outside, np.zeros((2, outside.n_velocity), dtype=bool))


def test_a_linear_pressure_is_kept() -> None:
    old, new, transfer, _ = transfer_of(0.1)
    before, after = (1.0 + space.pressure_points @ [2.0, -3.0] for space in (old, new))
    np.testing.assert_allclose(transfer.interpolate_pressure(before), after, atol=1e-12)
