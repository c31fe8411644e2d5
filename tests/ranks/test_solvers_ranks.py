"""Solvers on several ranks give what they give on one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mpi4py import MPI
from test_navier_stokes import CHANNEL
from together import from_rank_0, raised

from hypemarl.config import MeshConfig
from hypemarl.meshing import MeshError, build
from hypemarl.meshing.morphing import MovingMesh
from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.solvers.fokker_planck import FokkerPlanck
from hypemarl.solvers.functionals import FlowFunctionals
from hypemarl.solvers.moving_flow import MovingFlow
from hypemarl.solvers.navier_stokes import UnsteadyFlow
from hypemarl.solvers.p1 import P1Space
from hypemarl.solvers.steady_flow import SteadyFlow
from hypemarl.solvers.taylor_hood import TaylorHood, VertexValues
from hypemarl.solvers.velocity_transfer import VelocityTransfer

SQUARE = MeshConfig(shape="square-with-disc", element_size=0.2, disc_radius=0.2)
SLIP = {"left": (0, 1), "disc": (0, 1), "bottom": (1,), "top": (1,)}
TWO = pytest.mark.parametrize("comm", [2], indirect=True)
BOTH = pytest.mark.parametrize("comm", [2, 3], indirect=True)


@BOTH
def test_density(comm: MPI.Intracomm) -> None:
    def moments(comm: MPI.Intracomm) -> list[float]:
        solver = FokkerPlanck(build(MeshConfig(element_size=0.1), comm).mesh, 1e-3)
        x = solver.space.points
        solver.reset(np.exp(-10 * (x**2).sum(axis=1)))
        solver.set_velocity(np.stack([np.sin(3 * x[:, 1]), 1 - x[:, 0]], axis=1))
        solver.advance(0.8)
        owned = solver.space.n_owned
        squares = solver.lumped_mass @ (solver.density[:owned, None] ** 2 * x[:owned])
        return [solver.mass(), *(solver.space.total(value) for value in squares)]

    alone = from_rank_0(comm, lambda: moments(MPI.COMM_SELF))
    np.testing.assert_allclose(moments(comm), alone, rtol=1e-12)


@BOTH
def test_unsteady_flow(comm: MPI.Intracomm) -> None:
    """Forces and energy of a slip channel with an actuated disc."""
    given = {"inflow": (0, 1), "disc": (0, 1), "bottom": (1,), "top": (0, 1)}

    def run(comm: MPI.Intracomm) -> np.ndarray:
        flow = UnsteadyFlow(
            build(CHANNEL, comm),
            dirichlet=given,
            time_step=4e-3,
            viscosity=5e-3,
            bodies=("disc",),
            rtol=1e-11,
        )
        entrance, disc = flow.space.nodes("inflow"), flow.space.nodes("disc")
        x = flow.space.velocity_points
        flow.boundary[0, entrance] = x[entrance, 1]
        for n in range(15):
            normal = (x[disc] - [0.3, 0.2]) / 0.05
            flow.boundary[:, disc] = 0.1 * n / 15 * normal.T * normal[:, 0]
            flow.step()
        forces = sum_over_ranks(comm, flow.traction()[:, disc].sum(axis=1))
        functionals = FlowFunctionals(flow.space)
        numbers = [
            functionals.kinetic_energy(flow.velocity),
            flow.courant,
            flow.imbalance,
            functionals.dissipation(flow.velocity, 1.0),
        ]
        vorticity = functionals.vorticity(flow.velocity)[: flow.space.n_pressure]
        squares = sum_over_ranks(comm, np.array([vorticity @ vorticity]))
        return np.concatenate([forces, numbers, squares])

    alone = from_rank_0(comm, lambda: run(MPI.COMM_SELF))
    np.testing.assert_allclose(run(comm), alone, rtol=1e-7)


@TWO
def test_flow_on_a_mesh_that_moves(comm: MPI.Intracomm) -> None:
    """With a snapshot on the way, and a cell that is turned over where one rank has no cells."""
    config = replace(CHANNEL, shape="channel-with-obstacle")
    given = dict.fromkeys(("inflow", "obstacle", "bottom", "top"), (0, 1))

    def run(comm: MPI.Intracomm) -> np.ndarray:
        mesh = MovingMesh(config, "radial-fourier", 8, comm)
        shapes, rng = mesh.feasible, np.random.default_rng(3)
        q = shapes(0.5 * shapes.bounds.amplitude * rng.uniform(-1.0, 1.0, 8)).q
        flow = MovingFlow(
            mesh.tagged,
            dirichlet=given,
            time_step=4e-3,
            viscosity=5e-3,
            bodies=("obstacle",),
            rtol=1e-11,
        )
        inflow, body = (flow.space.nodes(name) for name in ("inflow", "obstacle"))
        flow.boundary[0, inflow] = flow.space.velocity_points[inflow, 1]

        def march(steps: range) -> None:
            for n in steps:
                flow.move(mesh.motion.points(np.sin(0.05 * n) * q))
                flow.step()

        march(range(1, 7))
        state = flow.snapshot()
        march(range(7, 13))
        flow.restore(state)
        march(range(7, 13))
        forces = sum_over_ranks(comm, flow.traction()[:, body].sum(axis=1))
        energy = FlowFunctionals(flow.space).kinetic_energy(flow.velocity)
        flat = mesh.motion.points(q)
        flat[flat[:, 0] > 1.0, 1] = 0.0  # where one rank has no cells
        raised(comm, MeshError, lambda: flow.move(flat))
        return np.array([*forces, energy, flow.courant, flow.imbalance])

    alone = from_rank_0(comm, lambda: run(MPI.COMM_SELF))
    np.testing.assert_allclose(run(comm), alone, rtol=1e-7)
    assert np.abs(alone).min() > 1e-9


@TWO
def test_steady_flow(comm: MPI.Intracomm) -> None:
    """Forces, number of factorisations, an enclosed flow, and one that does not converge."""

    def run(comm: MPI.Intracomm) -> tuple[list[int], list[float]]:
        tagged = build(SQUARE, comm)
        flow = SteadyFlow(tagged, dirichlet=SLIP)
        boundary = np.zeros((2, flow.space.n_velocity_local))
        boundary[0, flow.space.nodes("left")] = 1.0
        first, near = flow.solve(0.05, boundary), flow.solve(0.045, boundary)
        walls = dict.fromkeys(("left", "right", "bottom", "top", "disc"), (0, 1))
        cavity = SteadyFlow(tagged, dirichlet=walls)
        lid = np.zeros((2, cavity.space.n_velocity_local))
        top = cavity.space.nodes("top")
        lid[0, top] = (1.0 - cavity.space.velocity_points[top, 0] ** 2) ** 2
        turned = cavity.solve(0.05, lid)
        raised(comm, SolverDiverged, lambda: cavity.solve(1e-7, lid))
        force = [*flow.force(near, "disc"), *cavity.force(turned, "disc")]
        return [first.factorisations, near.factorisations], force

    counts, force = run(comm)
    alone = from_rank_0(comm, lambda: run(MPI.COMM_SELF))
    assert counts == alone[0]
    assert counts[1] == 0
    np.testing.assert_allclose(force, alone[1], rtol=1e-7, atol=1e-10)


@TWO
def test_a_velocity_at_nodes_is_a_function_of_place(comm: MPI.Intracomm) -> None:
    """On all local nodes of the P1 space, ghosts of ghosts included."""
    tagged = build(SQUARE, comm)
    flow = SteadyFlow(tagged, dirichlet=SLIP)
    boundary = np.zeros((2, flow.space.n_velocity_local))
    boundary[0, flow.space.nodes("left")] = 1.0
    target = P1Space(tagged.mesh)
    values = VertexValues(flow.space, target)(flow.solve(0.05, boundary).velocity)
    local = np.column_stack([target.points, values]).round(9)
    owned = comm.allgather(local[: target.n_owned])
    table = {tuple(row[:2]): row[2:] for rows in owned for row in rows}
    assert len(local) > target.n_owned
    for row in local:
        np.testing.assert_allclose(table[tuple(row[:2])], row[2:], atol=1e-8)


@BOTH
def test_a_velocity_transfer_is_refused(comm: MPI.Intracomm) -> None:
    space = TaylorHood(build(MeshConfig(shape="square", element_size=0.5), comm))
    free = np.zeros((2, space.n_velocity_local), dtype=bool)
    texts = raised(comm, NotImplementedError, lambda: VelocityTransfer(space, space, free))
    wanted = f"VelocityTransfer is serial: expected meshes on one rank, got one on {comm.size}"
    assert all(wanted in text for text in texts)
