from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ufl
from dolfinx import fem
from dolfinx.mesh import meshtags
from flow_case import PARAMETERS, flow_config, flow_plant
from infos_form import check_interface

from hypemarl.config import ConfigError, EnvConfig, MeshConfig, load
from hypemarl.coupling.layout import LayoutError
from hypemarl.coupling.plant import ActionError
from hypemarl.coupling.probes import PointProbes
from hypemarl.envs.parallel import PDEEnv
from hypemarl.meshing import MeshError, build
from hypemarl.mpi import world
from hypemarl.optimal.open_loop import replay
from hypemarl.systems.flow.inflow import InflowProfile, MassBalanceError, require_mass_balance
from hypemarl.systems.flow.plant import FlowPlant
from hypemarl.training.evaluation import evaluate_policy
from hypemarl.training.shares import KnownOptima
from hypemarl.training.summary import of_optima
from hypemarl.training.table import optimum_row

ACTIONS = np.random.default_rng(0).uniform(-0.5, 0.5, (6, 1))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("states")


@pytest.fixture(scope="module")
def plant(cache: Path) -> FlowPlant:
    return flow_plant(cache)


@pytest.fixture(scope="module")
def oblique(cache: Path) -> FlowPlant:
    """Slip walls, an open arc, both components, dissipation."""
    flow = {
        "inflow": "oblique",
        "walls": "slip",
        "angle_high": 0.5,
        "objective": "dissipation",
        "action": "normal-tangential",
        "arc_low": 90.0,
        "arc_high": 270.0,
    }
    return flow_plant(cache, flow_config(agents=4, **flow))


def test_sizes_and_names(plant: FlowPlant, oblique: FlowPlant) -> None:
    assert (plant.observation_size, oblique.observation_size) == (3 * 10, 3 * 11)
    assert (plant.action_size, oblique.action_size) == (1, 2)
    assert (plant.grid, oblique.grid) == (None, (4,))
    assert plant.parameter_names == ("reynolds", "angle")
    # of the middle agent: pressure at the nearest probe, amplitudes
    assert plant.own_features == (10, 19)
    assert oblique.own_features == (11, 20, 21)
    assert plant.targets.tolist() == [[0.0]] * 6


@pytest.mark.parametrize("which", ["plant", "oblique"])
def test_shares_sum_to_the_terms(which: str, request: pytest.FixtureRequest) -> None:
    tested: FlowPlant = request.getfixturevalue(which)
    tested.reset(tested.parameter_high)
    actions = np.random.default_rng(1).uniform(-0.3, 0.3, (tested.n_agents, tested.action_size))
    for _ in range(2):
        _, rewards, info = tested.step(actions)
        terms = info["costs"].terms
        assert rewards.sum() == pytest.approx(-sum(terms.values()), rel=1e-13)
        assert all(value > 0 for value in terms.values())
    names = {"plant": ["drag", "lift"], "oblique": ["dissipation"]}[which]
    assert list(terms) == [*names, "control", "control_gradient"]


def test_drag_and_lift_are_the_forces_on_the_disc(plant: FlowPlant) -> None:
    plant.reset(PARAMETERS)
    costs = plant.options.drag_weight, plant.options.lift_weight
    before = 20.0 * plant.solver.traction()[:, plant.layout.nodes].sum(axis=1)
    info = plant.step(ACTIONS)[2]
    jets = 20.0 * plant.solver.walls.momentum(plant.solver.velocity.T).sum(axis=0)
    assert info["drag_momentum"][-1] == pytest.approx(jets[0], rel=1e-12)
    assert abs(jets).min() > 1e-3
    assert info["drag"].shape == info["lift"].shape == (info["time_steps"],) == (4,)
    after = 20.0 * plant.solver.traction()[:, plant.layout.nodes].sum(axis=1) + jets
    assert [info["drag"][-1], info["lift"][-1]] == pytest.approx(after.tolist(), rel=1e-12)
    weights = 0.002 * np.array([0.5, 1, 1, 1, 0.5])
    drag, lift = (np.append(b, info[n]) for b, n in zip(before, ("drag", "lift"), strict=True))
    terms = info["costs"].terms
    assert terms["drag"] == pytest.approx(costs[0] * weights @ drag, rel=1e-12)
    assert terms["lift"] == pytest.approx(costs[1] * weights @ lift**2, rel=1e-12)


