"""Plants and their parts: equal on every rank, and as on one rank to their tolerance."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flow_case import LONG, PARAMETERS, flow_config, flow_plant, flow_space
from mpi4py import MPI
from shape_case import MESH, shape_config, shape_plant
from shape_case import PARAMETERS as SHAPE_PARAMETERS
from test_density_fluid import CONFIG as FLUID
from test_density_fluid import PARAMETERS as FLUID_PARAMETERS
from test_density_plant import CONFIG as DENSITY
from test_density_plant import PARAMETERS as DENSITY_PARAMETERS
from test_developed import WIDE
from test_memory import resident
from test_probes import linear, quadratic
from test_shape_unsteady import unsteady_config
from together import assert_same, from_rank_0, raised

from hypemarl.config import EnvConfig, MeshConfig
from hypemarl.coupling.layout import LayoutError, own_cells
from hypemarl.coupling.plant import ActionError
from hypemarl.coupling.probes import PointProbes
from hypemarl.coupling.validation import validate
from hypemarl.meshing import MeshError, build
from hypemarl.meshing.distribute import distribute
from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.p1 import P1Space
from hypemarl.systems.density.in_fluid import DensityFluidPlant
from hypemarl.systems.density.mesh_checks import examine
from hypemarl.systems.density.plant import DensityPlant
from hypemarl.systems.flow.arc_actuation import ArcActuators, ArcCost
from hypemarl.systems.flow.arcs import arc_layout
from hypemarl.systems.shape.unsteady import UnsteadyShapePlant

TWO = pytest.mark.parametrize("comm", [2], indirect=True)
BOTH = pytest.mark.parametrize("comm", [2, 3], indirect=True)


def drawn(comm: MPI.Intracomm, seed: int, *shape: int, size: float = 1.0) -> np.ndarray:
    """Actions in which the ranks differ: those of rank 0 count."""
    return np.random.default_rng(seed + comm.rank).uniform(-size, size, shape)


def refuses_nan(comm: MPI.Intracomm, plant: Any) -> None:
    shape = (plant.n_agents, plant.action_size)
    bad = np.full(shape, np.nan if comm.rank == 0 else 0.0)
    raised(comm, ActionError, lambda: plant.step(bad))


# --- parts


def test_an_overlap_on_one_rank_stops_all(comm: MPI.Intracomm) -> None:
    """Only one cell overlaps, so that it lies on one rank; no rank may hang."""
    space = P1Space(build(MeshConfig(element_size=0.2), comm).mesh)
    boxes = [lambda x: np.ones(len(x), bool), lambda x: x.sum(axis=1) > 1.8]
    texts = raised(comm, LayoutError, lambda: own_cells(space, boxes))
    assert len(set(texts)) == 1
    assert "overlap" in texts[0]


@TWO
def test_ranks_refuse_a_mesh_alike(comm: MPI.Intracomm) -> None:
    tagged = build(MeshConfig(element_size=0.5), comm)
    texts = raised(comm, MeshError, lambda: validate(EnvConfig(agents=(9, 9)), tagged, examine))
    assert all("own no cell" in text for text in texts)


@BOTH
def test_every_probe_counts_once(comm: MPI.Intracomm) -> None:
    """Nodes at rank boundaries belong to cells of several ranks; errors reach every rank."""
    space = flow_space(comm=comm)
    points = np.concatenate(comm.allgather(space.velocity_points[: space.n_velocity]))
    probes = PointProbes(space, points)
    values = probes.evaluate(quadratic(space.velocity_points), linear(space.pressure_points))
    exact = np.stack([*quadratic(points), linear(points)], axis=1)
    assert np.abs(values - exact).max() < 1e-9
    assert_same(comm, values)
    texts = raised(comm, LayoutError, lambda: PointProbes(space, np.array([[0.2, 0.2]])))
    assert all("probe 0 at [0.2, 0.2] lies outside" in text for text in texts)


@BOTH
def test_arcs_and_their_operators(comm: MPI.Intracomm) -> None:
    """On a long channel the disc lies on one rank; what is global agrees bit for bit."""

    def run(comm: MPI.Intracomm) -> tuple[list[int], np.ndarray]:
        space = flow_space(LONG, comm)
        layout = arc_layout(space, 6)
        actuators = ArcActuators(space, layout, 2)
        amplitudes = np.random.default_rng(0).uniform(-1, 1, (6, 2))
        field = actuators.field(amplitudes)
        costs = sum_over_ranks(comm, ArcCost(layout).shares(field))
        back, flux = actuators.transposed(field), actuators.net_flux(amplitudes)
        assert_same(comm, layout.positions, actuators.fluxes, costs, back, flux)
        assert abs(flux) < 1e-15
        bad = [(0, 1e-3), (90, 180)]
        assert len(set(raised(comm, LayoutError, lambda: arc_layout(space, 2, arcs=bad)))) == 1
        owned = int((actuators.nodes < space.n_velocity).sum())
        counts = comm.allgather((len(layout.facet_owners), owned))
        with_disc = sum(1 for facets, _ in counts if facets)
        numbers = np.concatenate([costs.ravel(), back.ravel(), actuators.fluxes.ravel()])
        return [with_disc, *np.sum(counts, axis=0).tolist()], numbers

    counts, numbers = run(comm)
    serial_counts, serial = from_rank_0(comm, lambda: run(MPI.COMM_SELF))
    assert counts == serial_counts
    assert counts[0] == 1  # one rank has the whole disc
    assert len(numbers) == 12 + 12 + 12
    assert numbers == pytest.approx(serial, rel=1e-11, abs=1e-14)


# --- plants


@BOTH
def test_density_plant(comm: MPI.Intracomm) -> None:
    def run(comm: MPI.Intracomm) -> tuple[np.ndarray, int]:
        plant = DensityPlant(DENSITY, build(DENSITY.mesh, comm))
        plant.reset(DENSITY_PARAMETERS)
        generator = np.random.default_rng(comm.rank)  # ranks differ on purpose
        for _ in range(4):
            observations, rewards, _ = plant.step(generator.uniform(-1, 1, (12, 2)))
        assert_same(comm, observations, rewards)
        record = plant.fields()
        assert (record is None) == (comm.rank > 0)
        refuses_nan(comm, plant)
        count = 0
        if record is not None:
            corners = record["points"][record["cells"]]
            areas = np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1])) / 2
            assert areas.sum() == pytest.approx(4.0)
            count = len(record["points"])
        return np.concatenate([observations.ravel(), rewards]), comm.bcast(count)

    numbers, count = run(comm)
    serial, serial_count = from_rank_0(comm, lambda: run(MPI.COMM_SELF))
    assert count == serial_count
    np.testing.assert_allclose(numbers, serial, rtol=1e-11, atol=1e-14)


@TWO
def test_density_plant_in_a_fluid(comm: MPI.Intracomm) -> None:
    def run(comm: MPI.Intracomm) -> np.ndarray:
        plant = DensityFluidPlant(FLUID, build(FLUID.mesh, comm))
        plant.reset(FLUID_PARAMETERS)
        generator = np.random.default_rng(0)
        for _ in range(3):
            observations, rewards, _ = plant.step(generator.uniform(-1, 1, (12, 2)))
        assert_same(comm, observations, rewards)
        return np.concatenate([observations.ravel(), rewards])

    serial = from_rank_0(comm, lambda: run(MPI.COMM_SELF))
    np.testing.assert_allclose(run(comm), serial, rtol=1e-7, atol=1e-11)


@BOTH
def test_flow_plant(comm: MPI.Intracomm, folder: Path) -> None:
    """From the state that the serial run stored."""

    def run(comm: MPI.Intracomm) -> np.ndarray:
        plant = flow_plant(folder, comm=comm)
        plant.reset(PARAMETERS)
        actions = drawn(comm, 0, 6, 1, size=0.5)
        plant.step(actions)
        state = plant.snapshot()
        observations, rewards, info = plant.step(-actions)
        plant.restore(state)
        again = plant.step(-actions)[1]
        assert_same(comm, observations, rewards, info["lift"], again)
        assert np.abs(again - rewards).max() < 1e-12
        fields = plant.fields()
        assert (fields is None) == (comm.rank > 0)
        refuses_nan(comm, plant)
        return numbers_of(comm, fields, observations, rewards, info)

    serial = from_rank_0(comm, lambda: run(MPI.COMM_SELF))
    assert run(comm) == pytest.approx(serial, rel=1e-5, abs=1e-6)


def numbers_of(
    comm: MPI.Intracomm, fields: Any, observations: Any, rewards: Any, info: Any
) -> np.ndarray:
    sums = None if fields is None else [np.abs(fields[n]).sum() for n in ("vorticity", "velocity")]
    return np.array([*observations.ravel(), *rewards, *info["drag"], *comm.bcast(sums)])


@TWO
def test_developed_states_do_not_depend_on_the_ranks_that_store_them(
    comm: MPI.Intracomm, folder: Path
) -> None:
    """Two ranks read what one wrote; what they write again has the same content."""

    def develop() -> Path:
        serial = flow_plant(folder / "serial", flow_config(**WIDE), MPI.COMM_SELF)
        serial.states.get(PARAMETERS)
        return serial.states.cache.path(PARAMETERS)

    stored = from_rank_0(comm, develop)
    cache = flow_plant(folder / "serial", flow_config(**WIDE), comm).states.cache
    state = cache.load(PARAMETERS)
    cache.folder = folder / "ranks"
    path = cache.save(PARAMETERS, state)
    assert path.name == stored.name
    comm.barrier()
    with np.load(stored) as a, np.load(path) as b:
        assert set(a.files) == set(b.files)
        for name in a.files:
            if name not in ("checksum", "velocity_points", "pressure_points"):
                assert np.array_equal(a[name], b[name]), name
        assert b["velocity_points"] == pytest.approx(a["velocity_points"], abs=1e-12)
    comm.barrier()
    if comm.rank == 0:
        path.write_bytes(b"")
    comm.barrier()
    assert cache.load(PARAMETERS) is None


@TWO
def test_shape_plant(comm: MPI.Intracomm) -> None:
    def run(comm: MPI.Intracomm) -> np.ndarray:
        plant = shape_plant(comm=comm)
        plant.reset(SHAPE_PARAMETERS)
        actions = drawn(comm, 3, 4, 8, 1)
        plant.step(actions[0])
        observations, rewards, info = plant.step(actions[1])
        assert_same(comm, observations, rewards, info["lift"])
        fields = plant.fields()
        assert (fields is None) == (comm.rank > 0)
        return numbers_of(comm, fields, observations, rewards, info)

    serial = from_rank_0(comm, lambda: run(MPI.COMM_SELF))
    assert run(comm) == pytest.approx(serial, rel=1e-7, abs=1e-8)
    outside = replace(shape_config(), mesh=replace(MESH, disc_centre=(1.0, 0.2)))
    for broken in (shape_config(area=40.0), outside):
        raised(comm, MeshError, lambda broken=broken: shape_plant(broken, comm))


@pytest.mark.slow
@TWO
def test_unsteady_shape_plant(comm: MPI.Intracomm) -> None:
    def run(comm: MPI.Intracomm) -> np.ndarray:
        plant = UnsteadyShapePlant(unsteady_config(), comm)
        plant.reset(SHAPE_PARAMETERS)
        actions = drawn(comm, 3, 2, 8, 1)
        plant.step(actions[0])
        observations, rewards, info = plant.step(actions[1])
        assert_same(comm, observations, rewards)
        return np.array([*observations.ravel(), *rewards, *info["drag"]])

    serial = from_rank_0(comm, lambda: run(MPI.COMM_SELF))
    assert run(comm) == pytest.approx(serial, rel=1e-4, abs=1e-5)


@pytest.mark.slow
@TWO
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_remeshes_leave_nothing_behind(comm: MPI.Intracomm) -> None:
    """Matrices and factors of every mesh stayed: 3 MiB each here."""
    plant = shape_plant(shape_config(remesh=True), comm)
    moving = plant.moving
    moving.shape = plant._rest

    def remeshed(amplitudes: np.ndarray) -> bool:
        moving.tagged = distribute(moving.motion.raw, plant.comm)
        return True

    moving.move = remeshed  # type: ignore[method-assign]
    plant.reset(SHAPE_PARAMETERS)
    sizes = []
    for _ in range(12):
        assert plant.step(np.zeros((8, 1)))[2]["remeshed"]
        sizes.append(resident())
    assert max(comm.allgather(sizes[-1] - sizes[3])) < 8.0  # eight meshes
