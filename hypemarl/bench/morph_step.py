"""`hypemarl bench morph-step`: a new shape with its steady flow, beside gmsh and a new solver."""

import itertools

import numpy as np
from mpi4py import MPI

from hypemarl import config
from hypemarl.bench.morphing import velocity_ms
from hypemarl.bench.timing import median_ms
from hypemarl.config import EnvConfig, options_of
from hypemarl.meshing import distribute
from hypemarl.meshing.boundary import Boundary
from hypemarl.meshing.morphing import MeshMotion, follow, remesh
from hypemarl.solvers.flow_solution import FlowSolution
from hypemarl.systems.shape.flow import FAR, ShapeFlow
from hypemarl.systems.shape.options import ShapeOptions
from hypemarl.systems.shape.plant import ShapePlant

ANGLE, REYNOLDS, SHAPES = 0.3, 30.0, 32


def morph_step() -> dict[str, float]:
    """Times in ms on the mesh of shape-morphing, the shapes of random actions with the lag.

    ``ms_step``: amplitudes to a feasible shape, nodes moved, flow solved from that of the shape
    before. ``ms_rebuilt``: the same shape by a remesh (gmsh, extension of the modes), a new solver,
    the flow solved from rest. ``ratio``: the latter over the former; ``ratio_gmsh`` leaves out the
    extension, without which the new mesh would not move on. ``ms_remesh_transfer``: remesh, new
    solver, and the velocity carried over; ``MB_remesh_transfer``: mesh, modes, velocity, pressure.
    """
    env = config.load("shape-morphing").env
    plant = ShapePlant(env, MPI.COMM_SELF)
    plant.reset(np.array([REYNOLDS, ANGLE]))
    times = _steps(plant)
    assert plant.moving.shape is not None
    motion, q = plant.moving.motion, plant.moving.shape.q
    times |= _rebuilt(motion, q, plant.viscosity(REYNOLDS), env, plant.boundary)
    times |= _transfer(motion, q)
    renewed = times["ms_mesh"] + times["ms_extension"] + times["ms_solver"]
    rebuilt = renewed + times["ms_from_rest"]
    return times | {
        "ms_rebuilt": rebuilt,
        "ratio": rebuilt / times["ms_step"],
        "ratio_gmsh": (rebuilt - times["ms_extension"]) / times["ms_step"],
        "ms_remesh_transfer": renewed + times["ms_velocity"],
    }


def _steps(plant: ShapePlant) -> dict[str, float]:
    """A step to each of SHAPES random shapes, and its times. The plant keeps the last one."""
    viscosity, flow = plant.viscosity(REYNOLDS), plant.snapshot().flow
    amplitudes = [np.zeros((plant.n_agents, 1))]
    for target in np.random.default_rng(0).uniform(-1.0, 1.0, (SHAPES, plant.n_agents, 1)):
        amplitudes.append(amplitudes[-1] + plant.options.lag * (target - amplitudes[-1]))
    bound = plant.moving.feasible.bounds.amplitude
    turns = itertools.cycle([bound * a for a in amplitudes[1:]])
    steps: list[FlowSolution] = [flow]

    def step() -> None:
        plant.moving.move(next(turns))
        assert plant.moving.shape is not None
        steps.append(plant.present.solve(plant.moving.shape.q, viscosity, ANGLE, steps[-1]))

    return {
        "cells": len(plant.moving.motion.raw.cells),
        "ms_step": median_ms(step, SHAPES),
        "factorisations": float(np.mean([s.factorisations for s in steps[1:]])),
        "chord_steps": float(np.mean([s.chord_steps for s in steps[1:]])),
    }


def _rebuilt(
    motion: MeshMotion, q: np.ndarray, viscosity: float, env: EnvConfig, boundary: Boundary
) -> dict[str, float]:
    """The parts of a flow around a shape on a mesh that gmsh makes for it."""
    new = remesh(motion, q)
    extension = median_ms(lambda: follow(new.raw, motion.space, motion.tag, origin=q), 5)

    def build() -> ShapeFlow:
        tagged = distribute(new.raw, MPI.COMM_SELF)
        return ShapeFlow(tagged, new, options_of(env, ShapeOptions), boundary)

    solver = median_ms(build, 5)
    both = median_ms(lambda: build().solve(q, viscosity, ANGLE, None), 5)
    return {
        "ms_mesh": median_ms(lambda: remesh(motion, q), 5) - extension,
        "ms_extension": extension,
        "ms_solver": solver,
        "ms_from_rest": both - solver,
    }


def _transfer(motion: MeshMotion, q: np.ndarray) -> dict[str, float]:
    """A velocity's transfer to the new mesh of the same shape, and the memory of a remesh."""
    new = remesh(motion, q)
    ms, target = velocity_ms(motion.moved(q), new.raw, (*FAR, motion.tag))
    held = [new.raw.points, new.raw.cells, new.raw.facets, new.modes]
    size = sum(array.nbytes for array in held) + 8 * (2 * target.n_velocity + target.n_pressure)
    return {"ms_velocity": ms, "MB_remesh_transfer": size / 1e6}