def test_drag_and_lift_shares_split_them_by_node(plant: FlowPlant) -> None:
    plant.reset(PARAMETERS)
    info = plant.step(np.zeros((6, 1)))[2]
    # without control the cost's shares are those of drag and lift alone; the front has most drag
    front = np.abs(plant.positions[:, 0] - plant.positions[:, 0].min()) < 1e-9
    assert front.sum() == 2
    assert info["costs"].shares[front].sum() > info["costs"].shares[~front].sum()
    parts = plant.cost.wall().parts[:2]
    total = plant.solver.traction()[:, plant.layout.nodes].sum(axis=1) * 20.0
    assert parts.sum(axis=1) == pytest.approx(total, rel=1e-12)


def test_power_of_jets_is_what_they_press_against(cache: Path) -> None:
    """Net power by a quadrature of pressure and friction at the wall, gross power without it; where
    the power is a term of J, its shares are those of the arcs."""
    plant = flow_plant(cache, flow_config(power_weight=2.0))
    plant.reset(PARAMETERS)
    _, rewards, info = plant.step(ACTIONS)
    v = fem.Function(fem.functionspace(plant.space.mesh, ("Lagrange", 2, (2,))))
    p = fem.Function(fem.functionspace(plant.space.mesh, ("Lagrange", 1)))
    v.x.array.reshape(-1, 2)[:], p.x.array[:] = plant.solver.velocity.T, plant.solver.pressure
    ds = ufl.Measure("ds", plant.space.mesh, subdomain_data=_disc(plant), subdomain_id=1)
    n = -ufl.FacetNormal(plant.space.mesh)
    head = (p + 0.5 * ufl.dot(v, v)) * ufl.dot(v, n)
    friction = plant.solver.viscosity * ufl.dot(v, ufl.dot(ufl.grad(v), n))
    net = 20.0 * fem.assemble_scalar(fem.form((head - friction) * ds))
    assert info["jet_power"][-1] == pytest.approx(net, rel=0.1)  # first order in the gradients
    reference = plant.cost.gross_power.reference(plant.solver.pressure)
    inflow = plant.space.pressure_points[:, 0] < 1e-9
    assert reference == pytest.approx(plant.solver.pressure[inflow].mean(), rel=1e-2)
    pumped = ufl.max_value(head - reference * ufl.dot(v, n), 0.0)
    gross = 20.0 * fem.assemble_scalar(fem.form(pumped * ds(metadata={"quadrature_degree": 9})))
    assert info["jet_power_gross"][-1] == pytest.approx(gross, rel=1e-2)
    assert (info["jet_power_gross"] > 0.9 * np.abs(info["jet_power"])).all()  # but for friction
    series = np.append(0.0, info["jet_power_gross"])
    weights = 0.002 * np.array([0.5, 1, 1, 1, 0.5])
    assert info["costs"].terms["jet_power"] == pytest.approx(2.0 * weights @ series, rel=1e-12)
    assert rewards.sum() == pytest.approx(-info["costs"].total, rel=1e-13)


def _disc(plant: FlowPlant) -> Any:
    facets = plant.space.tagged.entities("disc")
    return meshtags(plant.space.mesh, 1, np.sort(facets), np.ones(len(facets), dtype=np.int32))


def test_momentum_of_opposite_jets_has_no_part_along_the_stream(plant: FlowPlant) -> None:
    """Jets at 90 and 270 degrees that blow and suck with equal strength."""
    nodes, n = plant.layout.nodes, plant.space.n_velocity_local
    angles = plant.layout.disc.angles(plant.space.velocity_points[nodes])
    field, parts = np.zeros((n, 2)), []
    for centre, sign in ((90.0, 1.0), (270.0, -1.0)):
        profile = sign * np.maximum(1.0 - ((np.degrees(angles) - centre) / 30.0) ** 2, 0.0)
        field[:] = 0.0
        field[nodes] = (profile * [np.cos(angles), np.sin(angles)]).T
        parts.append(plant.solver.walls.momentum(field).sum(axis=0).copy())
    assert parts[0][1] < -1e-3  # blowing upwards pushes the body down, sucking there as well
    assert abs(parts[0][0] + parts[1][0]) < 1e-3 * abs(parts[0][1])
    assert parts[1][1] == pytest.approx(-parts[0][1], rel=1e-3)


