from __future__ import annotations

import numpy as np
import pytest

from hypemarl.config import MeshConfig
from hypemarl.meshing import MeshError, TaggedMesh, build
from hypemarl.mpi import world
from hypemarl.solvers import direct, steady_flow
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.solvers.p1 import P1Space
from hypemarl.solvers.steady_flow import SteadyFlow
from hypemarl.solvers.taylor_hood import VertexValues

WALLS = ("left", "right", "bottom", "top")
CHANNEL = MeshConfig(shape="square-with-disc", element_size=0.2, disc_radius=0.2)


@pytest.fixture(scope="module")
def square() -> TaggedMesh:
    return build(MeshConfig(shape="square", element_size=0.25), world())


@pytest.fixture(scope="module")
def disc() -> SteadyFlow:
    """Flow from the left past a disc between slip walls."""
    given = {"left": (0, 1), "disc": (0, 1), "bottom": (1,), "top": (1,)}
    return SteadyFlow(build(CHANNEL, world()), dirichlet=given)


def inflow(flow: SteadyFlow, tag: str = "left", speed: float = 1.0) -> np.ndarray:
    boundary = np.zeros((2, flow.space.n_velocity_local))
    boundary[0, flow.space.nodes(tag)] = speed
    return boundary


def lid(flow: SteadyFlow) -> np.ndarray:
    boundary = np.zeros((2, flow.space.n_velocity_local))
    top = flow.space.nodes("top")
    boundary[0, top] = (1.0 - flow.space.velocity_points[top, 0] ** 2) ** 2
    return boundary


def test_poiseuille_flow_is_exact(square: TaggedMesh) -> None:
    flow = SteadyFlow(square, dirichlet=dict.fromkeys(("left", "bottom", "top"), (0, 1)))
    _, y = flow.space.velocity_points.T
    exact = np.stack([1.0 - y**2, 0.0 * y])
    solution = flow.solve(0.1, exact)
    assert not flow.enclosed
    np.testing.assert_allclose(solution.velocity, exact, atol=1e-9)
    expected = 0.2 * (1.0 - flow.space.pressure_points[:, 0])
    np.testing.assert_allclose(solution.pressure, expected, atol=1e-9)
    # only what is fixed bears forces, and what the walls bear is the pressure drop
    assert np.all(solution.forces[~flow.fixed] == 0.0)
    assert solution.residual <= steady_flow.TOLERANCE


def test_force_balances_momentum(disc: SteadyFlow) -> None:
    """Slip walls bear no drag, so that the inflow's force and the disc's sum to the momentum."""
    solution = disc.solve(0.1, inflow(disc))
    drag = disc.force(solution, "disc")[0]
    entrance = disc.force(solution, "left")[0]
    right = disc.space.facets("right")
    vx = solution.velocity[0][right.nodes]
    # Simpson's rule for vx^2 over the exit's facets; P2 squared is of degree 4, hence the tolerance
    leaving = ((vx**2) @ np.array([1, 1, 4]) / 6 * right.lengths).sum()
    assert drag > 1.0
    assert drag + entrance == pytest.approx(2.0 - leaving, rel=1e-2)


def test_nearby_problems_need_no_factorisation(disc: SteadyFlow) -> None:
    boundary = inflow(disc)
    first = disc.solve(0.05, boundary, "rest")
    assert first.factorisations >= 2
    total = disc.counters.factorisations
    near = disc.solve(0.049, boundary)
    assert near.factorisations == near.newton_steps == 0
    assert 1 <= near.chord_steps <= 20
    assert disc.counters.factorisations == total
    exact = disc.solve(0.049, boundary, "rest")
    np.testing.assert_allclose(near.velocity, exact.velocity, atol=1e-8)
    np.testing.assert_allclose(near.pressure, exact.pressure, atol=1e-8)


def test_new_boundary_values_take_effect(disc: SteadyFlow) -> None:
    disc.solve(0.05, inflow(disc), "rest")
    changed = inflow(disc, speed=1.05)
    solution = disc.solve(0.05, changed)
    assert solution.factorisations == 0
    np.testing.assert_array_equal(solution.velocity[disc.fixed], changed[disc.fixed])


def test_a_distant_problem_is_factorised_anew(disc: SteadyFlow) -> None:
    disc.solve(1.0, inflow(disc), "rest")
    far = disc.solve(0.02, inflow(disc))
    assert far.factorisations >= 1
    assert far.newton_steps == far.factorisations
    exact = disc.solve(0.02, inflow(disc), "rest")
    np.testing.assert_allclose(far.velocity, exact.velocity, atol=1e-8)


