"""From Taylor-Hood nodes to the nodes of a P1 space on the same mesh."""

import numpy as np

from hypemarl.solvers.p1 import P1Space
from hypemarl.solvers.taylor_hood import TaylorHood


class VertexValues:
    """Values of a P2 field at the nodes of a P1 space, ghosts included. Collective.

    Args:
        flow: numbering of the P2 field; target: nodes where it is wanted; both on one mesh.
    """

    def __init__(self, flow: TaylorHood, target: P1Space) -> None:
        if flow.mesh is not target.mesh:
            raise ValueError("VertexValues: expected both spaces on the same mesh object")
        self._target = target
        self._source = np.zeros(target.n_local, dtype=np.int64)
        # cells list their vertices alike in every space; own nodes are vertices of own cells
        self._source[target.cells.ravel()] = flow.velocity_cells[:, :3].ravel()
        self._halo = target.vector()

    def __call__(self, field: np.ndarray) -> np.ndarray:
        """Components (c, n_velocity_local) -> nodal values (n_local, c). Collective."""
        target = self._target
        values = np.empty((target.n_local, len(field)))
        for component, nodal in enumerate(field):
            self._halo.array[: target.n_owned] = nodal[self._source[: target.n_owned]]
            if target.comm.size > 1:
                self._halo.scatter_forward()
            values[:, component] = self._halo.array
        return values