def test_dissipation_matches_an_assembled_form(oblique: FlowPlant) -> None:
    oblique.reset(PARAMETERS)
    v = fem.Function(fem.functionspace(oblique.space.mesh, ("Lagrange", 2, (2,))))

    def form() -> float:
        v.x.array.reshape(-1, 2)[:] = oblique.solver.velocity.T
        return fem.assemble_scalar(fem.form(0.5 * ufl.inner(ufl.grad(v), ufl.grad(v)) * ufl.dx))

    before = form()
    dissipation = oblique.step(np.zeros((4, 2)))[2]["costs"].terms["dissipation"] / 0.008
    after = form()
    assert dissipation == pytest.approx(0.5 * (before + after), rel=5e-3)
    assert min(before, after) * 0.999 < dissipation < max(before, after) * 1.001


def test_actions_ramp_so_that_lift_does_not_jump(cache: Path, plant: FlowPlant) -> None:
    """At the change of actions lift moves no more than within the interval, and much less than
    under actions that are put on at once."""

    def largest_change(tested: FlowPlant) -> float:
        tested.reset(PARAMETERS)
        rest = tested.step(np.zeros((6, 1)))[2]["lift"][-1]
        lift = np.append(rest, tested.step(pushed)[2]["lift"])
        return float(abs(lift[1] - lift[0]))

    pushed = 0.5 * np.sign(plant.positions[:, 1:] - 0.2)
    sudden = flow_plant(cache, flow_config(ramp=0.25))  # the whole change in the first step
    assert largest_change(plant) < 0.35 * largest_change(sudden)


JETS: dict[str, Any] = {"slots": ((90.0, 270.0),), "slot_half_width": 25.0}


def test_smoothed_actions_stop_short(cache: Path) -> None:
    """a <- a + 0.1 (target - a) every 0.01 D / U: after 0.08 of them the share 1 - 0.9^8."""
    plant = flow_plant(cache, flow_config(agents=1, smoothing=0.1, **JETS))
    plant.reset(PARAMETERS)
    plant.step(np.array([[0.5]]))
    reached = 0.5 * (1.0 - 0.9**8)
    assert plant.amplitudes[0, 0] == pytest.approx(reached, rel=1e-12)
    disc = plant.layout.nodes
    held = plant.solver.velocity[:, disc]
    assert held == pytest.approx(plant.actuators.field(plant.amplitudes), abs=1e-12)
    assert np.abs(held).max() == pytest.approx(reached, rel=0.05)
    fields = plant.fields()
    assert fields is not None
    assert fields["jets"] == pytest.approx(np.array([[0.2, 0.25], [0.2, 0.15]]), abs=1e-3)
    assert fields["jet_velocity"] == pytest.approx(np.array([[0, reached]] * 2), abs=1e-12)
    plant.step(np.array([[-0.5]]))
    assert plant.amplitudes[0, 0] == pytest.approx(reached + (1 - 0.9**8) * (-0.5 - reached))


def test_all_agents_see_the_sensors(cache: Path, tmp_path: Path) -> None:
    points = np.array([[1.0, 0.0], [2.0, 0.5]])
    np.savetxt(tmp_path / "points.txt", points)
    plant = flow_plant(cache, flow_config(sensors=str(tmp_path / "points.txt")))
    seen = plant.reset(PARAMETERS)
    assert seen.shape == (6, 3 * 10 + 6)
    assert plant.observation_size == 36
    assert plant.local_model() is None
    expected = PointProbes(plant.space, 0.2 + 0.1 * points).evaluate(
        plant.solver.velocity, plant.solver.pressure
    )
    for agent in seen[:, 30:]:
        assert pytest.approx(expected[:, [2, 0, 1]], abs=1e-12) == agent.reshape(3, 2).T
    assert seen[:, :30] == pytest.approx(flow_plant(cache).reset(PARAMETERS), abs=1e-12)
    wake = flow_plant(cache, flow_config(sensors="wake-151", probe_distances=()))
    assert wake.observation_size == 3 + 3 * 151
    np.savetxt(tmp_path / "points.txt", [[0.2, 0.0]])
    with pytest.raises(LayoutError, match=r"sensor 0 at \[0.2, 0.0\] diameters.*outside the fluid"):
        flow_plant(cache, flow_config(sensors=str(tmp_path / "points.txt")))
    with pytest.raises(ValueError, match="expected wake-151 or a text file.*got 'nowhere'"):
        flow_plant(cache, flow_config(sensors="nowhere"))


