"""The shape plant: shares, lag, observations, repeatability, remeshing, bad input, ranks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import ufl
from dolfinx import fem
from infos_form import check_interface
from shape_case import PARAMETERS, shape_config, shape_plant

from hypemarl import config as configuration
from hypemarl.coupling.plant import ActionError
from hypemarl.envs import PDEEnv, make
from hypemarl.meshing.distribute import distribute
from hypemarl.meshing.morphing import KINDS, remesh
from hypemarl.meshing.polygons import curvature, signed_area
from hypemarl.mpi import world
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.solvers.steady_flow import SteadyFlow
from hypemarl.systems.shape.plant import ShapePlant
from hypemarl.training import evaluation

ACTIONS = np.random.default_rng(3).uniform(-1.0, 1.0, (4, 8, 1))


@pytest.fixture(scope="module")
def plant() -> ShapePlant:
    return shape_plant()


def fail(*arguments: object) -> None:
    """In place of a solve."""
    raise SolverDiverged("no solution")


def run(plant: ShapePlant, actions: np.ndarray) -> list[np.ndarray]:
    """Observations and rewards of an episode."""
    found = [plant.reset(PARAMETERS)]
    for wanted in actions:
        found += plant.step(wanted)[:2]
    return found


def test_sizes_and_names(plant: ShapePlant) -> None:
    assert (plant.n_agents, plant.action_size, plant.observation_size) == (8, 1, 12)
    assert plant.grid is None
    assert plant.own_features == (4, 5, 6)
    assert plant.parameter_names == ("reynolds", "angle")
    np.testing.assert_array_equal(plant.parameter_low, [20.0, -0.5])
    np.testing.assert_array_equal(plant.stencil(1)[0], [7, 0, 1])
    # counted anticlockwise from the direction of x
    np.testing.assert_allclose(plant.positions[[0, 2]], [[1.2, 1.0], [1.0, 1.2]], atol=1e-3)


def test_interface_of_the_environment(plant: ShapePlant) -> None:
    env = PDEEnv(plant, shape_config())
    infos = check_interface(env)
    assert infos["agent_0"]["drag"].shape == (1,)
    assert type(infos["agent_0"]["limited"]) is type(infos["agent_0"]["remeshed"]) is bool
    bounded = np.isfinite(env.observation_space("agent_0").high).reshape(-1, 4)
    assert bounded.tolist() == [[False, False, True, False]] * 3  # amplitudes, of 3 agents


def test_shares_of_drag_are_the_force_on_the_body(plant: ShapePlant) -> None:
    run(plant, ACTIONS[:2])
    interval, flow = plant.interval, plant.snapshot().flow
    assert interval is not None
    force = plant.present.solver.force(flow, "obstacle")
    drag = force @ [np.cos(0.3), np.sin(0.3)] / (0.5 * plant.diameter)
    lift = force @ [-np.sin(0.3), np.cos(0.3)] / (0.5 * plant.diameter)
    np.testing.assert_allclose(interval.coefficients.sum(axis=1), [drag, lift], rtol=1e-12)
    assert 1.5 < drag < 4.0
    assert flow.viscosity == pytest.approx(0.4 / 30.0, rel=2e-2)  # of a polygon of 24 sides
    a = plant.amplitudes[:, 0]
    expected = {
        "drag": 0.5 * drag,
        "lift": 0.0,
        "control": 0.5 * 0.3 / 2 * (a**2).mean(),
        "control_gradient": 0.5 * 0.2 / 2 * ((a - np.roll(a, 1)) ** 2).mean(),
    }
    assert interval.costs.terms == pytest.approx(expected, rel=1e-12)
    assert interval.costs.total == pytest.approx(sum(expected.values()), rel=1e-12)


def test_an_agents_force_is_that_on_its_arc(plant: ShapePlant) -> None:
    """Of a circle with 24 facets and 8 agents: arcs of 3 facets; what ends two arcs is halved."""
    plant.reset(PARAMETERS)
    flow, layout, space = plant.snapshot().flow, plant.layout, plant.present.space
    angles = np.degrees(np.arctan2(*(space.velocity_points[layout.nodes] - 1.0).T[::-1]))
    inside = np.abs(angles) < 22.4
    edge = np.abs(np.abs(angles) - 22.5) < 0.1
    assert (inside.sum(), edge.sum()) == (5, 2)
    own = flow.forces[:, layout.nodes]
    expected = own[:, inside].sum(axis=1) + 0.5 * own[:, edge].sum(axis=1)
    np.testing.assert_allclose(plant.present.forces(flow)[0], expected, rtol=1e-12)


def test_shares_of_dissipation_are_an_assembled_integral() -> None:
    tested = shape_plant(shape_config(flow={"objective": "dissipation"}))
    run(tested, ACTIONS[:2])
    interval, mixed = tested.interval, tested.present.solver.mixed
    assert interval is not None
    velocity = ufl.split(mixed.state)[0]
    form = fem.form(0.5 * ufl.inner(ufl.grad(velocity), ufl.grad(velocity)) * ufl.dx)
    whole = 0.5 * fem.assemble_scalar(form)  # times the interval
    assert interval.costs.terms["dissipation"] == pytest.approx(whole, rel=1e-12)
    assert interval.costs.shares.min() > 0.0


def test_lift_may_cost(plant: ShapePlant) -> None:
    tested = shape_plant(shape_config(flow={"lift_weight": 0.7}))
    for each in (plant, tested):
        run(each, ACTIONS[:1])
    assert plant.interval is not None
    assert tested.interval is not None
    lift = plant.interval.coefficients[1].sum()
    assert tested.interval.costs.terms["lift"] == pytest.approx(0.5 * 0.7 * lift**2, rel=1e-9)


def test_amplitudes_follow_with_a_lag_and_saturate(plant: ShapePlant) -> None:
    plant.reset(PARAMETERS)
    wanted = np.full((8, 1), 3.0)
    wanted[4:] = -0.5
    for share in (0.5, 0.75, 0.875):
        info = plant.step(wanted)[2]
        np.testing.assert_allclose(plant.amplitudes[:, 0], share * np.array([1.0] * 4 + [-0.5] * 4))
    bound = plant.moving.feasible.bounds.amplitude
    assert bound == pytest.approx(0.1, rel=1e-2)
    expected = plant.moving.feasible(bound * plant.amplitudes)
    np.testing.assert_array_equal(plant.shape.q, expected.q)
    space = plant.moving.feasible.space
    bends = 0.2 * np.abs(curvature(space.points(expected.q)))  # R is 0.2
    assert info["curvature"] == pytest.approx(bends.max(), rel=1e-2)
    assert 1.2 < info["curvature"] < 6.0


def test_observations_are_local(plant: ShapePlant) -> None:
    """Pressure pushes on the front of the body, friction drags along its sides."""
    plant.reset(np.array([30.0, 0.0]))
    rest = plant._observe()
    front, side, back = rest[4], rest[2], rest[0]
    assert front[4] < -1.0 < back[4]
    assert side[5] < -0.3  # the tangent runs against the stream here
    assert abs(front[5]) < 1e-2
    np.testing.assert_array_equal(rest[3, :4], rest[2, 4:8])
    np.testing.assert_array_equal(rest[:, 6:8], 0.0)
    forces = plant.present.forces(plant.snapshot().flow)
    scale = 0.5 * plant.moving.feasible.space.parametrisation.outline.length / 8
    np.testing.assert_allclose(-forces[4, 0] / scale, rest[4, 4], atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_agents_feel_what_moved(kind: str) -> None:
    """The displacement of the mesh at the agents, over the bound; of control points their own."""
    tested = shape_plant(shape_config(16 if kind == "free-form" else 8, displacement=kind))
    rng = np.random.default_rng(1)
    tested.reset(PARAMETERS)
    seen = tested.step(0.3 * rng.uniform(-1.0, 1.0, (tested.n_agents, tested.action_size)))[0]
    m, bound = tested.action_size, tested.moving.feasible.bounds.amplitude
    own = seen.reshape(tested.n_agents, -1, 2 + 2 * m)[:, tested.seen.size // 2]
    np.testing.assert_array_equal(own[:, 2 : 2 + m], tested.amplitudes)
    if kind == "free-form":
        moved = tested.shape.amplitudes / bound
    else:
        motion = tested.present.motion
        nodes = motion.loop[::3]  # the agents' places
        step = (motion.points(tested.shape.q) - motion.raw.points)[nodes]
        arms = motion.raw.points[nodes] - 1.0
        moved = (step * arms).sum(axis=1, keepdims=True) / np.linalg.norm(arms, axis=1)[:, None]
        moved = moved / bound
    np.testing.assert_allclose(own[:, 2 + m :], moved, atol=1e-9)
    assert np.abs(moved).max() > 0.02


def test_episodes_repeat_to_the_last_bit(plant: ShapePlant) -> None:
    """Whatever was computed before: other parameters, other shapes, and from a snapshot."""
    first = run(plant, ACTIONS)
    plant.reset(np.array([21.0, -0.4]))
    plant.step(-ACTIONS[0])
    for found, expected in zip(run(plant, ACTIONS), first, strict=True):
        np.testing.assert_array_equal(found, expected)
    plant.reset(PARAMETERS)
    plant.step(ACTIONS[0])
    state = plant.snapshot()
    plant.step(ACTIONS[2])
    np.testing.assert_array_equal(plant.restore(state), first[1])
    assert plant.time == 0.5
    for found, expected in zip(plant.step(ACTIONS[1])[:2], first[3:5], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_mirrored_problem_has_the_mirrored_forces() -> None:
    """Up to the mesh, which gmsh does not make symmetric."""
    tested = shape_plant()
    mirror = -np.arange(8) % 8
    forces = []
    for angle, order in ((0.3, np.arange(8)), (-0.3, mirror)):
        tested.reset(np.array([30.0, angle]))
        tested.step(0.6 * ACTIONS[0][order])
        forces.append(tested.present.forces(tested.snapshot().flow)[order])
    np.testing.assert_allclose(
        forces[1] * [1.0, -1.0], forces[0], atol=0.03 * np.abs(forces[0]).max()
    )


def test_rewards_may_count_from_the_reference(plant: ShapePlant) -> None:
    plant.reset(PARAMETERS)
    idle = -plant.step(np.zeros((8, 1)))[1]
    np.testing.assert_allclose(idle, plant.baseline, rtol=1e-7)
    assert plant.baseline.sum() > 0.5


def test_a_morphed_mesh_has_the_drag_of_a_fresh_one() -> None:
    """Within 0.5%: what a poorer mesh costs in accuracy."""
    loaded = configuration.load("shape-morphing")
    tested = make(loaded.env).plant
    tested.reset(PARAMETERS)
    for wanted in np.random.default_rng(5).uniform(-1.0, 1.0, (2, 12, 1)):
        drag = tested.step(wanted)[2]["drag"][0]
    state = tested.snapshot()
    fresh = remesh(tested.present.motion, state.shape.q)
    solver = SteadyFlow(
        distribute(fresh.raw, world()),
        dirichlet=dict.fromkeys(("inflow", "bottom", "top", "obstacle"), (0, 1)),
    )
    boundary = np.zeros((2, solver.space.n_velocity_local))
    for tag in ("inflow", "bottom", "top"):
        boundary[:, solver.space.nodes(tag)] = [[np.cos(0.3)], [np.sin(0.3)]]
    flow = solver.solve(tested.viscosity(30.0), boundary, "rest")
    force = solver.force(flow, "obstacle") @ [np.cos(0.3), np.sin(0.3)]
    assert force / (0.5 * tested.diameter) == pytest.approx(drag, rel=5e-3)


def test_a_mesh_that_is_made_anew(plant: ShapePlant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the mesh may not limit shapes: the same drag to the mesh, and back at the reset."""
    tested = shape_plant(shape_config(remesh=True, min_quality=0.65))
    wanted = np.cos(2.0 * np.pi * np.arange(8) / 4.0)[:, None]
    first = tested.reset(PARAMETERS)
    before, remeshed = tested.present, []
    for _ in range(3):
        info = tested.step(wanted)[2]
        remeshed.append(info["remeshed"])
    assert any(remeshed)
    assert tested.present is not before
    area = signed_area(tested.present.motion.points(tested.shape.q)[tested.present.motion.loop])
    assert area == pytest.approx(tested.moving.feasible.area, rel=1e-12)
    plant.reset(PARAMETERS)
    for _ in range(3):
        other = plant.step(wanted)[2]
    assert info["drag"] == pytest.approx(other["drag"], rel=2e-2)
    tested.reset(PARAMETERS)
    for _ in range(remeshed.index(True)):
        tested.step(wanted)
    with monkeypatch.context() as patch:
        patch.setattr(SteadyFlow, "solve", fail)
        with pytest.raises(SolverDiverged):
            tested.step(wanted)
    assert tested.present is before
    assert tested.moving.motion is before.motion
    tested.step(wanted)
    middle = tested.snapshot()
    last = tested.step(wanted)[1]
    np.testing.assert_array_equal(tested.reset(PARAMETERS), first)
    assert tested.present is before
    tested.restore(middle)
    np.testing.assert_array_equal(tested.step(wanted)[1], last)


