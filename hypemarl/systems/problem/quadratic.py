"""Cost terms that are quadratic in the state, as products with constant matrices of one rank.

Of every agent i a term is c_i(u) = 1/2 u^T K_i u + l_i u + h_i. What an interval sums, with weights
w of its time levels, needs the levels only by sums of w u_d u_e over the pairs (d, e) of degrees of
freedom that meet in a cell, of w u_d and of w: a time step adds to these, and an interval ends with
one product for all agents.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import ufl
from dolfinx import fem
from scipy import sparse

from hypemarl.solvers.jit import compiled, constant_values, contains, empty
from hypemarl.systems.problem.functionals import Patches, cell_dofs, weighted

type Group = tuple[list[int], np.ndarray]
"""Agents that are assembled together, and the one that each degree of freedom belongs to."""


class Quadratic:
    """Sums over time of terms that :meth:`fits`, of all agents, and their gradient.

    Args:
        patches: of the agents; terms: forms; state: u; parameters: constants of an episode.
    """

    def __init__(
        self,
        patches: Patches,
        terms: Sequence[ufl.Form],
        state: fem.Function,
        parameters: Sequence[fem.Constant],
    ) -> None:
        touched = _touched(patches, state)
        groups = [(group, _owners(touched, group)) for group in _apart(touched)]
        self._state = state
        self._terms = [_Term(patches, form, state, groups) for form in terms]
        self._parameters = [p for p in parameters if any(contains(form, p) for form in terms)]
        curvatures = [_curvature(form, state) for form in terms]
        self._of_curvature = [p for p in parameters if any(contains(k, p) for k in curvatures)]
        self._key: tuple[float, ...] | None = None
        self._curvature_key: tuple[float, ...] | None = None
        self._weight = 0.0
        self.refresh()

    @staticmethod
    def fits(form: ufl.Form, state: fem.Function, changing: Sequence[object]) -> bool:
        """Whether a form on one rank is quadratic in the state, with constant factors. Local.

        Args:
            changing: control and constants that change within an episode.
        """
        kinds = {integral.integral_type() for integral in form.integrals()}
        if not kinds <= {"cell", "exterior_facet"} or contains(form, *changing):
            return False
        curvature = _curvature(form, state)
        return empty(curvature) or not contains(curvature, state)

    def refresh(self) -> None:
        """Assemble the matrices anew where the parameters' values have changed."""
        key, curvature_key = constant_values(self._parameters), constant_values(self._of_curvature)
        if key == self._key:
            return
        #: of each term: (n_agents, n), (n_agents,), and products of (n_agents, pairs)
        self._slopes = [term.slope() for term in self._terms]
        self._values = [term.value() for term in self._terms]
        if curvature_key != self._curvature_key:
            self._assemble_products()
        self._key, self._curvature_key = key, curvature_key
        self.begin()

    def _assemble_products(self) -> None:
        n = len(self._state.x.array)
        curvatures = [term.curvature() for term in self._terms]
        pairs, columns = np.unique(np.concatenate([k.col for k in curvatures]), return_inverse=True)
        self._first, self._second = np.divmod(pairs, n)
        starts = np.cumsum([0, *(k.nnz for k in curvatures)])
        self._products = [
            sparse.csr_array((k.data, (k.row, columns[a:b])), shape=(k.shape[0], len(pairs)))
            for k, a, b in zip(curvatures, starts[:-1], starts[1:], strict=True)
        ]

    def begin(self) -> None:
        """Start an interval."""
        self._weight, self._sum = 0.0, np.zeros(len(self._state.x.array))
        self._pairs = np.zeros(len(self._first))

    def add(self, weight: float) -> None:
        """Add the present state as a time level."""
        u = self._state.x.array
        pairs = u[self._first]
        pairs *= u[self._second]
        self._weight += weight
        self._sum += u if weight == 1.0 else weight * u
        self._pairs += pairs if weight == 1.0 else weight * pairs

    def finish(self) -> list[np.ndarray]:
        """The sums (n_agents,) of every term over the levels since the interval's start."""
        parts = zip(self._products, self._slopes, self._values, strict=True)
        return [k @ self._pairs + s @ self._sum + self._weight * h for k, s, h in parts]

    def spread(self, weights: np.ndarray) -> None:
        """Give the agents weights (n_agents,), of :meth:`gradient`."""
        n = len(self._state.x.array)
        entries = sum(product.T @ weights for product in self._products)
        half = sparse.csr_array((entries, (self._first, self._second)), shape=(n, n))
        self._matrix = sparse.csr_array(half + half.T)
        self._vector = sum(slope.T @ weights for slope in self._slopes)

    def gradient(self) -> np.ndarray:
        """The derivative (n,) of the weighted terms at the present state."""
        return np.asarray(self._matrix @ self._state.x.array + self._vector)


