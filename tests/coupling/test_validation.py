"""Meshes against problems, as plants and ``hypemarl mesh`` check them; sound twins run right."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import gmsh
import numpy as np
import pytest
from flow_case import flow_config, turned, turned_plant
from shape_case import shape_config

from hypemarl import cli, config
from hypemarl.config import EnvConfig, MeshConfig
from hypemarl.coupling.validation import Findings, validate
from hypemarl.meshing import MeshError, RawMesh, build, distribute
from hypemarl.meshing.files import read, write
from hypemarl.meshing.shapes import generate
from hypemarl.mpi import world
from hypemarl.systems.density.in_fluid import DensityFluidPlant
from hypemarl.systems.density.mesh_checks import contains, mass_of_bumps
from hypemarl.systems.density.options import InFluidOptions
from hypemarl.systems.density.plant import DensityPlant
from hypemarl.systems.flow.arc_actuation import SIMPSON
from hypemarl.systems.flow.plant import FlowPlant
from hypemarl.systems.registry import system_of
from hypemarl.systems.shape.plant import ShapePlant


def examine(env: EnvConfig, raw: RawMesh) -> Findings:
    checks = system_of(env).examine
    assert checks is not None
    return checks(env, raw)


def changed(env: EnvConfig, **options: object) -> EnvConfig:
    return replace(env, options=replace(env.options, **options))


SQUARE = EnvConfig(mesh=MeshConfig(element_size=0.2), agents=(4, 4), horizon=0.4, control_steps=2)


def polygon_mesh(path: Path, corners: list[tuple[float, float]], size: float = 0.15) -> str:
    """A file with the one tag ``domain``."""
    gmsh.initialize(interruptible=False)
    gmsh.option.setNumber("General.Terminal", 0)
    points = [gmsh.model.geo.addPoint(x, y, 0.0, size) for x, y in corners]
    lines = [gmsh.model.geo.addLine(p, points[i - 1]) for i, p in enumerate(points)]
    face = gmsh.model.geo.addPlaneSurface([gmsh.model.geo.addCurveLoop(lines[::-1])])
    gmsh.model.geo.synchronize()
    gmsh.model.addPhysicalGroup(2, [face], 1, "domain")
    gmsh.model.mesh.generate(2)
    gmsh.write(str(path))
    gmsh.finalize()
    return str(path)


@pytest.fixture(scope="module")
def l_shape(tmp_path_factory: pytest.TempPathFactory) -> str:
    corners = [(-1, -1), (1, -1), (1, 0), (0, 0), (0, 1), (-1, 1)]
    return polygon_mesh(tmp_path_factory.mktemp("l") / "l.msh", corners)


def with_second_body(raw: RawMesh, centre: tuple[float, float], radius: float) -> RawMesh:
    """Cells around a place taken out; the facets of the hole have the tag ``rod``."""
    middles = raw.points[raw.cells].mean(axis=1)
    kept = np.linalg.norm(middles - centre, axis=1) > radius
    sides = np.sort(raw.cells[~kept][:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    rows, counts = np.unique(sides, axis=0, return_counts=True)
    hole = rows[counts == 1]
    used, cells = np.unique(raw.cells[kept], return_inverse=True)
    facets = np.searchsorted(used, np.concatenate([raw.facets, hole]))
    values = np.concatenate([raw.facet_values, np.full(len(hole), 50, dtype=np.int32)])
    return RawMesh(
        raw.points[used],
        cells.reshape(-1, 3),
        raw.cell_values[kept],
        facets,
        values,
        raw.tags | {"rod": (1, 50)},
    )


@pytest.mark.parametrize("name", config.scenarios())
def test_shipped_scenarios_fit_without_a_word(name: str) -> None:
    env = config.load(name).env
    if env.system == "external":
        return
    found = examine(env, generate(env.mesh))
    assert (found.faults, found.notes, found.kept) == ((), (), None)
    assert found.boundary.stream in ((1.0, 0.0), (0.0, 1.0))


def test_channels_that_lie_another_way_cost_the_same(tmp_path: Path) -> None:
    """The same flow, turned: drag and lift in the stream's own directions."""
    costs = []
    settings = {"develop_time": 0.1, "inflow": "oblique", "angle_high": 0.6}
    for degrees in (0.0, 90.0, 180.0, 37.0):
        plant = turned_plant(tmp_path, degrees, flow_config(**settings))
        plant.reset(np.array([100.0, 0.4]))
        costs.append(plant.step(np.zeros((6, 1)))[2]["costs"].terms)
        inflow = plant.space.facets("inflow")
        flux = np.einsum(
            "xma,mx,a->m", plant.solver.velocity[:, inflow.nodes], inflow.normals, SIMPSON
        )
        # the mean of U cos a over the height of 0.41, inwards
        assert flux @ inflow.lengths == pytest.approx(-0.41 * np.cos(0.4), rel=1e-9)
    for other in costs[1:]:
        assert other["drag"] == pytest.approx(costs[0]["drag"], rel=1e-5)
        assert other["lift"] == pytest.approx(costs[0]["lift"], rel=1e-4)