def test_phases_differ_and_repeat(cache: Path) -> None:
    """A phase marches the state of its mu on; noise takes it off that flow's way."""
    plant = flow_plant(cache, flow_config(phase_time=2.0, phase_noise=0.2, states=4))
    assert plant.parameter_names == ("reynolds", "angle", "phase")
    assert plant.parameter_bank is not None
    assert len(plant.parameter_bank) == 4
    start = flow_plant(cache).reset(PARAMETERS)
    assert plant.reset(np.array([100.0, 0.0, 0.0])) == pytest.approx(start, abs=1e-12)
    half = plant.reset(np.array([100.0, 0.0, 0.5]))
    assert plant.time == 0.0
    assert np.abs(half - start).max() > 1e-2
    held = plant.solver.velocity[:, plant.layout.nodes]
    assert np.abs(held).max() < 1e-12
    quiet = flow_plant(cache, flow_config(phase_time=2.0, states=4))
    assert np.abs(quiet.reset(np.array([100.0, 0.0, 0.5])) - half).max() > 1e-3
    again = flow_plant(cache, flow_config(phase_time=2.0, phase_noise=0.2, states=4))
    again.reset(np.array([100.0, 0.0, 0.7]))
    assert np.array_equal(again.reset(np.array([100.0, 0.0, 0.5])), half)


def test_walls_hold_what_was_asked_for(plant: FlowPlant) -> None:
    plant.reset(PARAMETERS)
    plant.step(ACTIONS)
    disc, inflow = plant.layout.nodes, plant.inflow.nodes
    field = plant.actuators.field(ACTIONS)
    assert plant.solver.velocity[:, disc] == pytest.approx(field, abs=1e-12)
    entering = plant.inflow.values(0.0)
    assert plant.solver.velocity[:, inflow] == pytest.approx(entering, abs=1e-12)
    assert entering[0].max() == pytest.approx(1.5, abs=1e-2)
    assert abs(plant.actuators.net_flux(ACTIONS)) < 1e-15


def test_oblique_inflow_slides_along_slip_walls(oblique: FlowPlant) -> None:
    oblique.reset(np.array([100.0, 0.5]))
    middle = np.argmin(np.abs(oblique.space.velocity_points[oblique.inflow.nodes, 1] - 0.205))
    values = oblique.inflow.values(0.5)
    assert values[:, middle] == pytest.approx([np.cos(0.5), np.sin(0.5)], abs=0.02)
    top = oblique.space.nodes("top")
    assert np.abs(oblique.solver.velocity[1, top]).max() < 1e-12
    assert oblique.solver.velocity[0, top].min() > 0.3


def test_observations_are_local_and_of_order_one(plant: FlowPlant) -> None:
    plant.reset(PARAMETERS)
    seen = plant.step(ACTIONS)[0].reshape(6, 3, 10)
    near = plant.stencil(1)
    assert np.array_equal(seen[:, 0], seen[near[:, 0], 1])
    assert np.array_equal(seen[:, 2], seen[near[:, 2], 1])
    acting = plant.actuators.acting(ACTIONS)
    assert seen[:, 1, 9] == pytest.approx(acting[:, 0] / plant.options.u_max)
    assert 0.3 < np.abs(seen[:, 1, :9]).max() < 10.0
    seen = plant.reset(PARAMETERS).reshape(6, 3, 10)
    front = int(np.argmax(seen[:, 1, 0]))  # pressure is highest at the front
    assert plant.positions[front, 0] == pytest.approx(plant.positions[:, 0].min())
    # upstream of the front agent fluid comes towards the disc
    values = plant.probes.evaluate(plant.solver.velocity, plant.solver.pressure).reshape(6, 3, 3)
    assert seen[front, 1, 5] == pytest.approx(values[front, 2, :2] @ plant.layout.normals[front])
    assert seen[front, 1, 8] == pytest.approx(values[front, 2, :2] @ plant.layout.tangents[front])
    assert seen[front, 1, 5] < -0.2


def test_beyond_the_ends_of_an_arc_agents_see_zeros(oblique: FlowPlant) -> None:
    seen = oblique.reset(PARAMETERS).reshape(4, 3, 11)
    assert not seen[0, 0].any()
    assert not seen[3, 2].any()
    assert seen[0, 2].any()


def test_snapshot_restores_the_episode_exactly(plant: FlowPlant) -> None:
    plant.reset(PARAMETERS)
    plant.step(ACTIONS)
    state = plant.snapshot()
    first, time = plant.step(-ACTIONS), plant.time
    plant.reset(np.array([90.0, 0.0]))
    plant.step(np.zeros((6, 1)))
    observations = plant.restore(state)
    assert np.abs(observations.reshape(6, 3, 10)[:, 1, 9]).max() > 0  # amplitudes came back
    second = plant.step(-ACTIONS)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert plant.time == time == pytest.approx(0.016)


