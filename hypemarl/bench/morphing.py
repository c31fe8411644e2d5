"""`hypemarl bench morph`: a new shape and its mesh, beside a remesh with transfer. No solver."""

import itertools
from collections.abc import Sequence

import numpy as np
from mpi4py import MPI

from hypemarl.bench.timing import median_ms
from hypemarl.meshing import RawMesh, distribute
from hypemarl.meshing.morphing import DensityTransfer, MeshMotion, elastic_extension, follow, remesh
from hypemarl.meshing.morphing.motion import boundary_nodes
from hypemarl.solvers.taylor_hood import TaylorHood
from hypemarl.solvers.velocity_transfer import VelocityTransfer
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
