"""The unsteady flow solver against independent formulations, exact flows and its own guards."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI
from scipy import sparse
from scipy.sparse.linalg import spsolve

from hypemarl.config import MeshConfig
from hypemarl.meshing import build
from hypemarl.solvers.errors import SolverDiverged, TimeStepTooLong
from hypemarl.solvers.functionals import FlowFunctionals, strouhal
from hypemarl.solvers.navier_stokes import UnsteadyFlow

CHANNEL = MeshConfig(
    shape="channel-with-disc",
    length=1.2,
    height=0.41,
    disc_centre=(0.3, 0.2),
    disc_radius=0.05,
    element_size=0.08,
    disc_element_size=0.025,
)
GIVEN = dict.fromkeys(("inflow", "disc", "bottom", "top"), (0, 1))


def channel_flow(**settings: object) -> UnsteadyFlow:
    options = {"dirichlet": GIVEN, "time_step": 4e-3, "viscosity": 5e-3} | settings
    return UnsteadyFlow(build(CHANNEL, MPI.COMM_SELF), **options)


def march(flow: UnsteadyFlow, steps: int, speed: float = 1.0) -> None:
    """Open the entrance over twenty steps, then go on."""
    nodes = flow.space.nodes("inflow")
    y = flow.space.velocity_points[nodes, 1]
    profile = speed * 6.0 * y * (0.41 - y) / 0.41**2
    for _ in range(steps):
        flow.boundary[0, nodes] = min(1.0, (flow.steps + 1) / 20) * profile
        flow.step()


@pytest.fixture(scope="module")
def developed() -> UnsteadyFlow:
    flow = channel_flow()
    march(flow, 60)
    return flow


def as_function(space: fem.FunctionSpace, values: np.ndarray) -> fem.Function:
    function = fem.Function(space)
    function.x.array[:] = values
    return function


def test_matrix_is_that_of_the_form(developed: UnsteadyFlow) -> None:
    space, momentum = developed.space, developed.momentum
    generator = np.random.default_rng(0)
    w = generator.normal(size=(momentum.n_local, 2))
    momentum.assemble(w, 3.0, 0.7)
    indptr, indices, data = momentum.rows
    ours = sparse.csr_array((data, indices.astype(np.int32), indptr))
    u, v = ufl.TrialFunction(space.V), ufl.TestFunction(space.V)
    n = ufl.FacetNormal(space.mesh)
    advecting = ufl.as_vector([as_function(space.V, w[:, c]) for c in range(2)])
    form = (3.0 * u * v + 0.7 * ufl.inner(ufl.grad(u), ufl.grad(v))) * ufl.dx
    along = ufl.dot(advecting, ufl.grad(u)) * v - ufl.dot(advecting, ufl.grad(v)) * u
    form += 0.5 * along * ufl.dx
    tagged = space.tagged
    outflow = ufl.Measure("ds", space.mesh, subdomain_data=tagged.facet_tags)(
        tagged.tags["outflow"][1], metadata={"quadrature_degree": 7}
    )
    form += 0.5 * ufl.max_value(ufl.dot(advecting, n), 0.0) * u * v * outflow
    theirs = fem.assemble_matrix(fem.form(form)).to_scipy()
    assert abs(ours - theirs).max() < 1e-12 * abs(theirs).max()


def test_wall_forces_are_the_residual_of_the_form(developed: UnsteadyFlow) -> None:
    space, nu = developed.space, developed.viscosity
    disc = space.nodes("disc")
    state = developed.snapshot()
    velocity = np.array(developed.velocity)
    velocity[:, disc] += np.random.default_rng(1).normal(size=(2, len(disc)))  # fluid crosses it
    changed = type(state)(**(vars(state) | {"velocity": velocity.T.copy()}))
    developed.restore(changed)
    forces = developed.traction().copy()
    developed.restore(state)
    v = ufl.as_vector([as_function(space.V, row) for row in velocity])
    rate = ufl.as_vector([as_function(space.V, state.rate[:, c]) for c in range(2)])
    p, phi = as_function(space.Q, state.pressure), ufl.TestFunction(space.V)
    for c in range(2):
        convective = ufl.dot(v, ufl.grad(v[c])) + 0.5 * ufl.div(v) * v[c]
        residual = (rate[c] + convective) * phi + nu * ufl.dot(ufl.grad(v[c]), ufl.grad(phi))
        expected = -fem.assemble_vector(fem.form((residual - p * phi.dx(c)) * ufl.dx)).array
        # on the disc alone: the channel's walls are not crossed
        np.testing.assert_allclose(forces[c, disc], expected[disc], rtol=1e-9, atol=1e-12)


def test_two_column_solver_against_a_factorisation(developed: UnsteadyFlow) -> None:
    momentum, n = developed.momentum, developed.momentum.n_owned
    generator = np.random.default_rng(2)
    momentum.assemble(generator.normal(size=(n, 2)), 500.0, 5e-3)
    indptr, indices, data = momentum.rows
    matrix = sparse.csr_array((data, indices.astype(np.int32), indptr)).tocsc()
    free = generator.random((n, 2)) > 0.1
    right, x = generator.normal(size=(n, 2)), momentum.vector()
    values = x.array.reshape(-1, 2)
    values[:] = np.where(free, 0.0, generator.normal(size=(n, 2)))
    given = values.copy()
    solver = type(developed.krylov)(momentum.columns, rtol=1e-11)
    rate, scale = generator.normal(size=(n, 2)), free / data[momentum.diagonal][:, None]
    assert solver.solve(momentum.rows, momentum.mass, scale, rate, right, x)
    mass = sparse.csr_array((momentum.mass, indices.astype(np.int32), indptr))
    right = right - mass @ rate
    for c in range(2):
        inner = np.flatnonzero(free[:, c])
        known = right[:, c] - matrix @ np.where(free[:, c], 0.0, given[:, c])
        expected = spsolve(matrix[inner][:, inner], known[inner])
        np.testing.assert_allclose(values[inner, c], expected, rtol=1e-7, atol=1e-9)
        np.testing.assert_array_equal(values[~free[:, c], c], given[~free[:, c], c])


def test_poiseuille_flow_stays_as_it_is() -> None:
    tagged = build(MeshConfig(shape="square", element_size=0.4), MPI.COMM_SELF)
    given = {"left": (0, 1), "bottom": (0, 1), "top": (0, 1)}
    flow = UnsteadyFlow(tagged, dirichlet=given, time_step=0.02, viscosity=0.5, rtol=1e-12)
    x, y = flow.space.velocity_points.T
    exact = np.stack([1.0 - y**2, 0.0 * x])
    pressure = -2.0 * 0.5 * (flow.space.pressure_points[:, 0] - 1.0)
    flow.reset(exact, pressure)
    for _ in range(20):
        flow.step()
    np.testing.assert_allclose(flow.velocity, exact, atol=1e-9)
    np.testing.assert_allclose(flow.pressure, pressure, atol=1e-9)


def test_slip_walls_fix_one_component_only() -> None:
    given = GIVEN | {"bottom": (1,), "top": (1,)}
    flow = channel_flow(dirichlet=given)
    nodes = flow.space.nodes("inflow")
    for n in range(60):
        flow.boundary[0, nodes] = min(1.0, (n + 1) / 40)
        flow.step()
    top = flow.space.nodes("top")
    assert np.all(flow.velocity[1, top] == 0.0)
    assert np.all(flow.velocity[0, top] > 0.9)  # a no-slip wall would hold it at 0


def test_energy_of_an_enclosed_flow_decays() -> None:
    tagged = build(MeshConfig(shape="square", element_size=0.3), MPI.COMM_SELF)
    walls = dict.fromkeys(("left", "right", "bottom", "top"), (0, 1))
    flow = UnsteadyFlow(tagged, dirichlet=walls, time_step=0.02, viscosity=0.01)
    x, y = flow.space.velocity_points.T
    swirl = np.stack([-y, x]) * (1 - x**2) * (1 - y**2)
    flow.reset(np.where(flow.fixed, 0.0, swirl))
    functionals, energies = FlowFunctionals(flow.space), []
    for _ in range(30):
        flow.step()
        energies.append(functionals.kinetic_energy(flow.velocity))
    assert flow.pressure_correction.enclosed
    assert np.all(np.diff(energies) < 0)


def test_a_restored_flow_goes_on_bit_for_bit(developed: UnsteadyFlow) -> None:
    state = developed.snapshot()
    for _ in range(25):
        developed.step()
    once = developed.snapshot()
    developed.restore(state)
    for _ in range(25):
        developed.step()
    again = developed.snapshot()
    developed.restore(state)
    for name, value in vars(once).items():
        np.testing.assert_array_equal(value, getattr(again, name), err_msg=name)


@pytest.mark.parametrize("choice", ["redundant", "mumps", "iterative"])
def test_pressure_solvers_agree(choice: str) -> None:
    results = []
    for solver in ("lu", choice):
        flow = channel_flow(linear_solver=solver)
        march(flow, 5)
        results.append(np.array(flow.velocity))
    np.testing.assert_allclose(results[0], results[1], atol=1e-6)


def test_a_courant_number_above_the_limit_raises() -> None:
    flow = channel_flow(cfl_limit=0.5)
    with pytest.raises(TimeStepTooLong, match=r"Courant number .* above the limit 0\.5.*step"):
        march(flow, 20, speed=10.0)


def test_a_broken_energy_balance_raises() -> None:
    """Without the Courant limit the wrong flow is bounded and plausible, but for its energy."""
    flow = channel_flow(time_step=0.01, viscosity=1e-3, cfl_limit=np.inf)
    with pytest.raises(TimeStepTooLong, match="energy balance: the splitting exchanges"):
        march(flow, 400)
    assert np.abs(flow.velocity).max() < 10.0


def test_values_that_are_not_numbers_raise() -> None:
    flow = channel_flow()
    flow.boundary[0, flow.space.nodes("disc")[0]] = np.nan
    with pytest.raises(SolverDiverged, match="velocity"):
        flow.step()


@pytest.mark.parametrize(("name", "value"), [("time_step", 0.0), ("viscosity", -1.0)])
def test_numbers_without_sense_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected a positive finite number, got {value}"):
        channel_flow(**{name: value})


def test_functionals_of_known_fields(developed: UnsteadyFlow) -> None:
    space, functionals = developed.space, FlowFunctionals(developed.space)
    x, y = space.velocity_points.T
    area = space.volumes.sum()
    turning = np.stack([-y, x])
    assert functionals.kinetic_energy(np.ones((2, len(x)))) == pytest.approx(area)
    assert functionals.gradient_squares(turning).sum() == pytest.approx(2 * area)
    assert functionals.dissipation(turning, 0.3) == pytest.approx(0.6 * area)
    np.testing.assert_allclose(functionals.vorticity(turning), 2.0)


def test_strouhal_number_of_a_sine() -> None:
    t = np.arange(0.0, 3.0, 1e-3)
    assert strouhal(0.4 + np.sin(2 * np.pi * 3.0 * t), 1e-3, 0.1, 1.5) == pytest.approx(0.2, 1e-4)
    assert np.isnan(strouhal(t, 1e-3, 0.1, 1.0))
