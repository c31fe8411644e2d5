"""One time step of the unsteady flow beside the tutorial's scheme, and resets from memory."""

import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from mpi4py import MPI

from hypemarl.bench.timing import best_ms, median_ms, times_ms
from hypemarl.config import EnvConfig, MeshConfig, load
from hypemarl.meshing import build
from hypemarl.mpi import world
from hypemarl.solvers.navier_stokes import UnsteadyFlow
from hypemarl.systems.density.in_fluid import DensityFluidPlant
from hypemarl.systems.flow.inflow import InflowProfile
from hypemarl.systems.flow.plant import FlowPlant
from hypemarl.training.children import launch
from hypemarl.verification.flow import DFG

WALLS = ("inflow", "disc", "bottom", "top")
FINE = replace(DFG, element_size=0.0073, disc_element_size=0.0022)
DT, VISCOSITY = 1e-3, 1e-3
STARTED = 400  # steps before the clock runs: the wake then sheds
STEPS = 200


def flow_step() -> dict[str, float]:
    """Times of one step at dt = 1/1000 on the DFG mesh, per part and beside the tutorial's scheme.

    Keys: ms, ms_tutorial, ratio_tutorial; ms_assembly, ms_velocity, ms_pressure, ms_rest (means);
    iterations; floor_ms, the time in which memory could bring all that a step must read and write
    at the bandwidth of a copy measured beside it, and share_of_floor = floor_ms / ms; cells,
    velocity_dofs; then ms of a mesh of at least 200,000 velocity dofs on 1 and 2 ranks and
    ratio_ranks. Serial: it starts the ranks itself.
    """
    flow = _started(DFG, DT, STARTED)
    peer = _peer(flow)
    ours, theirs = [], []
    for _ in range(4):  # in turns, so that other load on the machine meets both
        ours += times_ms(flow.step, STEPS // 4)
        theirs += times_ms(peer, 3)
    parts = _parts(flow)
    result: dict[str, float] = {
        "ms": median(ours),
        "ms_tutorial": median(theirs),
        "ratio_tutorial": median(theirs) / median(ours),
        "best_ms": min(ours),
        **parts,
        "floor_ms": bytes_per_step(flow) / _bandwidth() * 1e3,
        "cells": flow.space.mesh.topology.index_map(2).size_global,
        "velocity_dofs": 2 * flow.space.velocity_map.size_global,
    }
    result["share_of_floor"] = result["floor_ms"] / result["ms"]
    return result | _ranks()


def bytes_per_step(flow: UnsteadyFlow) -> float:
    """Least number of bytes between memory and core in a step that starts with empty caches.

    The momentum matrix is written once and read in each product (8 bytes of value, 4 of column),
    the mass matrix likewise once, the scatter map and geometry once, the pressure's factors twice,
    and some forty vectors of velocity size.
    """
    momentum = flow.momentum
    products = 2 * flow.krylov.iterations + 1
    nnz, n = len(momentum.mass), momentum.n_owned
    cells = len(flow.space.velocity_cells)
    factors = flow.pressure_correction.solver.getPC().getFactorMatrix().getInfo()["nz_used"]
    matrices = nnz * (8 * 4 + 12 * (products + 1)) + 2 * 12 * factors
    return matrices + cells * (30 * 4 + 6 * 4 + 7 * 8) + 40 * 16 * n


def flow_reset() -> dict[str, float]:
    """Start of an episode whose flow is in memory, per scenario, milliseconds.

    The developed states are made in a fraction of their usual time: how long they took does not
    matter here.
    """
    result: dict[str, float] = {}
    for name, develop_time in (("flow-cylinder", 0.3), ("flow-dissipation", 3.0)):
        short = f"env.flow.develop_time={develop_time}"
        result |= _reset_time(load(name, [short]).env, name)
    return result | _reset_time(load("density-fluid").env, "density-fluid")


def _reset_time(config: EnvConfig, name: str) -> dict[str, float]:
    with TemporaryDirectory() as folder:
        plant: Any
        tagged = build(config.mesh, world())
        if config.system == "flow":
            plant = FlowPlant(config, tagged, Path(folder))
        else:
            plant = DensityFluidPlant(config, tagged)
        middle = 0.5 * (plant.parameter_low + plant.parameter_high)
        plant.reset(middle)
        return {f"{name.replace('-', '_')}_ms": median_ms(lambda: plant.reset(middle), 50)}


def _started(mesh: MeshConfig, dt: float, steps: int) -> UnsteadyFlow:
    tagged, walls = build(mesh, world()), dict.fromkeys(WALLS, (0, 1))
    flow = UnsteadyFlow(
        tagged, dirichlet=walls, time_step=dt, viscosity=VISCOSITY, bodies=("disc",)
    )
    return opened(flow, steps)


def opened[F: UnsteadyFlow](flow: F, steps: int) -> F:
    """The flow some steps after the entrance was opened. Collective."""
    inflow = InflowProfile(flow.space, "parabolic", 1.0)
    profile = inflow.values()
    for n in range(steps):
        flow.boundary[:, inflow.nodes] = min(1.0, (n + 1) / max(50.0, 0.25 * steps)) * profile
        flow.step()
    return flow


def _peer(flow: UnsteadyFlow) -> Callable[[], None]:
    """The tutorial's step on the same mesh from the same velocity."""
    from hypemarl.bench.flow_peer import TutorialFlow

    def inflow(x: np.ndarray) -> np.ndarray:
        profile = 6.0 * x[1] * (DFG.height - x[1]) / DFG.height**2
        return np.stack([profile, np.zeros_like(profile)])

    peer = TutorialFlow(flow.space.tagged, DT, VISCOSITY, inflow)
    for function in (peer.u, peer.u_old):
        for c in range(2):
            function.x.array[c::2] = flow.velocity[c]
    peer.p.x.array[:] = flow.pressure
    peer.step()
    return peer.step


def _parts(flow: UnsteadyFlow) -> dict[str, float]:
    """Mean times of the parts of a step, and iterations of the velocity solve."""
    spent: dict[str, float] = defaultdict(float)
    parts = (
        (flow.momentum, "assemble", "ms_assembly"),
        (flow.krylov, "solve", "ms_velocity"),
        (flow.pressure_correction, "increment", "ms_pressure"),
    )
    for owner, name, key in parts:
        setattr(owner, name, _clocked(getattr(owner, name), spent, key))
    iterations, start = 0, time.perf_counter()
    for _ in range(STEPS):
        flow.step()
        iterations += flow.krylov.iterations
    total = time.perf_counter() - start
    for owner, name, _ in parts:
        delattr(owner, name)
    result = {key: 1e3 * spent[key] / STEPS for _, _, key in parts}
    result["ms_rest"] = 1e3 * total / STEPS - sum(result.values())
    return result | {"iterations": iterations / STEPS}


def _clocked(function: Any, spent: dict[str, float], key: str) -> Any:
    def call(*arguments: Any) -> Any:
        start = time.perf_counter()
        result = function(*arguments)
        spent[key] += time.perf_counter() - start
        return result

    return call


def _bandwidth() -> float:
    """Bytes per second that a copy of a large array moves (read and write)."""
    source = np.ones(8_000_000)
    target = np.zeros_like(source)
    return 2.0 * source.nbytes / (best_ms(lambda: np.copyto(target, source), 10) * 1e-3)


def _ranks() -> dict[str, float]:
    """The large mesh on one rank and on two, each in a world of its own."""
    result: dict[str, float] = {}
    for ranks in (1, 2):
        result |= launch(ranks, "hypemarl.bench.flow")
    result["ratio_ranks"] = result["large_ms_1"] / result["large_ms_2"]
    return result


def large_mesh_step() -> dict[str, float]:
    """Median step on the fine mesh over the ranks of the world. Collective."""
    flow = _started(FINE, 0.25 * DT, 20)
    comm = world()
    times = []
    for _ in range(40):
        comm.Barrier()
        times += times_ms(flow.step, 1)
    slowest = comm.allreduce(median(times), MPI.MAX)
    dofs = 2 * flow.space.velocity_map.size_global
    return {f"large_ms_{comm.size}": slowest, "large_velocity_dofs": dofs}


if __name__ == "__main__":
    outcome = large_mesh_step()
    if world().rank == 0:
        print(json.dumps(outcome))
