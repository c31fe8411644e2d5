"""Agents around an obstacle that they move: what each of them owns, and who is near whom.

Nodes and cells belong to the agent that is nearest; what lies midway is shared in equal parts, so
that a symmetric obstacle has symmetric shares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from hypemarl.config import EnvConfig, options_of
from hypemarl.coupling.neighbourhood import grid_stencil
from hypemarl.coupling.validation import Findings, time_scale_notes
from hypemarl.meshing import RawMesh
from hypemarl.meshing.boundary import BoundaryRoles, examine_boundary
from hypemarl.meshing.morphing import MeshMotion, MovingMesh
from hypemarl.solvers.taylor_hood import TaylorHood
from hypemarl.systems.shape.options import ShapeOptions

TIE = 1e-9
"""Difference of distances, in units of the obstacle, below which several agents are nearest."""


@dataclass(frozen=True)
class ShapeLayout:
    """Agents of one parametrisation on one mesh.

    Attributes:
        positions: (n, 2) agents on the reference outline, or control points of a free form.
        directions: (n, 2, 2) rows: unit normal and anticlockwise tangent of the reference outline
            at the agent; of a free form the axes x and y.
        spacing: of neighbouring agents (mean).
        grid: control points along x and y of a free form, None for agents on a ring.
        edges: (e, 2) pairs of neighbours.
        nodes: (k,) local P2 nodes on the obstacle, ghosts included.
        node_shares: (n, k) each agent's share of them, columns sum to 1.
        cell_shares: (n, n_cells) the same of this rank's cells.
    """

    positions: np.ndarray
    directions: np.ndarray
    spacing: float
    grid: tuple[int, int] | None
    edges: np.ndarray
    nodes: np.ndarray
    node_shares: sparse.csr_array
    cell_shares: sparse.csr_array

    @property
    def n_agents(self) -> int:
        """Number of agents."""
        return len(self.positions)

    def stencil(self, radius: int) -> np.ndarray:
        """Near agents (n, K), -1 for none; the middle column is the agent itself. Local.

        Raises ValueError: the radius is negative.
        """
        if self.grid is None:
            return grid_stencil((self.n_agents,), radius, periodic=(0,))
        return grid_stencil(self.grid, radius)


def shape_layout(space: TaylorHood, motion: MeshMotion) -> ShapeLayout:
    """The agents of ``motion`` on the mesh of ``space``, whose nodes are where it was made.

    Collective.
    """
    parametrisation = motion.space.parametrisation
    outline, n = parametrisation.outline, parametrisation.agents
    free = parametrisation.kind == "free-form"
    lattice = parametrisation.lattice if free else None
    positions = parametrisation.positions
    nodes = space.nodes(motion.tag)
    points = space.velocity_points[nodes]
    if free:
        distances = _distances(points, positions)
        directions = np.broadcast_to(np.eye(2), (n, 2, 2)).copy()
        steps = np.ptp(positions, axis=0) / (np.array(parametrisation.lattice) - 1)
        spacing = float(steps.mean())
    else:
        gaps = _places(points, motion)[:, None] - np.arange(n) / n
        distances = outline.length * np.abs((gaps + 0.5) % 1.0 - 0.5)
        normals = outline.normals(np.arange(n) / n)
        directions = np.stack([normals, normals[:, ::-1] * [-1.0, 1.0]], axis=1)
        spacing = outline.length / n
    tie = TIE * outline.length
    return ShapeLayout(
        positions=positions,
        directions=directions,
        spacing=spacing,
        grid=lattice,
        edges=_edges(n, lattice),
        nodes=nodes,
        node_shares=_shares(distances, tie),
        cell_shares=_shares(_distances(space.midpoints, positions), tie),
    )


def _distances(points: np.ndarray, positions: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, None, :] - positions, axis=2)


def _places(points: np.ndarray, motion: MeshMotion) -> np.ndarray:
    """Parameters (k,) on the outline of P2 nodes (k, 2) of the obstacle: vertices and middles."""
    corners, places = motion.raw.points[motion.loop], motion.places
    ahead = (np.roll(places, -1) - places) % 1.0
    known = np.concatenate([corners, 0.5 * (corners + np.roll(corners, -1, axis=0))])
    parameters = np.concatenate([places, (places + 0.5 * ahead) % 1.0])
    return parameters[cKDTree(known).query(points)[1]] if len(points) else np.zeros(0)


def _shares(distances: np.ndarray, tie: float) -> sparse.csr_array:
    """(n, k) equal parts for all agents that are nearest, to ``tie``; distances (k, n)."""
    nearest = distances <= distances.min(axis=1, keepdims=True) + tie
    return sparse.csr_array((nearest / nearest.sum(axis=1, keepdims=True)).T)


def _edges(n: int, lattice: tuple[int, int] | None) -> np.ndarray:
    if lattice is None:
        return np.stack([np.arange(n), (np.arange(n) + 1) % n], axis=1)
    index = np.arange(n).reshape(lattice)
    pairs = [(index[:-1], index[1:]), (index[:, :-1], index[:, 1:])]
    return np.concatenate([np.stack([a.ravel(), b.ravel()], axis=1) for a, b in pairs])


def sensed_motion(moving: MovingMesh, directions: np.ndarray) -> np.ndarray:
    """Matrix (n m, size) from the modes to the motion that agents sense. Local."""
    space = moving.feasible.space
    parametrisation = space.parametrisation
    if parametrisation.kind == "free-form":
        return space.to_amplitudes
    n = parametrisation.agents
    basis = parametrisation.basis(np.arange(n) / n) @ space.to_amplitudes
    axes = directions[:, 0]
    if parametrisation.kind.startswith("radial"):
        arms = parametrisation.positions - parametrisation.outline.centre
        axes = arms / np.linalg.norm(arms, axis=1, keepdims=True)
    return np.einsum("nc,ncm->nm", axes, basis)


ROLES = BoundaryRoles(
    "env.system=shape",
    {
        "inflow": "inflow",
        "outflow": "outflow",
        "bottom": "stream",
        "top": "stream",
        "obstacle": "body",
    },
)


def examine(config: EnvConfig, raw: RawMesh) -> Findings:
    """Compare a whole mesh with the shape problem of ``config``. Local."""
    boundary, faults = examine_boundary(raw, ROLES)
    options = options_of(config, ShapeOptions)
    timed = options.mode == "unsteady" and not faults
    notes = time_scale_notes(config, raw, "obstacle", options.speed) if timed else []
    return Findings(boundary, None, tuple(faults), tuple(notes))