def test_chord_steps_without_a_new_factorisation_would_crawl(
    disc: SteadyFlow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rate at which a factorisation is given up is what keeps the number of steps small."""
    disc.solve(0.06, inflow(disc), "rest")
    disc.keep()
    monkeypatch.setattr(steady_flow, "CHORD_RATE", 0.999)
    patient = disc.solve(0.03, inflow(disc))
    assert patient.chord_steps > 20


def test_anchor_makes_the_result_independent_of_history(disc: SteadyFlow) -> None:
    disc.solve(0.05, inflow(disc), "rest")
    anchor = disc.keep()
    first = disc.solve(0.03, inflow(disc), anchor)
    disc.solve(0.5, inflow(disc, speed=0.3), "rest")
    second = disc.solve(0.03, inflow(disc), anchor)
    assert first.factorisations == second.factorisations >= 1
    np.testing.assert_array_equal(first.velocity, second.velocity)
    again = disc.solve(0.05, inflow(disc), anchor)
    assert (again.factorisations, again.chord_steps) == (0, 0)


def test_keep_needs_a_solution(square: TaggedMesh) -> None:
    with pytest.raises(RuntimeError, match="no solution yet"):
        SteadyFlow(square, dirichlet={"left": (0, 1)}).keep()


def test_continuation_reaches_what_newton_alone_does_not(
    square: TaggedMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = SteadyFlow(square, dirichlet=dict.fromkeys(WALLS, (0, 1)))
    boundary = lid(flow)
    whole = flow.solve(0.004, boundary, "rest")
    monkeypatch.setattr(steady_flow, "MAX_FACTORISATIONS", 2)
    parts = flow.solve(0.004, boundary, "rest")
    assert parts.factorisations > whole.factorisations
    assert parts.factorisations > 4  # more than one attempt at the whole Reynolds number
    np.testing.assert_allclose(parts.velocity, whole.velocity, atol=1e-8)


def test_divergence_says_what_was_tried(square: TaggedMesh) -> None:
    flow = SteadyFlow(square, dirichlet=dict.fromkeys(WALLS, (0, 1)))
    with pytest.raises(SolverDiverged, match=r"viscosity 1e-05.*1 of the Reynolds number.*lower"):
        flow.solve(1e-5, lid(flow))
    # and the solver still works
    assert flow.solve(0.1, lid(flow)).residual <= steady_flow.TOLERANCE


def test_wrong_factors_are_noticed(square: TaggedMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = SteadyFlow(square, dirichlet=dict.fromkeys(WALLS, (0, 1)))
    update = direct.Factorisation.update

    def spoiled(self: direct.Factorisation) -> None:
        update(self)
        self._matrix.shift(1e-3)  # the factors are now those of another matrix

    monkeypatch.setattr(direct.Factorisation, "update", spoiled)
    with pytest.raises(
        SolverDiverged, match=r"Stokes flow: mumps gave no usable factors.*flat cells"
    ):
        flow.solve(0.1, lid(flow))


def test_enclosed_flow_has_pressure_of_mean_zero(square: TaggedMesh) -> None:
    flow = SteadyFlow(square, dirichlet=dict.fromkeys(WALLS, (0, 1)))
    solution = flow.solve(0.05, lid(flow))
    space = flow.space
    mean = space.volumes @ solution.pressure[space.pressure_cells].mean(axis=1)
    assert flow.enclosed
    assert abs(mean) < 1e-12
    assert np.abs(solution.pressure).max() > 1e-3
    assert solution.residual <= steady_flow.TOLERANCE


def test_enclosed_flow_must_balance(square: TaggedMesh) -> None:
    flow = SteadyFlow(square, dirichlet=dict.fromkeys(WALLS, (0, 1)))
    boundary = np.ones((2, flow.space.n_velocity_local))
    assert flow.solve(1.0, boundary).residual <= steady_flow.TOLERANCE
    boundary[0, flow.space.nodes("right")] = 1.0 - 5e-4  # small: what flows out is scaled
    velocity = flow.solve(1.0, boundary).velocity
    net = 0.0
    for tag in WALLS:
        facets = flow.space.facets(tag)
        normal = np.einsum("cmk,mc->mk", velocity[:, facets.nodes], facets.normals)
        net += (normal @ np.array([1, 1, 4]) / 6) @ facets.lengths
    assert abs(net) < 1e-12
    boundary[0, flow.space.nodes("right")] = 0.9
    with pytest.raises(ValueError, match=r"4 flows in and 3\.\d* flows out"):
        flow.solve(1.0, boundary)


def test_petsc_factors_agree_with_mumps(disc: SteadyFlow) -> None:
    given = {"left": (0, 1), "disc": (0, 1), "bottom": (1,), "top": (1,)}
    other = SteadyFlow(build(CHANNEL, world()), dirichlet=given, linear_solver="lu")
    solutions = [flow.solve(0.1, inflow(flow), "rest") for flow in (disc, other)]
    np.testing.assert_allclose(solutions[1].velocity, solutions[0].velocity, atol=1e-8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, None), "viscosity: expected a positive finite number, got 0.0"),
        ((np.nan, None), "viscosity: expected a positive"),
        ((0.1, np.zeros((3, 2))), r"boundary: expected shape \(2, \d+\).*got \(3, 2\)"),
        ((0.1, np.inf), "boundary: expected finite values, got"),
    ],
)
def test_bad_problems_are_refused(disc: SteadyFlow, arguments: tuple, message: str) -> None:
    viscosity, boundary = arguments
    if boundary is None:
        boundary = inflow(disc)
    elif np.ndim(boundary) == 0:
        boundary = np.full((2, disc.space.n_velocity_local), boundary)
    with pytest.raises(ValueError, match=message):
        disc.solve(viscosity, boundary)


def test_bad_solvers_are_refused(square: TaggedMesh) -> None:
    with pytest.raises(ValueError, match="components 0 and 1, got .2. of tag 'left'"):
        SteadyFlow(square, dirichlet={"left": (2,)})
    with pytest.raises(ValueError, match="must be prescribed somewhere"):
        SteadyFlow(square, dirichlet={})
    with pytest.raises(MeshError, match="nowhere"):
        SteadyFlow(square, dirichlet={"nowhere": (0, 1)})
    with pytest.raises(ValueError, match="needs a factorisation.*got 'iterative'"):
        SteadyFlow(square, dirichlet={"left": (0, 1)}, linear_solver="iterative")


def test_vertex_values_of_a_linear_field(disc: SteadyFlow) -> None:
    target = P1Space(disc.space.mesh)
    values = VertexValues(disc.space, target)(np.array([[1.0, 2.0], [-3.0, 0.5]]) @ _points(disc))
    expected = target.points @ np.array([[1.0, -3.0], [2.0, 0.5]])
    np.testing.assert_allclose(values, expected, atol=1e-14)


def _points(flow: SteadyFlow) -> np.ndarray:
    return flow.space.velocity_points.T