def test_reset_starts_from_the_same_state_at_time_zero(plant: FlowPlant) -> None:
    first = plant.reset(PARAMETERS)
    plant.step(ACTIONS)
    again = plant.reset(PARAMETERS)
    np.testing.assert_array_equal(first, again)
    assert plant.time == 0.0
    assert plant.solver.viscosity == pytest.approx(0.1 / 100.0)


def test_fields_for_pictures(plant: FlowPlant) -> None:
    plant.reset(PARAMETERS)
    plant.step(ACTIONS)
    fields = plant.fields()
    assert fields is not None
    points = fields["points"]
    assert plant.kind == "flow"
    assert fields["velocity"].shape == points.shape
    assert fields["pressure"].shape == fields["vorticity"].shape == (len(points),)
    assert fields["cells"].max() == len(points) - 1
    entering = points[:, 0] < 1e-12
    parabola = 6.0 * points[entering, 1] * (0.41 - points[entering, 1]) / 0.41**2
    assert fields["velocity"][entering, 0] == pytest.approx(parabola, abs=1e-12)
    # shear at the walls: dv/dx - du/dy is negative below, positive above
    inner = (points[:, 0] > 0.4) & (points[:, 0] < 0.9)
    assert (fields["vorticity"][inner & (points[:, 1] < 1e-9)] < 0).all()
    assert (fields["vorticity"][inner & (points[:, 1] > 0.41 - 1e-9)] > 0).all()


def test_training_parameters_come_from_the_bank(cache: Path) -> None:
    config = replace(
        flow_config(reynolds_low=80.0, reynolds_high=120.0, states=4), context=("reynolds",)
    )
    env = PDEEnv(flow_plant(cache, config), config)
    bank = env.plant.parameter_bank
    assert bank.shape == (4, 2)
    assert (bank >= env.parameter_low).all()
    assert (bank <= env.parameter_high).all()
    generator = np.random.default_rng(0)
    drawn = {tuple(env.sample_parameters(generator)) for _ in range(100)}
    assert drawn == {tuple(row) for row in bank}
    env.reset_arrays(bank[0])
    info = env.step_arrays(np.zeros((6, 1))).info
    assert info["drag"].shape == (4,)
    assert info["cost"] == pytest.approx(sum(info["costs"].values()))
    infos = check_interface(env)
    assert infos["agent_0"]["drag"].shape == (4,)
    bounded = np.isfinite(env.observation_space("agent_0").high).reshape(-1, 10)
    assert bounded.tolist() == [[False] * 9 + [True]] * 3  # amplitudes, of 3 agents


def test_a_box_that_is_a_point_has_one_state(plant: FlowPlant) -> None:
    assert plant.parameter_bank is not None
    assert plant.parameter_bank.tolist() == [[100.0, 0.0]]


def test_metrics_of_optima_are_those_of_their_actions(plant: FlowPlant) -> None:
    env = PDEEnv(plant, replace(plant.config, context=("reynolds",)))
    held_out = np.array([[90.0, 0.0], PARAMETERS])
    actions = 0.3 * np.ones((2, 6, 1)) * np.cos(plant.angles)[:, None]
    known = KnownOptima(np.array([1]), np.array([1.0]), np.array([2.0]), [actions])
    found = of_optima(env, held_out, known)
    results = evaluate_policy(env, replay(actions), held_out[1:])
    assert found["optimum_drag_mean"] == results.metrics["drag_mean"][0]
    assert found["optimum_jet_power_gross_mean"] == results.metrics["jet_power_gross_mean"][0] > 0
    row = {"optima": 1, "held_out": 2, "optimum_cost": 1.0, "optimum_uncontrolled": 2.0} | found
    assert optimum_row(row)[0]["drag_mean"] == found["optimum_drag_mean"]
    none = KnownOptima(*(np.zeros(0, dtype=int),) * 3)
    assert of_optima(env, held_out, none) == {}


# --- bad input -----------------------------------------------------------------------------------


def test_bad_actions_and_parameters_are_refused(plant: FlowPlant) -> None:
    plant.reset(PARAMETERS)
    with pytest.raises(ActionError, match=r"expected shape \(6, 1\).*got \(6, 2\)"):
        plant.step(np.zeros((6, 2)))
    with pytest.raises(ActionError, match="got nan from agent 2"):
        plant.step(np.where(np.arange(6)[:, None] == 2, np.nan, 0.0))
    for bad in (np.zeros(3), np.array([np.nan, 0.0]), np.array([-1.0, 0.0])):
        with pytest.raises(ValueError, match="expected 2 finite numbers"):
            plant.reset(bad)