def test_second_bodies_have_no_slip(tmp_path: Path) -> None:
    """Nothing crosses them, and the drag is that of the same hole named as a wall."""
    settings = flow_config(develop_time=0.1)
    raw = with_second_body(generate(settings.mesh), (0.6, 0.2), 0.07)
    walls = np.where(raw.facet_values == 50, raw.tags["top"][1], raw.facet_values)
    named = replace(raw, facet_values=walls.astype(np.int32))
    drags = []
    for mesh in (raw, replace(named, tags={t: v for t, v in raw.tags.items() if t != "rod"})):
        plant = FlowPlant(settings, distribute(mesh, world()), tmp_path)
        plant.reset(np.array([100.0, 0.0]))
        plant.step(np.full((6, 1), 0.1))
        drags.append(plant.interval.drag)
        if "rod" in mesh.tags:
            assert np.abs(plant.solver.velocity[:, plant.space.nodes("rod")]).max() == 0.0
    np.testing.assert_array_equal(*drags)


def test_two_bodies_with_the_disc_s_tag_are_no_circle() -> None:
    env = flow_config()
    one = generate(env.mesh)
    two = with_second_body(one, (0.6, 0.2), 0.07)
    disc = two.tags["disc"][1]
    values = np.where(two.facet_values == two.tags["rod"][1], disc, two.facet_values)
    (fault,) = examine(env, replace(two, facet_values=values)).faults
    assert "expected vertices on a circle" in fault.text
    assert fault.facets is not None
    assert len(fault.facets) == len(two.members("disc")) + len(two.members("rod"))
    assert not examine(env, two).faults


def test_second_bodies_of_a_morphing_obstacle_stay(tmp_path: Path) -> None:
    settings = shape_settings(tmp_path, second=True)
    plant = ShapePlant(settings, world())
    plant.reset(plant.parameter_low)
    _, _, info = plant.step(np.full((8, plant.action_size), 0.5))
    rod = plant.present.space.nodes("rod")
    assert np.abs(plant.snapshot().flow.velocity[:, rod]).max() == 0.0
    assert info["drag"][0] > 0.0


def shape_settings(folder: Path, *, second: bool = False, degrees: float = 0.0) -> EnvConfig:
    base = shape_config()
    raw = turned(generate(base.mesh), degrees)
    raw = with_second_body(raw, (2.2, 1.0), 0.3) if second else raw
    path = write(distribute(raw, world()), folder / "shape.msh")
    return replace(base, mesh=MeshConfig(file=str(path)))


def test_streams_past_a_morphing_obstacle_turn_with_the_channel(tmp_path: Path) -> None:
    drags = []
    for degrees in (0.0, 180.0):
        plant = ShapePlant(shape_settings(tmp_path, degrees=degrees), world())
        plant.reset(np.array([30.0, 0.3]))
        drags.append(plant.step(np.zeros((8, plant.action_size)))[2]["drag"][0])
    assert drags[1] == pytest.approx(drags[0], rel=1e-6)