@pytest.mark.parametrize("kind", ["radial-fourier", "free-form"])
def test_the_constant_policy_makes_the_body_longer(kind: str) -> None:
    env = make(shape_config(9 if kind == "free-form" else 8, displacement=kind))
    policy = evaluation.hand_made(env, 0.8)
    seen = env.reset_arrays(np.array([30.0, 0.0])).observations
    drags = [env.step_arrays(policy(seen, np.zeros(2))).info["drag"][0] for _ in range(3)]
    length, width = np.ptp(env.plant.moving.feasible.space.points(env.plant.shape.q), axis=0)
    assert length > 1.1 * width
    assert drags[2] < drags[0]


def random_episodes(kind: str, episodes: int, *more: str) -> None:
    """Whole episodes of extreme actions at random parameters: every step ends with a flow."""
    agents = "[16]" if kind == "free-form" else "[12]"
    settings = [f"env.shape.displacement={kind}", f"env.agents={agents}", *more]
    env = make(configuration.load("shape-morphing", settings).env)
    rng = np.random.default_rng(KINDS.index(kind))
    feasible, limits = env.plant.moving.feasible, 0
    shape = (env.control_steps, env.n_agents, env.action_size)
    for _ in range(episodes):
        env.reset_arrays(rng.uniform(env.parameter_low, env.parameter_high))
        actions = rng.uniform(-1.0, 1.0, shape)
        for wanted in np.sign(actions) if rng.random() < 0.5 else actions:
            step = env.step_arrays(wanted)
            assert not step.terminated, step.info
            assert 1.0 < step.info["drag"][0] < 6.0
            limits += step.info["limit"] is not None
            q = env.plant.shape.q
            assert feasible.space.area(q) == pytest.approx(feasible.area, rel=1e-12)
            assert env.plant.present.motion.worst_cell(q)[0] >= 0.2
    assert step.truncated
    assert limits > 0 or kind == "free-form" or episodes < 10


