"""Actuators of a problem: the control field of unit amplitude of each agent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from dolfinx import fem
from scipy import sparse

from hypemarl.coupling.layout import LayoutError
from hypemarl.mpi import sum_over_ranks
from hypemarl.systems.problem.agents import Places
from hypemarl.systems.problem.domain import Domain

SMALL = 1e-12  # entries below this share of the largest one are left out

Shape = Callable[[np.ndarray], np.ndarray]
"""Offsets from an agent (m, gdim) -> values (m,)."""


class Actuators:
    """control(x) = sum_i b_i q_i(x), with q_i a shape around the agent's position.

    Args:
        shape: offsets from the position (m, gdim) -> values (m,).
        part: the part of the mesh outside of which q_i is zero, such as a wall.
        axes: coordinates that the offset counts, by default all.
        mean_free: b_i is the amplitude a_i less the mean of all; otherwise b_i = a_i.
        limit: bound of |b_i|: where one is larger, all are scaled down by the same factor.

    Raises:
        LayoutError: the limit is not positive.
    """

    #: element of the control field where the problem states none
    element: tuple[str, int] | None = None

    def __init__(
        self,
        shape: Shape | None = None,
        *,
        part: str | None = None,
        axes: Sequence[int] | None = None,
        mean_free: bool = False,
        limit: float | None = None,
    ) -> None:
        if limit is not None:
            _require_positive("limit", limit)
        self.shape, self.part, self.axes = shape, part, axes
        self.mean_free, self.limit = mean_free, limit

    def matrix(self, space: fem.FunctionSpace, domain: Domain, places: Places) -> sparse.csr_array:
        """b (n * m,) -> values (n_local * m,) of the control, ghosts included. Collective.

        Raises:
            LayoutError: on every rank, where an agent's field is zero.
        """
        points = space.tabulate_dof_coordinates()
        values = self._values(points, domain, places)
        if self.part is not None:
            values[self._outside(space, domain)] = 0.0
        _require_fields(domain, values)
        values[np.abs(values) < SMALL * np.abs(values).max(initial=0.0)] = 0.0
        components = space.dofmap.index_map_bs
        return sparse.csr_array(sparse.kron(sparse.csr_array(values), sparse.eye_array(components)))

    def acting(self, amplitudes: np.ndarray) -> np.ndarray:
        """b (n, m) of amplitudes (n, m), see the class. Local."""
        acting = self._free(amplitudes)
        return acting if self.limit is None else acting * self._scale(acting)

    def pull_acting(self, amplitudes: np.ndarray, bar: np.ndarray) -> np.ndarray:
        """Cotangent (n, m) of the amplitudes from that of b. Local."""
        if self.limit is None:
            return self._free(bar)
        free = self._free(amplitudes)
        scale = self._scale(free)
        back = np.array(bar * scale)
        largest = np.abs(free).argmax(axis=0)
        for j in np.flatnonzero(scale < 1.0):
            i = largest[j]  # d scale / d free_i = -scale / free_i
            back[i, j] -= scale[j] / free[i, j] * (bar[:, j] @ free[:, j])
        return self._free(back)

    def _free(self, amplitudes: np.ndarray) -> np.ndarray:
        return amplitudes - amplitudes.mean(axis=0) if self.mean_free else amplitudes

    def _scale(self, free: np.ndarray) -> np.ndarray:
        """Factor (m,) of each component."""
        assert self.limit is not None
        return np.asarray(self.limit / np.maximum(np.abs(free).max(axis=0), self.limit))

    def _values(self, points: np.ndarray, domain: Domain, places: Places) -> np.ndarray:
        """(m, n) of all agents at points (m, 3)."""
        assert self.shape is not None
        columns = []
        for place in places.positions:
            offsets = domain.offsets(points, place)
            if self.axes is not None:
                offsets = offsets[:, list(self.axes)]
            columns.append(np.asarray(self.shape(offsets), dtype=np.float64))
        return np.stack(columns, axis=1)

    def _outside(self, space: fem.FunctionSpace, domain: Domain) -> np.ndarray:
        assert self.part is not None
        dim, entities = domain.entities(self.part)
        inside = fem.locate_dofs_topological(space, dim, entities)
        outside = np.ones(len(space.tabulate_dof_coordinates()), dtype=bool)
        outside[inside] = False
        return outside


class _Shaped(Actuators):
    """Shapes of a width; other arguments as of :class:`Actuators`.

    Raises:
        LayoutError: the width is not positive.
    """

    def __init__(
        self,
        width: float,
        *,
        part: str | None = None,
        axes: Sequence[int] | None = None,
        mean_free: bool = False,
        limit: float | None = None,
    ) -> None:
        _require_positive("width", width)
        self.width = width
        super().__init__(self._at, part=part, axes=axes, mean_free=mean_free, limit=limit)

    def _at(self, offsets: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class Bumps(_Shaped):
    """Gaussian bumps q_i(x) = exp(-|x - p_i|^2 / (2 width^2)); arguments as of Actuators."""

    def _at(self, offsets: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(-np.square(offsets).sum(axis=1) / (2.0 * self.width**2)))


class Hats(_Shaped):
    """Piecewise linear q_i(x) = product of max(0, 1 - |x_k - p_ik| / width) over the axes.

    With ``width`` the distance of neighbours they sum to one between them.
    """

    def _at(self, offsets: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip(1.0 - np.abs(offsets) / self.width, 0.0, None).prod(axis=1))


class Patches(Actuators):
    """q_i is one in the agent's own cells and zero elsewhere."""

    element = ("DG", 0)

    def __init__(self, *, mean_free: bool = False, limit: float | None = None) -> None:
        super().__init__(mean_free=mean_free, limit=limit)

    def _values(self, points: np.ndarray, domain: Domain, places: Places) -> np.ndarray:
        values = np.zeros((len(points), len(places.positions)))
        # the cells' own numbers are those of the points: one per cell, ghosts last
        values[np.arange(domain.n_cells), places.owners] = 1.0
        return values


class Fields(Actuators):
    """Any fields: ``function(x, positions) -> (n_points, n_agents)``, x of shape (3, n_points).

    Args:
        function: evaluated once; positions are (n_agents, gdim).
        part, mean_free, limit: as of Actuators.
    """

    def __init__(
        self,
        function: Callable[[np.ndarray, np.ndarray], np.ndarray],
        *,
        part: str | None = None,
        mean_free: bool = False,
        limit: float | None = None,
    ) -> None:
        super().__init__(part=part, mean_free=mean_free, limit=limit)
        self.function = function

    def _values(self, points: np.ndarray, domain: Domain, places: Places) -> np.ndarray:
        values = np.array(self.function(points.T, places.positions), dtype=np.float64)
        expected = (len(points), len(places.positions))
        if values.shape != expected:
            raise LayoutError(
                f"actuators: expected fields of shape {expected} (points, agents), got "
                f"{values.shape}"
            )
        return values


def _require_positive(name: str, value: float) -> None:
    if not value > 0:
        raise LayoutError(f"actuators: expected a positive {name}, got {value}")


def _require_fields(domain: Domain, values: np.ndarray) -> None:
    """Refuse fields that vanish at every node, or are not finite, on every rank. Collective."""
    largest = sum_over_ranks(domain.comm, np.abs(values).max(axis=0, initial=0.0))
    if not np.isfinite(largest).all():
        raise LayoutError("actuators: expected finite fields, got NaN or infinity")
    if (largest == 0.0).any():
        raise LayoutError(
            f"the actuators of agents {np.flatnonzero(largest == 0.0).tolist()} are zero at every "
            "node: take wider ones or a finer mesh"
        )
