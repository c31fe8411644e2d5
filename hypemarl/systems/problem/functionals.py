"""Functionals of a problem by agent, and their transposes.

The integrand is multiplied by a test function that is constant in each cell; the vector of cells
times the patches' matrix gives every agent its share.
"""

from __future__ import annotations

import numpy as np
import ufl
from dolfinx import fem
from scipy import sparse

from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.jit import Assembled, update
from hypemarl.systems.problem.domain import Domain


def weighted(form: ufl.Form, weight: object) -> ufl.Form:
    """The form with every integrand multiplied by ``weight``, on inner facets by its mean."""
    return ufl.Form(
        [
            integral.reconstruct(
                integral.integrand()
                * (ufl.avg(weight) if "interior" in integral.integral_type() else weight)
            )
            for integral in form.integrals()
        ]
    )


class Patches:
    """Sums over the cells of every agent, and weights of agents as a field.

    Args:
        owners: (n_cells,) agent of each cell of this rank; agents: their number. Collective.
    """

    def __init__(self, domain: Domain, owners: np.ndarray, agents: int) -> None:
        self.comm, self.agents = domain.comm, agents
        self.space = fem.functionspace(domain.mesh, ("DG", 0))
        #: (n, n_cells) of zeros and ones
        self.matrix = sparse.csr_array(
            (np.ones(len(owners)), (owners, np.arange(len(owners)))), shape=(agents, len(owners))
        )
        #: field of the agents' weights, see :meth:`spread`
        self.weight = fem.Function(self.space)

    def cells(self, form: ufl.Form) -> Assembled:
        """Assembly of a functional cell by cell."""
        return Assembled(weighted(form, ufl.TestFunction(self.space)), self.space)

    def spread(self, weights: np.ndarray) -> None:
        """Give every cell the weight of its agent (n,). Collective."""
        values = self.matrix.T @ weights
        self.weight.x.array[: len(values)] = values
        update(self.weight)

    def gradient(self, form: ufl.Form, function: fem.Function) -> Assembled:
        """Derivative in ``function`` of the functional with the cells' weights."""
        space = function.function_space
        bars = ufl.derivative(weighted(form, self.weight), function, ufl.TestFunction(space))
        return Assembled(bars, space)

    def total(self, cells: np.ndarray) -> np.ndarray:
        """Sums (n, ...) over all ranks of values (n_cells, ...). Collective."""
        return sum_over_ranks(self.comm, self.matrix @ cells)


def cell_dofs(space: fem.FunctionSpace, cells: np.ndarray) -> np.ndarray:
    """Degrees of freedom (m, dofs) of cells, unrolled."""
    block = space.dofmap.bs
    blocks = space.dofmap.list[cells]
    unrolled = blocks[:, :, None] * block + np.arange(block)
    return np.asarray(unrolled.reshape(len(cells), blocks.shape[1] * block))