@pytest.mark.parametrize("reynolds", [0.5, 250.0])
def test_reynolds_numbers_outside_the_validated_range_warn(cache: Path, reynolds: float) -> None:
    config = flow_config(reynolds_low=reynolds, reynolds_high=reynolds)
    message = f"Reynolds number {reynolds:g} is outside the validated range 1 .. 200: "
    with pytest.warns(UserWarning, match=message):
        flow_plant(cache, config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probe_distances": (0.1, 3.0)}, r"agent \d+: probe 3 diameters.*outside the fluid"),
        ({"agents": 60}, "miss the boundary"),
    ],
)
def test_bad_layouts_are_refused(cache: Path, changes: dict, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        flow_plant(cache, flow_config(**changes))


def test_a_mesh_without_the_tags_is_refused(cache: Path) -> None:
    square = MeshConfig(shape="square-with-disc", element_size=0.3)
    with pytest.raises(MeshError, match="lacks inflow"):
        FlowPlant(flow_config(), build(square, world()), cache)


def test_an_inflow_without_an_exit_breaks_mass_balance(plant: FlowPlant) -> None:
    space = plant.space
    inflow = InflowProfile(space, "parabolic", 1.0)
    boundary = np.zeros_like(plant.solver.boundary)
    boundary[:, inflow.nodes] = inflow.values()
    tags = ("inflow", "disc", "bottom", "top")
    require_mass_balance(space, tags, boundary, 0.41)  # the outflow is open
    with pytest.raises(MassBalanceError, match=r"net flux out of the fluid is -0\.41"):
        require_mass_balance(space, (*tags, "outflow"), boundary, 0.41)
    boundary[0, space.nodes("outflow")] = 1.0
    boundary[:, space.nodes("bottom")] = boundary[:, space.nodes("top")] = 0.0
    y = space.velocity_points[space.nodes("outflow"), 1]
    boundary[0, space.nodes("outflow")] = 6.0 * y * (0.41 - y) / 0.41**2
    require_mass_balance(space, (*tags, "outflow"), boundary, 0.41)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["env.flow.time_step=0.003"], "must divide the control interval"),
        (["env.flow.angle_high=0.2"], "parabolic inflow has no angle"),
        (["env.flow.probe_distances=[]"], "probe_distances is empty"),
        (["env.flow.arc_high=400"], "at most 360 degrees"),
        (["env.flow.slots=[[90, 270]]"], r"env.agents: expected \[1\], as many as env.flow.slots"),
        (["env.flow.slots=[[]]", "env.agents=[1]"], "expected one angle or more for every agent"),
        (["env.flow.phase_noise=0.1"], "give env.flow.phase_time"),
        (["env.context=[phase]"], "a parameter only with env.flow.phase_time"),
    ],
)
def test_settings_at_odds_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load("flow-cylinder-free", overrides)


@pytest.mark.parametrize("name", ["flow-cylinder", "flow-dissipation", "cylinder-jets"])
def test_scenarios_fit_their_meshes(name: str, cache: Path) -> None:
    config: EnvConfig = load(name).env
    plant = FlowPlant(config, build(config.mesh, world()), cache)
    facets = np.bincount(plant.layout.facet_owners, minlength=plant.n_agents)
    assert facets.min() >= 1
    assert 2000 < len(plant.space.volumes) < 3500
    env = PDEEnv(plant, config)
    assert env.mu_low.shape == (len(config.context),)


def test_rewards_may_count_from_the_first_state(plant: FlowPlant) -> None:
    """By a constant per episode: the baseline is the cost of an interval in that state."""
    config = replace(plant.config, reward="own", context=("reynolds",))
    with_baseline = replace(config, reward_baseline=True)
    actions = 0.2 * np.ones((plant.n_agents, plant.action_size))
    rewards = []
    for settings in (config, with_baseline):
        env = PDEEnv(plant, settings)
        env.reset_arrays(PARAMETERS)
        rewards.append(env.step_arrays(actions).rewards)
    np.testing.assert_allclose(rewards[1] - rewards[0], plant.baseline)
    plant.reset(PARAMETERS)
    idle = plant.step(0.0 * actions)[2]["costs"]
    assert plant.baseline.sum() == pytest.approx(idle.total, rel=0.05)
