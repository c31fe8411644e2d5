"""`hypemarl bench moving-step`: a time step on a moving mesh beside one on a mesh that stays."""

from statistics import mean, median
from typing import Any

import numpy as np
from mpi4py import MPI

from hypemarl.bench.flow import opened
from hypemarl.bench.timing import best_ms, times_ms
from hypemarl.config import MeshConfig
from hypemarl.meshing.morphing import MovingMesh
from hypemarl.seeding import numpy_generator
from hypemarl.solvers.moving_flow import MovingFlow
from hypemarl.solvers.navier_stokes import UnsteadyFlow
from hypemarl.verification.morphing import AGENTS, WALLS

MESH = MeshConfig(shape="channel-with-obstacle", element_size=0.02, disc_element_size=0.006)
DT, VISCOSITY = 1e-3, 1e-3
STARTED, ROUNDS, BATCH = 100, 20, 10
PERIOD = 0.2
"""Of the outline's motion, in which amplitudes of half their bound come and go."""


def moving_step() -> dict[str, float]:
    """Times in ms on a mesh like that of the DFG benchmark, dt = 1/1000, a circle that deforms.

    ``ms_moving`` and ``ms_fixed`` are medians over batches of steps, ``ratio`` theirs, iterations
    means. Best times: ``ms_move`` (coordinates, geometry, mass, Laplacian); ``ms_pressure`` the
    solve with kept factors, ``ms_factorise`` what new ones would take. Serial.
    """
    mesh = MovingMesh(MESH, "radial-bspline", AGENTS, MPI.COMM_SELF)
    fixed, flow = _started(UnsteadyFlow, mesh), _started(MovingFlow, mesh)
    path, counts = _path(mesh), []

    def moving() -> None:
        for _ in range(BATCH):
            flow.move(path(flow.time + DT))
            flow.step()
            counts.append((flow.krylov.iterations, flow.pressure_correction.iterations))

    def still() -> None:
        for _ in range(BATCH):
            fixed.step()

    ours, theirs = [], []
    for _ in range(ROUNDS):  # in turns, so that other load on the machine meets both
        ours += times_ms(moving, 1)
        theirs += times_ms(still, 1)
    velocity, pressure = (mean(column) for column in zip(*counts, strict=True))
    return {
        "cells": len(flow.space.volumes),
        "ms_fixed": median(theirs) / BATCH,
        "ms_moving": median(ours) / BATCH,
        "ratio": median(ours) / median(theirs),
        "best_ms_fixed": min(theirs) / BATCH,
        "best_ms_moving": min(ours) / BATCH,
        "velocity_iterations": velocity,
        "pressure_iterations": pressure,
        "factorisations": flow.pressure_correction.factorisations,
        "ms_move": best_ms(lambda: flow.move(path(flow.time)), 20),
        **_pressure_times(flow, fixed),
    }


def _started(kind: Any, mesh: MovingMesh) -> Any:
    """A flow some steps after the entrance was opened; each has its own copy of the geometry."""
    walls, settings = dict.fromkeys(WALLS, (0, 1)), {"time_step": DT, "viscosity": VISCOSITY}
    return opened(kind(mesh.tagged, dirichlet=walls, **settings), STARTED)


def _path(mesh: MovingMesh) -> Any:
    """Time -> coordinates of all nodes."""
    shapes = mesh.feasible
    shares = numpy_generator(0, "moving step").uniform(-1.0, 1.0, AGENTS)
    q = shapes(0.5 * shapes.bounds.amplitude * shares).q
    start = STARTED * DT
    return lambda t: mesh.motion.points(np.sin(2.0 * np.pi * (t - start) / PERIOD) * q)


def _pressure_times(flow: MovingFlow, fixed: UnsteadyFlow) -> dict[str, float]:
    """Of one solve of the moving and of the fixed solver, and of new factors."""
    moving, still = flow.pressure_correction, fixed.pressure_correction
    velocity, out = np.array(flow._v), np.zeros(flow.space.n_pressure_local)
    return {
        "ms_pressure": best_ms(lambda: moving.increment(velocity, 1.5 / DT, out), 20),
        "ms_pressure_fixed": best_ms(lambda: still.increment(velocity, 1.5 / DT, out), 20),
        "ms_factorise": best_ms(moving.factorise, 20),
    }