class _Term:
    """The matrices of one term."""

    def __init__(
        self, patches: Patches, form: ufl.Form, state: fem.Function, groups: list[Group]
    ) -> None:
        self._patches, self._size, self._groups = patches, len(state.x.array), groups
        test = ufl.TestFunction(patches.space)
        trial = ufl.TrialFunction(state.function_space)
        cells, zero = weighted(form, test), ufl.zero(state.ufl_shape)
        slope = ufl.replace(
            ufl.algorithms.expand_derivatives(ufl.derivative(cells, state, trial)), {state: zero}
        )
        self._slope = None if empty(slope) else compiled(slope)
        self._value = patches.cells(ufl.replace(form, {state: zero}))
        curvature = _curvature(weighted(form, patches.weight), state)
        self._curvature = None if empty(curvature) else compiled(curvature)

    def value(self) -> np.ndarray:
        """h (n_agents,)."""
        return np.asarray(self._patches.matrix @ self._value())

    def slope(self) -> sparse.csr_array:
        """l (n_agents, n)."""
        agents = self._patches.agents
        if self._slope is None:
            return sparse.csr_array((agents, self._size))
        cells = fem.assemble_matrix(self._slope).to_scipy().tocsr()
        return sparse.csr_array(self._patches.matrix @ cells)

    def curvature(self) -> sparse.coo_array:
        """Half of K, of pairs (d, e) with d <= e: agents by d n + e, off-diagonal entries doubled.

        Agents whose cells meet in no degree of freedom are assembled together.
        """
        rows, columns, data = ([np.zeros(0, kind)] for kind in (int, np.int64, float))
        for group, owner in self._groups if self._curvature is not None else ():
            weights = np.zeros(self._patches.agents)
            weights[group] = 1.0
            self._patches.spread(weights)
            matrix = sparse.triu(fem.assemble_matrix(self._curvature).to_scipy()).tocoo()
            matrix.eliminate_zeros()
            rows.append(owner[matrix.row])
            columns.append(matrix.row.astype(np.int64) * self._size + matrix.col)
            data.append(np.where(matrix.row == matrix.col, 0.5, 1.0) * matrix.data)
        where = np.concatenate(rows), np.concatenate(columns)
        shape = self._patches.agents, self._size**2
        return sparse.coo_array((np.concatenate(data), where), shape=shape)


def _curvature(form: ufl.Form, state: fem.Function) -> ufl.Form:
    """The second derivative in the state."""
    space = state.function_space
    first = ufl.derivative(form, state, ufl.TestFunction(space))
    return ufl.derivative(first, state, ufl.TrialFunction(space))


def _touched(patches: Patches, state: fem.Function) -> sparse.csr_array:
    """(n_agents, n), not zero where a degree of freedom belongs to a cell of the agent."""
    dofs = cell_dofs(state.function_space, np.arange(patches.matrix.shape[1]))
    cells = np.repeat(np.arange(len(dofs)), dofs.shape[1])
    entries = sparse.csr_array(
        (np.ones(dofs.size), (cells, dofs.ravel())), shape=(len(dofs), len(state.x.array))
    )
    return sparse.csr_array(patches.matrix @ entries)


def _owners(touched: sparse.csr_array, group: list[int]) -> np.ndarray:
    """The agent of the group that touches each degree of freedom (n,), zero where none does."""
    owners = np.zeros(touched.shape[1], int)
    for agent in group:
        owners[touched[[agent]].indices] = agent
    return owners


def _apart(touched: sparse.csr_array) -> list[list[int]]:
    """Groups of agents of which no two touch the same degree of freedom."""
    near = sparse.csr_array(touched @ touched.T)
    groups: list[list[int]] = []
    for agent in range(near.shape[0]):
        beside = set(near[[agent]].indices)
        for group in groups:
            if beside.isdisjoint(group):
                group.append(agent)
                break
        else:
            groups.append([agent])
    return groups