def test_carrier_flows_turn_with_the_square() -> None:
    """A turned square has the turned flow at the turned nodes."""
    env = EnvConfig(
        system="density-fluid",
        mesh=MeshConfig(shape="square-with-disc", element_size=0.3),
        agents=(3, 3),
        options=InFluidOptions(
            initial_low=(-0.5, -0.5),
            initial_high=(-0.5, 0.5),
            target_low=(0.5, -0.5),
            target_high=(0.5, 0.5),
        ),
    )
    flows = []
    for degrees in (0.0, 90.0):
        plant = DensityFluidPlant(env, distribute(turned(generate(env.mesh), degrees), world()))
        points, flow = plant.space.points, plant.flow.velocity(0.5, 0.4)
        if degrees:  # back again
            points, flow = (np.stack([v[:, 1], -v[:, 0]], axis=1) for v in (points, flow))
        flows.append(flow[np.lexsort(points.round(9).T)])
    np.testing.assert_allclose(flows[1], flows[0], atol=1e-9)


def test_boxes_outside_the_domain_are_named_and_dropped_where_allowed(l_shape: str) -> None:
    env = changed(SQUARE, target_low=(0.2, -0.5), target_high=(0.5, -0.2))
    env = replace(env, mesh=MeshConfig(file=l_shape))
    tagged = build(env.mesh, world())
    with pytest.raises(MeshError, match=r"boxes of agents \[10, 11, 14, 15\] \(4 of 16.*drop_agen"):
        DensityPlant(env, tagged)
    with pytest.warns(UserWarning, match=r"\[10, 11, 14, 15\].* are dropped .*, 12 stay"):
        plant = DensityPlant(
            replace(env, options=replace(env.options, drop_agents_outside=True)), tagged
        )
    assert (plant.n_agents, plant.grid) == (12, None)
    np.testing.assert_allclose(plant.actuators.matrix.sum(axis=1), 1.0, atol=1e-12)
    assert plant.sensors.measures.sum() == pytest.approx(3.0)
    # agent 9 is at (0.25, -0.25): above it and to its upper sides there is nobody
    assert plant.positions[9].tolist() == [0.25, -0.25]
    near = {tuple(plant.positions[i]) for i in plant.stencil(1)[9] if i >= 0}
    expected = {(x, y) for x in (-0.25, 0.25, 0.75) for y in (-0.75, -0.25)} | {(-0.25, 0.25)}
    assert near == expected
    plant.reset(plant.parameter_low)
    _, rewards, info = plant.step(np.full((12, 2), 0.3))
    assert -rewards.sum() == pytest.approx(info["costs"].total)
    # all agents alike: one uniform velocity, so that its gradient costs nothing
    assert info["costs"].terms["control_gradient"] == pytest.approx(0.0, abs=1e-20)
    assert info["costs"].terms["control"] == pytest.approx(0.05 * 0.5 * 3.0 * 2 * 0.09 * 0.2)


@pytest.mark.slow
def test_an_l_shape_trains(l_shape: str, tmp_path: Path) -> None:
    settings = {
        "env.mesh.file": l_shape,
        "env.agents": "[4,4]",
        "env.density.drop_agents_outside": "true",
        "env.density.target_low": "[0.2,-0.5]",
        "env.density.target_high": "[0.5,-0.2]",
        "env.control_steps": 2,
        "env.horizon": 0.2,
        "agent.credit": "cooperative",
        "agent.cloning": 0.0,
        "agent.encoding_size": 8,
        "agent.hyper_width": 8,
        "agent.actor_hidden": "[8]",
        "agent.critic_hidden": "[8]",
        "training.episodes": 3,
        "training.random_episodes": 1,
        "training.validation_size": 1,
        "training.validation_every": 0,
        "training.held_out_size": 1,
        "training.tensorboard": "false",
        "training.device": "cpu",
    }
    given = [entry for key, value in settings.items() for entry in ("--set", f"{key}={value}")]
    run = ["train", "density-vacuum", *given, "--quiet", "--run", str(tmp_path / "run")]
    with pytest.warns(UserWarning, match="12 stay"):
        assert cli.main(run) == 0


def test_boxes_that_are_too_small_for_the_cells_are_distinguished() -> None:
    coarse = replace(SQUARE, agents=(12, 12), mesh=MeshConfig(element_size=0.5))
    (fault,) = examine(changed(coarse, drop_agents_outside=True), generate(coarse.mesh)).faults
    assert "own no cell" in fault.text
    assert "lower env.mesh.element_size" in fault.text


