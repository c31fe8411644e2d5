"""Local observations of a density field: the patch means that an agent sees."""

import numpy as np
from scipy import sparse

from hypemarl.coupling.layout import AgentLayout
from hypemarl.coupling.neighbourhood import Neighbourhood
from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.p1 import P1Space


class PatchMeans:
    """Means of a P1 field over the agents' subdomains, and each agent's stencil ``seen`` of them.

    Args:
        space: nodal space; layout: who owns which cells; radius: patches seen to each
            side. Collective.
    """

    def __init__(self, space: P1Space, layout: AgentLayout, radius: int) -> None:
        self.comm = space.comm
        self.seen = Neighbourhood(layout.stencil(radius))
        self.measures = sum_over_ranks(
            space.comm, np.bincount(layout.owners, space.volumes, minlength=layout.n_agents)
        )
        corners = space.cells.shape[1]
        weights = np.repeat(space.volumes / corners, corners)
        rows = np.repeat(layout.owners, corners)
        shape = (layout.n_agents, space.n_local)
        total = sparse.coo_array((weights, (rows, space.cells.ravel())), shape=shape).tocsr()
        self.matrix = sparse.csr_array(sparse.diags_array(1.0 / self.measures) @ total)

    def means(self, field: np.ndarray) -> np.ndarray:
        """Patch means (n,) of nodal values (n_local,). Collective."""
        return sum_over_ranks(self.comm, self.matrix @ field)
