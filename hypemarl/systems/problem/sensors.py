"""Observed quantities of a problem and their transposes: means over patches, values at points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import basix
import numpy as np
import ufl
from dolfinx import fem, geometry, la
from scipy import sparse

from hypemarl.coupling.layout import LayoutError
from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.jit import JIT, compiled, contains
from hypemarl.systems.problem.domain import Domain
from hypemarl.systems.problem.functionals import Patches, cell_dofs, weighted


@dataclass(frozen=True, eq=False)
class PointValue:
    """Observe an expression at the agents' positions, rather than its mean over their patches.

    Attributes:
        expression: scalar, in UFL; offset: (gdim,) from the position, by default none.
    """

    expression: Any
    offset: Sequence[float] = ()


class Sensor(Protocol):
    """One observed number of every agent."""

    def __call__(self) -> np.ndarray:
        """Values (n,) at the present state. Collective."""

    def pull(self, bar: np.ndarray, state_bar: np.ndarray) -> None:
        """Add the transpose applied to ``bar`` (n,) to ``state_bar`` (n_owned,). Collective."""


class Mean:
    """Integral of a form over every agent's cells, divided by the measure of its domain there."""

    def __init__(
        self,
        patches: Patches,
        form: ufl.Form,
        state: fem.Function,
        constants: Sequence[fem.Constant] = (),
    ) -> None:
        self._patches, self._cells = patches, patches.cells(form)
        size = ufl.Form([item.reconstruct(ufl.as_ufl(1.0)) for item in form.integrals()])
        self._size = patches.total(patches.cells(size)())
        if not (self._size > 0).all():
            empty = np.flatnonzero(self._size <= 0).tolist()
            raise LayoutError(
                f"observations: the patches of agents {empty} have no part of the observed domain; "
                "observe it where all agents have some, or other quantities"
            )
        self._bar = patches.gradient(form, state)
        self._linear = self._matrix(form, state, constants)

    def _matrix(
        self, form: ufl.Form, state: fem.Function, constants: Sequence[fem.Constant]
    ) -> _Linear | None:
        """The means as a product with a matrix, where they are linear; on one rank."""
        patches, test = self._patches, ufl.TestFunction(self._patches.space)
        slope = ufl.derivative(weighted(form, test), state, ufl.TrialFunction(state.function_space))
        if patches.comm.size > 1 or contains(form, *constants) or contains(slope, state):
            return None
        state_now = state.x.array.copy()
        state.x.array[:] = 0.0
        rest = patches.total(self._cells()) / self._size
        state.x.array[:] = state_now
        cells = fem.assemble_matrix(compiled(slope)).to_scipy()
        matrix = sparse.csr_array(
            sparse.diags_array(1.0 / self._size) @ (patches.matrix @ sparse.csr_array(cells))
        )
        return _Linear(matrix, sparse.csr_array(matrix.T), rest, state.x.array)

    def __call__(self) -> np.ndarray:
        """See :class:`Sensor`."""
        if self._linear is not None:
            return np.asarray(self._linear.matrix @ self._linear.values + self._linear.rest)
        return np.asarray(self._patches.total(self._cells()) / self._size)

    def pull(self, bar: np.ndarray, state_bar: np.ndarray) -> None:
        """See :class:`Sensor`."""
        if self._linear is not None:
            state_bar += self._linear.transposed @ bar
            return
        self._patches.spread(bar / self._size)
        state_bar += self._bar()


class _Linear(NamedTuple):
    """Means of ``values``, those of the state: matrix @ values + rest."""

    matrix: sparse.csr_array
    transposed: sparse.csr_array
    rest: np.ndarray
    values: np.ndarray