def test_random_episodes_do_not_diverge() -> None:
    random_episodes("radial-bspline", 2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_hundred_random_episodes_do_not_diverge(kind: str) -> None:
    random_episodes(kind, 40)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_random_episodes_of_a_moving_obstacle_do_not_diverge(kind: str) -> None:
    random_episodes(kind, 40, "env.shape.mode=unsteady", "env.shape.time_step=0.01")


def test_a_flow_that_cannot_be_found_leaves_the_state(plant: ShapePlant) -> None:
    """The environment ends the episode; the plant is where it was."""
    env = make(replace(shape_config(), control_steps=4))
    env.reset_arrays(PARAMETERS)
    env.step_arrays(ACTIONS[0])
    tested = env.plant
    before, pictured = tested.snapshot(), tested.fields()
    solve, tested.present.solver.solve = tested.present.solver.solve, fail
    step = env.step_arrays(ACTIONS[1])
    tested.present.solver.solve = solve
    assert step.terminated
    assert "no solution" in step.info["failure"]
    assert tested.snapshot() is before
    np.testing.assert_array_equal(tested.fields()["points"], pictured["points"])
    np.testing.assert_array_equal(tested.step(ACTIONS[1])[1], run(plant, ACTIONS[:2])[4])


def test_fields_for_pictures(plant: ShapePlant) -> None:
    plant.reset(PARAMETERS)
    rest = plant.fields()
    plant.step(ACTIONS[0])
    fields = plant.fields()
    assert rest is not None
    assert fields is not None
    assert plant.kind == "shape"
    np.testing.assert_array_equal(rest["cells"], fields["cells"])
    moved = np.linalg.norm(fields["points"] - rest["points"], axis=1)
    assert 0.005 < moved.max() < 0.1
    np.testing.assert_array_equal(fields["actions"], plant.amplitudes)
    np.testing.assert_array_equal(rest["outline"], fields["reference"])
    # round the body's sides the fluid turns clockwise above and anticlockwise below
    close = np.abs(np.linalg.norm(rest["points"] - 1.0, axis=1) - 0.2) < 0.05
    above = close & (rest["points"][:, 1] > 1.15)
    below = close & (rest["points"][:, 1] < 0.85)
    assert rest["vorticity"][above].mean() < -3.0 < 3.0 < rest["vorticity"][below].mean()


def test_bad_actions_and_parameters_are_refused(plant: ShapePlant) -> None:
    with pytest.raises(ActionError, match="shape"):
        plant.step(np.zeros((7, 1)))
    with pytest.raises(ActionError, match="finite"):
        plant.step(np.full((8, 1), np.nan))
    for bad in ([30.0], [0.0, 0.0], [np.nan, 0.0]):
        with pytest.raises(ValueError, match="parameters"):
            plant.reset(np.array(bad))
