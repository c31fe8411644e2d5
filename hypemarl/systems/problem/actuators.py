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
    """control(x) = sum_i a_i q_i(x), with q_i a shape around the agent's position.

    Args:
        shape: offsets from the position (m, gdim) -> values (m,).
        part: the part of the mesh outside of which q_i is zero, such as a wall.
        axes: coordinates that the offset counts, by default all.
        mean_free: subtract the mean of all amplitudes.
    """

    #: element of the control field where the problem states none
    element: tuple[str, int] | None = None

    def __init__(
        self,
        shape: Shape,
        *,
        part: str | None = None,
        axes: Sequence[int] | None = None,
        mean_free: bool = False,
    ) -> None:
        self.shape, self.part, self.axes, self.mean_free = shape, part, axes, mean_free

    def matrix(self, space: fem.FunctionSpace, domain: Domain, places: Places) -> sparse.csr_array:
        """Amplitudes (n * m,) -> values (n_local * m,) of the control, ghosts included. Collective.

        Raises:
            LayoutError: on every rank, where an agent's field is zero.
        """
        points = space.tabulate_dof_coordinates()
        values = self._values(points, domain, places)
        if self.part is not None:
            values[self._outside(space, domain)] = 0.0
        _require_fields(domain, values)
        values[np.abs(values) < SMALL * np.abs(values).max(initial=0.0)] = 0.0
        matrix = sparse.csr_array(values)
        if self.mean_free:
            n = len(places.positions)
            matrix = sparse.csr_array(matrix @ (np.eye(n) - 1.0 / n))
        components = space.dofmap.index_map_bs
        return sparse.csr_array(sparse.kron(matrix, sparse.eye_array(components)))

    def _values(self, points: np.ndarray, domain: Domain, places: Places) -> np.ndarray:
        """(m, n) of all agents at points (m, 3)."""
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


class Bumps(Actuators):
    """Gaussian bumps q_i(x) = exp(-|x - p_i|^2 / (2 width^2)); arguments as of Actuators."""

    def __init__(
        self,
        width: float,
        *,
        part: str | None = None,
        axes: Sequence[int] | None = None,
        mean_free: bool = False,
    ) -> None:
        _require_width("Bumps", width)
        super().__init__(
            lambda offsets: np.exp(-np.square(offsets).sum(axis=1) / (2.0 * width**2)),
            part=part,
            axes=axes,
            mean_free=mean_free,
        )


class Hats(Actuators):
    """Piecewise linear q_i(x) = product of max(0, 1 - |x_k - p_ik| / width) over the axes.

    With ``width`` the distance of neighbours they sum to one between them.
    """

    def __init__(
        self,
        width: float,
        *,
        part: str | None = None,
        axes: Sequence[int] | None = None,
        mean_free: bool = False,
    ) -> None:
        _require_width("Hats", width)
        super().__init__(
            lambda offsets: np.clip(1.0 - np.abs(offsets) / width, 0.0, None).prod(axis=1),
            part=part,
            axes=axes,
            mean_free=mean_free,
        )


class Patches(Actuators):
    """q_i is one in the agent's own cells and zero elsewhere."""

    element = ("DG", 0)

    def __init__(self, *, mean_free: bool = False) -> None:
        super().__init__(lambda offsets: offsets[:, 0], mean_free=mean_free)

    def _values(self, points: np.ndarray, domain: Domain, places: Places) -> np.ndarray:
        values = np.zeros((len(points), len(places.positions)))
        # the cells' own numbers are those of the points: one per cell, ghosts last
        values[np.arange(domain.n_cells), places.owners] = 1.0
        return values


class Fields(Actuators):
    """Any fields: ``function(x, positions) -> (n_points, n_agents)``, x of shape (3, n_points).

    Args:
        function: evaluated once; positions are (n_agents, gdim). part, mean_free: as of Actuators.
    """

    def __init__(
        self,
        function: Callable[[np.ndarray, np.ndarray], np.ndarray],
        *,
        part: str | None = None,
        mean_free: bool = False,
    ) -> None:
        super().__init__(lambda offsets: offsets[:, 0], part=part, mean_free=mean_free)
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


def _require_width(name: str, width: float) -> None:
    if not width > 0:
        raise LayoutError(f"{name}: expected a positive width, got {width}")


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