class AtPoints:
    """An expression at one point for every agent, exact where it is a polynomial in the cell.

    It is evaluated at the nodes of a Lagrange element of degree ``degree`` in the point's cell.
    """

    def __init__(
        self, domain: Domain, points: np.ndarray, expression: Any, state: fem.Function, degree: int
    ) -> None:
        self._comm, self.n = domain.comm, len(points)
        self._mesh, space = domain.mesh, state.function_space
        self._agents, self._cells = _cells_at(domain, points)
        element = basix.create_element(
            basix.ElementFamily.P,
            getattr(basix.CellType, domain.mesh.topology.cell_name()),
            max(degree, 1),
            basix.LagrangeVariant.gll_warped,
        )
        self._weights = self._at(element, points[self._agents])
        nodes = element.points
        options = dict(JIT)
        self._values = fem.Expression(expression, nodes, jit_options=options)
        slope = ufl.derivative(expression, state, ufl.TrialFunction(space))
        self._slopes = fem.Expression(slope, nodes, jit_options=options)
        self._dofs = cell_dofs(space, self._cells)
        self._whole = la.vector(space.dofmap.index_map, space.dofmap.index_map_bs)

    def _at(self, element: Any, points: np.ndarray) -> np.ndarray:
        """Values (m, nodes) of the element's basis at one point in each cell."""
        maps, rows = self._mesh.geometry.cmaps[0], []
        x, nodes = self._mesh.geometry.x[:, : points.shape[1]], self._mesh.geometry.dofmaps[0]
        for cell, point in zip(self._cells, points, strict=True):
            inside = maps.pull_back(point[None], x[nodes[cell]])
            rows.append(element.tabulate(0, inside)[0, 0, :, 0])
        return np.array(rows).reshape(len(points), element.dim)

    def __call__(self) -> np.ndarray:
        """See :class:`Sensor`."""
        values = np.zeros(self.n)
        if len(self._cells):
            at_nodes = self._values.eval(self._mesh, self._cells).reshape(len(self._cells), -1)
            values[self._agents] = (self._weights * at_nodes).sum(axis=1)
        return sum_over_ranks(self._comm, values)

    def pull(self, bar: np.ndarray, state_bar: np.ndarray) -> None:
        """See :class:`Sensor`."""
        values = self._whole.array
        values[:] = 0.0
        if len(self._cells):
            shape = len(self._cells), self._weights.shape[1], -1
            slopes = self._slopes.eval(self._mesh, self._cells).reshape(shape)
            rows = np.einsum("c,cp,cpd->cd", bar[self._agents], self._weights, slopes)
            np.add.at(values, self._dofs, rows)
        if self._comm.size > 1:
            self._whole.scatter_reverse(la.InsertMode.add)
        state_bar += values[: len(state_bar)]


def _cells_at(domain: Domain, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points whose lowest-ranked cell is on this rank, and these cells. Collective.

    Raises:
        LayoutError: on every rank: a point lies outside of the mesh.
    """
    whole = np.zeros((len(points), 3))
    whole[:, : domain.gdim] = points
    here = np.arange(domain.n_cells, dtype=np.int32)
    tree = geometry.bb_tree(domain.mesh, domain.tdim, padding=1e-10, entities=here)
    near = geometry.compute_collisions_points(tree, whole)
    found = geometry.compute_colliding_cells(domain.mesh, near, whole)
    cells = np.array([links[0] if len(links := found.links(k)) else -1 for k in range(len(points))])
    ranks = np.array(domain.comm.allgather(cells >= 0))
    if not ranks.any(axis=0).all():
        lost = int(np.flatnonzero(~ranks.any(axis=0))[0])
        raise LayoutError(
            f"observations: the point {points[lost].tolist()} of agent {lost} is outside the mesh"
        )
    agents = np.flatnonzero(ranks.argmax(axis=0) == domain.comm.rank)
    return agents, cells[agents].astype(np.int32)


def make(
    item: Any,
    domain: Domain,
    patches: Patches,
    state: fem.Function,
    positions: np.ndarray,
    degree: int,
    constants: Sequence[fem.Constant] = (),
) -> Sensor:
    """The sensor of an entry of ``Problem.observe``: a form, a point value or an expression.

    Raises:
        LayoutError: an expression is not scalar, or a place is empty.
    """
    value = item.expression if isinstance(item, PointValue) else item
    if not isinstance(value, ufl.Form):
        value = ufl.as_ufl(value)
        if value.ufl_shape != ():
            raise LayoutError(
                f"observe: expected scalar expressions, got one of shape {value.ufl_shape}; take "
                "its components one by one"
            )
    if isinstance(item, PointValue):
        points = positions + np.asarray(item.offset or np.zeros(domain.gdim))
        return AtPoints(domain, points, value, state, degree)
    if not isinstance(value, ufl.Form):
        value = value * domain.measure("dx", None)
    return Mean(patches, value, state, constants)
