"""What ``hypemarl mesh`` shows: a mesh, and an obstacle before and after morphing."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hypemarl.config import MeshConfig
from hypemarl.config.keys import Displacement
from hypemarl.meshing import MeshError, TaggedMesh, gather
from hypemarl.meshing.boundary import Fault
from hypemarl.meshing.morphing import MovingMesh, anticlockwise, radius_ratios
from hypemarl.mpi import on_root, world
from hypemarl.seeding import numpy_generator
from hypemarl.visualisation.morphed_mesh import MeshPanel, around, draw_meshes

NONE = np.empty((0, 2))


def morph(
    mesh: MeshConfig, kind: Displacement, agents: int, shares: Sequence[float] | None, seed: int
) -> MovingMesh:
    """A mesh whose obstacle was moved. Collective.

    Args:
        shares: amplitudes in units of their bound; None draws them between -1 and 1.
        seed: of the random amplitudes.

    Raises:
        MeshError: on every rank: no obstacle, or amplitudes that do not fit.
    """
    moving = MovingMesh(mesh, kind, agents, world(), remeshes=True)
    count = moving.feasible.space.to_modes.shape[1]
    if shares is None:
        shares = numpy_generator(seed, "morph").uniform(-1.0, 1.0, count).tolist()
    if len(shares) != count:
        raise MeshError(
            f"--amplitudes: expected {count} numbers, for {agents} agents, got {len(shares)}"
        )
    moving.move(moving.feasible.bounds.amplitude * np.array(shares))
    return moving


def describe(moving: MovingMesh) -> dict[str, str]:
    """What was done to the shape, as text."""
    shape, space = moving.shape, moving.feasible.space
    if shape is None:
        return {}
    still = np.zeros(space.size)
    change = space.area(shape.q) / space.area(still) - 1.0
    margins = {name: value for name, value in shape.margins.items() if np.isfinite(value)}
    reached, wanted = np.linalg.norm(shape.q), np.linalg.norm(shape.wanted)
    return {
        "limit": shape.limit or "none",
        "displacement": f"{reached:.4g} (root mean square), asked for {wanted:.4g}",
        "area change": f"{change:.1e}",
        "margins": ", ".join(f"{name} {value:.2g}" for name, value in margins.items()),
        "remeshed": "no" if moving.motion.root is None else "yes",
    }


def draw_mesh(tagged: TaggedMesh, path: Path, faults: Sequence[Fault] = ()) -> Path:
    """A whole triangle mesh, coloured by quality, the facets of ``faults`` on top. Collective."""
    raw = gather(tagged)

    def draw() -> Path:
        if raw is None or raw.tdim != 2:
            raise MeshError("--picture: expected a mesh of triangles")
        cells = anticlockwise(raw).cells
        quality = radius_ratios(raw.points, cells)
        marked = [raw.points[fault.facets] for fault in faults if fault.facets is not None]
        lines = np.unique(np.concatenate([np.empty((0, 2, 2)), *marked]), axis=0)
        panel = MeshPanel("", raw.points, cells, quality, {}, NONE, lines)
        return draw_meshes([panel], path)

    return on_root(tagged.mesh.comm, draw)


def draw_morph(moving: MovingMesh, path: Path) -> Path:
    """The obstacle's surroundings at rest and morphed, with what was asked for. Collective."""
    return on_root(world(), lambda: draw_meshes(_panels(moving), path, _box(moving)))


def _box(moving: MovingMesh) -> tuple[np.ndarray, np.ndarray]:
    return around(moving.feasible.space.reference)


def _panels(moving: MovingMesh) -> list[MeshPanel]:
    space, shape, first = moving.feasible.space, moving.shape, moving.motion.root or moving.motion
    if shape is None:
        raise ValueError("draw_morph: the mesh was not moved")
    points, cells = moving.motion.points(shape.q), moving.motion.raw.cells
    outlines = {"reference": space.reference, "asked for": space.points(shape.wanted)}
    rest = first.raw
    agents = space.parametrisation.positions
    return [
        MeshPanel(
            "reference", rest.points, rest.cells, radius_ratios(rest.points, rest.cells), {}, agents
        ),
        MeshPanel(
            f"{space.parametrisation.kind}, limit: {shape.limit or 'none'}",
            points,
            cells,
            radius_ratios(points, cells),
            outlines,
            NONE,
        ),
    ]
