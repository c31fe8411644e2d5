"""The cost, its shares by agent and their derivatives; the shares sum to the cost to rounding.

J = int_0^T [ 1/2 ||y - y_d||^2 + w/2 ||y||^2_boundary + beta/2 ||u||^2 + beta_g/2 ||grad u||^2 ]
dt, space integrals exact for P1 fields, time integrals trapezoidal over the solver's time steps.
"""

from __future__ import annotations

import numpy as np

from hypemarl.coupling.layout import AgentLayout
from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.kernels import (
    Pieces,
    add_gradient_squares,
    add_gradient_squares_bar,
    add_squares,
    add_squares_bar,
)
from hypemarl.solvers.p1 import P1Space

TERMS = ("tracking", "boundary", "control", "control_gradient")


class DensityCost:
    """Accumulates the four terms of J per agent over one control interval.

    Args:
        space: nodal space; layout: owners of cells; boundary_weight, beta, beta_g: as in J.
    """

    def __init__(
        self,
        space: P1Space,
        layout: AgentLayout,
        boundary_weight: float,
        beta: float,
        beta_g: float,
    ) -> None:
        self.comm = space.comm
        self.gradients = space.gradients
        self.domain = Pieces(space.cells, space.volumes, layout.owners)
        owners = layout.owners[space.facet_cells]
        self.boundary = Pieces(space.facets, space.facet_measures, owners)
        self.boundary_weight, self.beta, self.beta_g = boundary_weight, beta, beta_g
        self._zero = np.zeros(space.n_local)
        self._shares = np.zeros((len(TERMS), layout.n_agents))

    def begin(self, u: np.ndarray, duration: float) -> None:
        """Start an interval of ``duration`` with constant control u (n_local, gdim). Local."""
        shares = self._shares
        shares[:] = 0.0
        for component in range(u.shape[1]):
            values = np.ascontiguousarray(u[:, component])
            add_squares(values, self._zero, *self.domain, 0.5 * self.beta * duration, shares[2])
        weight = 0.5 * self.beta_g * duration
        add_gradient_squares(u, self.gradients, self.domain, weight, shares[3])

    def add(self, y: np.ndarray, target: np.ndarray, weight: float) -> None:
        """Add the state's terms at one time level with its quadrature weight. Local."""
        add_squares(y, target, *self.domain, 0.5 * weight, self._shares[0])
        if self.boundary_weight:
            scaled = 0.5 * self.boundary_weight * weight
            add_squares(y, self._zero, *self.boundary, scaled, self._shares[1])

    def finish(self) -> np.ndarray:
        """The terms (len(TERMS), n_agents) of the interval, identical on every rank. Collective."""
        return sum_over_ranks(self.comm, self._shares)

    def pull(
        self,
        y: np.ndarray,
        target: np.ndarray,
        weight: float,
        shares_bar: np.ndarray,
        y_bar: np.ndarray,
    ) -> None:
        """Transpose of :meth:`add`: by ``shares_bar`` (n_agents,), added to ``y_bar``. Local."""
        add_squares_bar(y, target, self.domain, 0.5 * weight, shares_bar, y_bar)
        if self.boundary_weight:
            scaled = 0.5 * self.boundary_weight * weight
            add_squares_bar(y, self._zero, self.boundary, scaled, shares_bar, y_bar)

    def pull_control(
        self, u: np.ndarray, duration: float, shares_bar: np.ndarray, u_bar: np.ndarray
    ) -> None:
        """Transpose of :meth:`begin`, added to ``u_bar`` (n_local, gdim). Local."""
        weight = 0.5 * self.beta * duration
        for component in range(u.shape[1]):
            values, bar = np.ascontiguousarray(u[:, component]), np.zeros(len(u))
            add_squares_bar(values, self._zero, self.domain, weight, shares_bar, bar)
            u_bar[:, component] += bar
        weight = 0.5 * self.beta_g * duration
        add_gradient_squares_bar(u, self.gradients, self.domain, weight, shares_bar, u_bar)
