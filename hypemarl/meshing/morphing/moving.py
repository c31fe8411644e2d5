"""A distributed mesh whose obstacle takes feasible shapes, on any number of ranks."""

from collections.abc import Callable

import numpy as np
from mpi4py import MPI

from hypemarl.config import MeshConfig
from hypemarl.config.keys import Displacement
from hypemarl.meshing.distribute import TaggedMesh, distribute
from hypemarl.meshing.files import load
from hypemarl.meshing.morphing.bounds import ShapeBounds, default_bounds
from hypemarl.meshing.morphing.feasible import FeasibleMap, FeasibleShape
from hypemarl.meshing.morphing.motion import follow, outline_of
from hypemarl.meshing.morphing.parametrisation import Parametrisation
from hypemarl.meshing.morphing.remesh import renewed
from hypemarl.meshing.morphing.shape_space import ShapeSpace
from hypemarl.mpi import on_root

Bounds = Callable[[ShapeBounds], ShapeBounds]


class MovingMesh:
    """A mesh and the feasible shapes of its obstacle. Collective, as are all methods.

    Rank 0 makes the mesh and the shapes; every rank holds the whole geometry, a few numbers per
    node, and moves its own part.

    Args:
        config: a shape with an obstacle, or a file. kind, agents: the parametrisation.
        comm: communicator of the mesh.
        bounds: changes the default bounds, ``lambda b: replace(b, amplitude=0.01)``.
        remeshes: whether a mesh below min_quality is made anew; else it limits the shape.

    Attributes:
        tagged: the distributed mesh, its coordinates those of ``shape``. A remesh replaces it.
        feasible: the map. motion: of the present mesh. shape: the present one, None at first.

    Raises:
        MeshError: on every rank: no such obstacle, or bounds that no shape can keep.
    """

    def __init__(
        self,
        config: MeshConfig,
        kind: Displacement,
        agents: int,
        comm: MPI.Intracomm,
        *,
        bounds: Bounds = lambda bounds: bounds,
        remeshes: bool = False,
    ) -> None:
        def make() -> FeasibleMap:
            raw = load(config)
            side = round(np.sqrt(agents)) if kind == "free-form" else 0
            lattice = (side, agents // max(side, 1))
            parametrisation = Parametrisation(outline_of(raw), kind, agents, lattice=lattice)
            space = ShapeSpace(parametrisation)
            motion = follow(raw, space)
            chosen = bounds(default_bounds(space, motion))
            return FeasibleMap(space, chosen, motion, limit_quality=not remeshes)

        self._comm, self._remeshes = comm, remeshes
        self.feasible = on_root(comm, make)
        if self.feasible.motion is None:
            raise ValueError("MovingMesh: the map has no mesh")
        self.motion = self.feasible.motion
        self.shape: FeasibleShape | None = None
        self.tagged = distribute(self.motion.raw, comm)

    def move(self, amplitudes: np.ndarray) -> bool:
        """Take the feasible shape of amplitudes (agents, components); rank 0's count.

        Returns:
            whether another mesh was taken, so that ``tagged`` and ``motion`` are new objects and
            fields must be transferred.

        Raises:
            MeshError: on every rank: amplitudes beyond their bound, or a mesh that stays too poor.
        """
        shape = on_root(self._comm, lambda: self.feasible(amplitudes))
        self.shape, old = shape, self.motion
        if self._remeshes:
            least = self.feasible.bounds.min_quality
            if old.worst_cell(shape.q)[0] < least:
                self.motion = on_root(self._comm, lambda: renewed(old, shape.q, least))
                self.tagged = distribute(self.motion.raw, self._comm)
        place(self.tagged, self.motion.points(shape.q))
        return self.motion is not old


def place(tagged: TaggedMesh, points: np.ndarray) -> None:
    """Give a distributed mesh the coordinates (N, 2) of its undistributed nodes. Local."""
    geometry = tagged.mesh.geometry
    geometry.x[:, :2] = points[geometry.input_global_indices]