def test_a_density_on_a_3d_mesh_is_refused_in_one_sentence() -> None:
    none = np.zeros((0, 3), dtype=np.int64), np.zeros(0, dtype=np.int32)
    corners, cell = np.vstack([np.zeros(3), np.eye(3)]), np.arange(4)[None]
    solid = RawMesh(corners, cell, np.ones(1, dtype=np.int32), *none, {"domain": (3, 1)})
    (fault,) = examine(SQUARE, solid).faults
    assert fault.text == "densities live on 1D and 2D meshes, this one is 3D"


def test_bumps_lie_in_the_mesh(tmp_path: Path) -> None:
    unit = read(polygon_mesh(tmp_path / "unit.msh", [(0, 0), (1, 0), (1, 1), (0, 1)]))
    found = examine(SQUARE, unit)
    assert len(found.faults) == 2
    assert "initial_low [-0.5, -0.5] .. initial_high [0.0, 0.5]: the density around " in (
        found.message
    )
    assert "outside the mesh, has mass" in found.message
    box = {"initial_low": (0.3, 0.4), "initial_high": (0.4, 0.6)}
    inside = changed(SQUARE, **box, target_low=(0.6, 0.4), target_high=(0.7, 0.6))
    assert examine(inside, unit).faults == ()
    far = replace(unit, points=1000.0 * unit.points)
    scaled = {name: tuple(1000.0 * x for x in getattr(inside.options, name)) for name in box}
    assert "scale a mesh in other units" in examine(changed(inside, **scaled), far).message


def test_mass_and_places_of_a_fine_mesh() -> None:
    fine = generate(MeshConfig(element_size=0.05))
    centres = np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, -1.0]])
    np.testing.assert_allclose(mass_of_bumps(fine, centres), [1.0, 0.5, 0.25], atol=2e-3)
    disc = generate(MeshConfig(shape="square-with-disc", element_size=0.2))
    places = np.array([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0], [1.1, 0.0]])
    assert contains(disc, places).tolist() == [False, True, True, False]
    line = generate(MeshConfig(shape="interval", element_size=0.1))
    assert contains(line, np.array([[-1.0], [0.05], [1.01]])).tolist() == [True, True, False]


def test_times_are_reported_in_diameters_over_speed() -> None:
    env = config.load("flow-cylinder").env
    raw = generate(replace(env.mesh, element_size=0.1, disc_element_size=0.02))
    assert examine(env, raw).notes == ()
    develop, horizon = examine(env, replace(raw, points=1000.0 * raw.points)).notes
    assert "env.flow.develop_time=4 is 0.04 D / U, with D = 100 and U = 1" in develop
    assert "env.horizon=2 is 0.02 D / U" in horizon
    slow = replace(env, options=replace(env.options, develop_time=1.4))
    (note,) = examine(slow, raw).notes
    assert "env.flow.develop_time=1.4 is 14 D / U" in note


def test_the_mesh_command_refuses_what_the_scenario_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mesh = flow_config().mesh
    path = write(mesh, tmp_path / "channel.msh")
    given = ["mesh", "flow-cylinder", "--set", f"env.mesh.file={path}"]
    assert cli.main(given) == 0
    assert "the mesh fits flow-cylinder" in capsys.readouterr().out
    raw = generate(mesh)
    top = raw.facet_values == raw.tags["top"][1]
    tags = {name: tag for name, tag in raw.tags.items() if name != "top"}
    bare = replace(raw, facets=raw.facets[~top], facet_values=raw.facet_values[~top], tags=tags)
    write(distribute(bare, world()), path)
    picture = tmp_path / "mesh.png"
    assert cli.main([*given, "--picture", str(picture)]) == 2
    said = capsys.readouterr()
    assert "cells" in said.out
    assert "flow-cylinder refuses this mesh: the mesh lacks top" in said.err
    assert f"{top.sum()} of" in said.err
    assert picture.stat().st_size > 10_000


def test_notes_are_warnings_of_rank_zero(l_shape: str) -> None:
    env = changed(SQUARE, initial_low=(-0.9, -0.5), initial_high=(-0.9, 0.5))
    with pytest.warns(UserWarning, match=r"initial_low.* walls or holes cut it off"):
        validate(env, build(env.mesh, world()), examine)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        validate(SQUARE, build(SQUARE.mesh, world()), examine)
