"""The flow on a moving mesh against forms on that mesh, and against the solver that stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI
from scipy import sparse

from hypemarl.config import MeshConfig
from hypemarl.meshing import MeshError, distribute
from hypemarl.meshing.morphing import MovingMesh, remesh
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.solvers.functionals import FlowFunctionals
from hypemarl.solvers.moving_flow import MovingFlow
from hypemarl.solvers.moving_operators import KEPT_UP_TO
from hypemarl.solvers.navier_stokes import UnsteadyFlow

CHANNEL = MeshConfig(
    shape="channel-with-obstacle",
    length=1.2,
    disc_centre=(0.3, 0.2),
    element_size=0.08,
    disc_element_size=0.025,
)
GIVEN = dict.fromkeys(("inflow", "obstacle", "bottom", "top"), (0, 1))
SETTINGS = {"dirichlet": GIVEN, "time_step": 4e-3, "viscosity": 5e-3, "bodies": ("obstacle",)}


class Case:
    """A flow whose obstacle swings between two shapes."""

    def __init__(self) -> None:
        self.mesh = MovingMesh(CHANNEL, "radial-fourier", 8, MPI.COMM_SELF)
        shapes, rng = self.mesh.feasible, np.random.default_rng(3)
        self.q = shapes(0.5 * shapes.bounds.amplitude * rng.uniform(-1.0, 1.0, 8)).q
        self.flow = MovingFlow(self.mesh.tagged, **SETTINGS)

    def points(self, t: float) -> np.ndarray:
        return self.mesh.motion.points(np.sin(8.0 * t) * self.q)

    def march(self, steps: int) -> None:
        flow = self.flow
        nodes = flow.space.nodes("inflow")
        y = flow.space.velocity_points[nodes, 1]
        for _ in range(steps):
            flow.boundary[0, nodes] = min(1.0, (flow.steps + 1) / 20) * 6.0 * y * (0.41 - y) / 0.17
            flow.move(self.points(flow.time + flow.dt))
            flow.step()


@pytest.fixture(scope="module")
def case() -> Case:
    made = Case()
    made.march(40)
    return made


def function(space: fem.FunctionSpace, values: np.ndarray) -> fem.Function:
    made = fem.Function(space)
    made.x.array[:] = values
    return made


def vector(space: fem.FunctionSpace, values: np.ndarray) -> ufl.core.expr.Expr:
    return ufl.as_vector([function(space, row) for row in values])


def test_matrices_are_those_of_the_forms_on_the_moved_mesh(case: Case) -> None:
    flow, space, momentum = case.flow, case.flow.space, case.flow.momentum
    state = flow.snapshot()
    flow.move(1.01 * case.points(flow.time))  # the outlet grows too
    flow.step()
    w = np.random.default_rng(0).normal(size=(momentum.n_local, 2))
    momentum.renew_stiffness()
    momentum.assemble(w, 3.0, 0.7)
    u, v = ufl.TrialFunction(space.V), ufl.TestFunction(space.V)
    advecting, shift = vector(space.V, w.T), vector(space.V, flow.mesh_velocity)
    friction = ufl.inner(ufl.grad(u), ufl.grad(v))
    along = ufl.dot(advecting, ufl.grad(u)) * v - ufl.dot(advecting, ufl.grad(v)) * u
    form = ((3.0 + 0.5 * ufl.div(shift)) * u * v + 0.7 * friction + 0.5 * along) * ufl.dx
    outflow = ufl.Measure("ds", space.mesh, subdomain_data=space.tagged.facet_tags)(
        space.tagged.tags["outflow"][1], metadata={"quadrature_degree": 7}
    )
    through = ufl.dot(advecting, ufl.FacetNormal(space.mesh))
    form += 0.5 * ufl.max_value(through, 0.0) * u * v * outflow
    indptr, indices, data = momentum.rows
    for ours, theirs in (
        (data, form),
        (momentum.mass, u * v * ufl.dx),
        (momentum.stiffness, friction * ufl.dx),
    ):
        expected = fem.assemble_matrix(fem.form(theirs)).to_scipy()
        found = sparse.csr_array((ours, indices.astype(np.int32), indptr))
        assert abs(found - expected).max() < 1e-12 * abs(expected).max()
    flow.restore(state)


def test_pressure_operators_are_those_of_the_forms_on_the_moved_mesh(case: Case) -> None:
    space, ours = case.flow.space, case.flow.pressure_correction
    p, v = (np.random.default_rng(1).normal(size=n) for n in (space.n_pressure, space.n_velocity))
    v = np.stack([v, v[::-1]], axis=1)
    phi, psi = ufl.TestFunction(space.V), ufl.TestFunction(space.Q)
    pressure, velocity = function(space.Q, p), vector(space.V, v.T)
    for c, found in enumerate(ours.weak_gradient(p).T):
        expected = fem.assemble_vector(fem.form(pressure * phi.dx(c) * ufl.dx)).array
        np.testing.assert_allclose(found, expected, atol=1e-13)
    expected = fem.assemble_vector(fem.form(psi * ufl.div(velocity) * ufl.dx)).array
    np.testing.assert_allclose(ours.weak_divergence(v), expected, atol=1e-13)
    form = ufl.inner(ufl.grad(pressure), ufl.grad(psi)) * ufl.dx
    expected = fem.assemble_vector(fem.form(form)).array
    right, product = ours.laplacian.createVecs()
    right.array_w[:] = np.where(np.isin(np.arange(len(p)), ours._fixed), 0.0, p)
    ours.laplacian.mult(right, product)
    inner = ~np.isin(np.arange(len(p)), ours._fixed)
    near = np.isin(space.pressure_cells, ours._fixed).any(axis=1)
    inner[space.pressure_cells[near]] = False
    np.testing.assert_allclose(product.array_r[inner], expected[inner], atol=1e-12)


def test_wall_forces_are_the_residual_of_the_moving_form(case: Case) -> None:
    flow, space = case.flow, case.flow.space
    body, state = space.nodes("obstacle"), case.flow.snapshot()
    velocity = np.array(flow.velocity)
    velocity[:, body] += np.random.default_rng(1).normal(size=(2, len(body)))  # fluid crosses it
    flow.restore(replace(state, velocity=velocity.T.copy()))
    forces = flow.traction().copy()
    flow.restore(state)
    v, shift = vector(space.V, velocity), vector(space.V, flow.mesh_velocity)
    rate = [function(space.V, state.rate[:, c]) for c in range(2)]
    p, phi = function(space.Q, state.pressure), ufl.TestFunction(space.V)
    for c in range(2):
        convective = ufl.dot(v - shift, ufl.grad(v[c])) + 0.5 * ufl.div(v) * v[c]
        friction = 5e-3 * ufl.dot(ufl.grad(v[c]), ufl.grad(phi))
        residual = (rate[c] + convective) * phi + friction - p * phi.dx(c)
        expected = -fem.assemble_vector(fem.form(residual * ufl.dx)).array
        np.testing.assert_allclose(forces[c, body], expected[body], rtol=1e-9, atol=1e-11)


def test_functionals_follow_the_mesh() -> None:
    case = Case()
    functionals, space = FlowFunctionals(case.flow.space), case.flow.space
    case.flow.move(case.points(0.19))
    functionals.renew()
    x, y = space.velocity_points.T
    velocity = np.stack([x * y, y**2 - x])
    fresh = FlowFunctionals(space)
    assert functionals.dissipation(velocity, 1.0) == fresh.dissipation(velocity, 1.0)
    np.testing.assert_array_equal(functionals.vorticity(velocity), fresh.vorticity(velocity))
    corner = np.abs(functionals.vorticity(velocity) + 1.0 + space.pressure_points[:, 0])
    assert corner.max() < 0.1  # exact at the corners of a cell, then averaged


def test_a_mesh_at_rest_gives_what_the_fixed_one_gives() -> None:
    case = Case()
    flow, moved = case.flow, case.points(0.1)
    flow.move(moved)
    flow.reset(np.zeros_like(flow.velocity))
    fixed = UnsteadyFlow(case.mesh.tagged, **SETTINGS)
    nodes = flow.space.nodes("inflow")
    for n in range(30):
        flow.move(moved)
        for each in (fixed, flow):
            each.boundary[0, nodes] = min(1.0, (n + 1) / 20)
            each.step()
    np.testing.assert_allclose(flow.velocity, fixed.velocity, atol=1e-11)
    np.testing.assert_allclose(flow.pressure, fixed.pressure, atol=1e-9)
    np.testing.assert_allclose(flow.traction(), fixed.traction(), atol=1e-11)
    assert flow.imbalance == pytest.approx(fixed.imbalance, rel=1e-9)


def test_walls_take_the_velocity_of_their_nodes() -> None:
    case = Case()
    flow, body = case.flow, case.flow.space.nodes("obstacle")
    x, v = [flow.space.velocity_points[body].copy()], []
    for _ in range(3):
        case.march(1)
        x.append(flow.space.velocity_points[body].copy())
        v.append(flow.velocity[:, body].T.copy())
    np.testing.assert_allclose(v[0], (x[1] - x[0]) / flow.dt, atol=1e-12)
    second = (3.0 * x[3] - 4.0 * x[2] + x[1]) / (2.0 * flow.dt)
    np.testing.assert_allclose(v[2], second, atol=1e-12)
    assert np.abs(second).max() > 0.05


def test_a_snapshot_leads_back(case: Case) -> None:
    flow, state, before = case.flow, case.flow.snapshot(), case.flow.traction().copy()
    case.march(8)
    velocity, force = flow.velocity.copy(), flow.traction().copy()
    flow.restore(state)
    np.testing.assert_allclose(flow.traction(), before, atol=1e-13)
    np.testing.assert_array_equal(flow.space.velocity_points, state.geometry[0])
    case.march(8)
    np.testing.assert_allclose(flow.velocity, velocity, atol=1e-8)
    np.testing.assert_allclose(flow.traction(), force, atol=1e-9)
    flow.restore(state)
    with pytest.raises(TypeError, match="expected a MovingState"):
        flow.restore(UnsteadyFlow(case.mesh.tagged, **SETTINGS).snapshot())


def test_a_cell_turned_over_is_refused(case: Case) -> None:
    flow, state = case.flow, case.flow.snapshot()
    points = case.points(flow.time).copy()
    node = int(np.abs(points - [0.6, 0.2]).sum(axis=1).argmin())
    points[node, 0] += 0.3
    with pytest.raises(MeshError, match=r"a cell has the signed area -\S+ at time 0.16"):
        flow.move(points)
    flow.restore(state)
    case.march(1)
    flow.restore(state)


def test_the_courant_number_counts_the_mesh() -> None:
    case = Case()
    flow = case.flow
    flow.move(case.points(0.0))
    flow.step()
    assert flow.courant < 1e-12
    flow.move(case.points(0.19))
    with pytest.raises(SolverDiverged, match="Courant number"):
        flow.step()


def test_factors_are_kept_until_they_no_longer_serve() -> None:
    case = Case()
    pressure, counts = case.flow.pressure_correction, []
    for _ in range(60):
        case.march(1)
        counts.append((pressure.iterations, pressure.factorisations))
    before = next(n for n, (_, made) in enumerate(counts) if made == 2) - 1
    assert counts[before][0] > KEPT_UP_TO >= max(count for count, _ in counts[:before])
    assert counts[before + 1][0] == 1


def test_a_remeshed_flow_goes_on() -> None:
    """Forces after a remesh are those on the mesh that was kept, up to the meshes' own error."""
    case = Case()
    case.march(50)
    flow, motion = case.flow, case.mesh.motion
    body = flow.space.nodes("obstacle")
    new = remesh(motion, np.sin(8.0 * flow.time) * case.q)
    other = flow.handed_over(distribute(new.raw, MPI.COMM_SELF))
    assert len(other.space.volumes) != len(flow.space.volumes)
    assert np.ptp(other.pressure) == pytest.approx(np.ptp(flow.pressure), rel=0.02)
    assert (other.time, other.steps, other.dt) == (flow.time, flow.steps, flow.dt)
    hidden = other.space.nodes("obstacle")
    forces = []
    for _ in range(25):
        q = np.sin(8.0 * (flow.time + flow.dt)) * case.q
        flow.move(motion.points(q))
        other.move(new.points(q))
        flow.step()
        other.step()
        pair = [flow.traction()[:, body].sum(axis=1), other.traction()[:, hidden].sum(axis=1)]
        forces.append(pair)
    kept, renewed = np.swapaxes(forces, 0, 1)[:, 5:, 0]
    np.testing.assert_allclose(renewed, kept, rtol=0.02)
    np.testing.assert_allclose(
        np.sort(other.velocity[0, hidden]), np.sort(flow.velocity[0, body]), atol=1e-10
    )
