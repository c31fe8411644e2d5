"""A new shape beside a remesh: its mesh alone (`morph`), with a steady flow (`morph-step`)."""

import itertools
from collections.abc import Sequence

import numpy as np
from mpi4py import MPI

from hypemarl import config
from hypemarl.bench.timing import median_ms
from hypemarl.config import EnvConfig, options_of
from hypemarl.meshing import RawMesh, distribute
from hypemarl.meshing.boundary import Boundary
from hypemarl.meshing.morphing import DensityTransfer, MeshMotion, elastic_extension, follow, remesh
from hypemarl.meshing.morphing.motion import boundary_nodes
from hypemarl.solvers.steady_flow import FlowSolution
from hypemarl.solvers.taylor_hood import TaylorHood
from hypemarl.solvers.velocity_transfer import VelocityTransfer
from hypemarl.systems.shape.flow import FAR, ShapeFlow
from hypemarl.systems.shape.options import ShapeOptions
from hypemarl.systems.shape.plant import ShapePlant
from hypemarl.verification.morphing import AGENTS, WALLS, channel, motion_of

ELEMENT_SIZE = 0.026


def morph() -> dict[str, float]:
    """Times in ms on about 5,000 triangles around a circle, 16 agents, radial B-splines.

    ``map_within`` takes amplitudes of a tenth of their bound, where only the area is corrected;
    ``map_limited`` random corners, where bounds are met. ``ratio``: a remesh with both transfers
    over a limited shape with the moved mesh and the check of its cells.
    """
    motion, shapes = motion_of(channel(ELEMENT_SIZE), "radial-bspline")
    raw, space = motion.raw, motion.space
    rng = np.random.default_rng(0)
    corners = shapes.bounds.amplitude * np.sign(rng.uniform(-1.0, 1.0, (32, AGENTS)))
    turns = itertools.cycle(corners)
    qs = itertools.cycle([shapes(a).q for a in corners])
    outer = np.setdiff1d(boundary_nodes(raw.cells), motion.loop)
    operator = elastic_extension(raw.points, raw.cells, motion.loop, outer)
    limited = shapes(corners[0])
    moved = space.displacement(next(qs), motion.places).ravel()
    times = {
        "ms_build": median_ms(lambda: follow(raw, space), 5),
        "ms_whole_operator": median_ms(lambda: operator @ moved, 50),
        "ms_move": median_ms(lambda: motion.points(next(qs)), 200),
        "ms_quality": median_ms(lambda: motion.worst_cell(next(qs)), 200),
        "ms_map_within": median_ms(lambda: shapes(0.1 * next(turns)), 32),
        "ms_map_limited": median_ms(lambda: shapes(next(turns)), 32),
        "ms_gradient": median_ms(lambda: shapes.gradient(limited), 20),
    }
    times |= _remesh(motion, limited.q)
    morphed = times["ms_map_limited"] + times["ms_quality"]
    renewed = sum(value for name, value in times.items() if name.startswith("ms_new"))
    counts = {"cells": len(raw.cells), "nodes": len(raw.points), "modes": space.size}
    sizes = {"MB_modes": motion.modes.nbytes / 1e6, "MB_whole_operator": operator.nbytes / 1e6}
    return counts | sizes | times | {"ratio": renewed / morphed}


def _remesh(motion: MeshMotion, q: np.ndarray) -> dict[str, float]:
    """The parts of a remesh with transfer of a density and a velocity."""
    old, new = motion.moved(q), remesh(motion, q).raw
    density = old.points[:, 0]
    return {
        "ms_new_mesh": median_ms(lambda: remesh(motion, q), 5),
        "ms_new_spaces": median_ms(lambda: TaylorHood(distribute(new, MPI.COMM_SELF)), 3),
        "ms_new_density": median_ms(lambda: DensityTransfer(old, new)(density), 5),
        "ms_new_velocity": velocity_ms(old, new, WALLS)[0],
    }


def velocity_ms(old: RawMesh, new: RawMesh, walls: Sequence[str]) -> tuple[float, TaylorHood]:
    """Time of a velocity's transfer to a new mesh with ``walls``, and its new space. Local."""
    source, target = (TaylorHood(distribute(raw, MPI.COMM_SELF)) for raw in (old, new))
    fixed = target.prescribed(dict.fromkeys(walls, (0, 1)))
    velocity = np.stack([source.velocity_points[:, 1], source.velocity_points[:, 0] ** 2])
    return median_ms(lambda: VelocityTransfer(source, target, fixed)(velocity), 3), target


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
