"""Power of jets and of the flow through the ends of a channel, and its derivatives.

Per unit density, n out of the body into the fluid: jets add int (p + |u|^2/2) u . n - nu u . du/dn
to the fluid. Tractions of the residual on the nodes give it exactly, so that on the discrete level,
too, it balances dissipation nu ||grad u||^2, pumping through the ends and growth of kinetic energy.
Without a net mass flux it depends on no reference pressure. Pumps that recover nothing have to
supply the **gross** power, int max((p - p_ref + |u|^2/2) u . n, 0), which does: p_ref is the
inflow's mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from hypemarl.mpi import Comm, sum_over_ranks
from hypemarl.solvers.flow_kernels import Facets
from hypemarl.solvers.taylor_hood import EDGE_ENDS, BoundaryFacets, TaylorHood


class GrossPower:
    """Gross power of jets on the facets of a body.

    Args:
        space: of the flow; facets: of the body. Collective.
    """

    def __init__(self, space: TaylorHood, facets: BoundaryFacets) -> None:
        self.comm = space.comm
        self._facets = facets.for_kernels()
        self._ends = pressure_ends(space, facets)
        self._reference = _mean_over(space, space.facets("inflow"))

    def reference(self, pressure: np.ndarray) -> float:
        """Mean of ``pressure`` (n_pressure_local,) over the inflow. Collective."""
        return _over_ranks(self.comm, float(self._reference @ pressure))

    def corners(self, pressure: np.ndarray) -> np.ndarray:
        """Pressures (m, 2) at the ends of the facets. Local."""
        return np.asarray(pressure[self._ends])

    def evaluate(self, v: np.ndarray, corners: np.ndarray, reference: float) -> np.ndarray:
        """Gross power (m,) of every facet; ``v`` (n_velocity_local or more, 2). Local."""
        out = np.empty(len(corners))
        _gross_power(v, corners, reference, self._facets, out)
        return out

    def pull(
        self,
        bar: np.ndarray,
        v: np.ndarray,
        corners: np.ndarray,
        reference: float,
        bars: tuple[np.ndarray, np.ndarray],
    ) -> None:
        """Transpose of the derivative of :meth:`evaluate`, its reference included. Collective.

        ``bar`` (m,): cotangent of the power. Those of velocity (n, 2) and pressure
        (n_pressure_local,) are added to ``bars``, to ghosts as well.
        """
        v_bar, p_bar = bars
        corners_bar = np.zeros_like(corners)
        lost = _pull_gross_power(bar, v, corners, reference, self._facets, v_bar, corners_bar)
        np.add.at(p_bar, self._ends, corners_bar)
        p_bar += _over_ranks(self.comm, float(lost)) * self._reference


class Pumping:
    """Power int (p + |u|^2/2) u . n that enters through parts of the boundary, n into the fluid.

    Args:
        space: of the flow; tags: parts of its boundary, absent ones do not count. Collective.
    """

    def __init__(self, space: TaylorHood, tags: tuple[str, ...]) -> None:
        self.comm = space.comm
        parts = [space.facets(tag) for tag in tags if tag in space.tagged.tags]
        self._facets = [part.for_kernels() for part in parts]
        self._ends = [pressure_ends(space, part) for part in parts]

    def evaluate(self, v: np.ndarray, pressure: np.ndarray) -> float:
        """The power; ``v`` (n_velocity_local or more, 2). Collective."""
        total = 0.0
        for facets, ends in zip(self._facets, self._ends, strict=True):
            u = np.einsum("qk,mkx->mqx", facets.shapes, v[facets.nodes])
            p = pressure[ends] @ _linear(facets.shapes).T
            through = np.einsum("mqx,mx->mq", u, facets.normals)
            density = (p + 0.5 * (u**2).sum(axis=2)) * through
            total -= float(facets.lengths @ (density @ facets.weights))
        return _over_ranks(self.comm, total)


def pressure_ends(space: TaylorHood, facets: BoundaryFacets) -> np.ndarray:
    """P1 nodes (m, 2) at the ends of facets, in the order of their P2 nodes. Local."""
    return np.asarray(space.pressure_cells[facets.cells[:, None], EDGE_ENDS[facets.places]])


def _mean_over(space: TaylorHood, facets: BoundaryFacets) -> np.ndarray:
    """Weights (n_pressure_local,) of a P1 field's mean over facets of all ranks. Collective."""
    weights = np.zeros(space.n_pressure_local)
    np.add.at(weights, pressure_ends(space, facets), 0.5 * facets.lengths[:, None])
    return weights / _over_ranks(space.comm, float(facets.lengths.sum()))


def _over_ranks(comm: Comm, value: float) -> float:
    return float(sum_over_ranks(comm, np.array([value]))[0])


def _linear(shapes: np.ndarray) -> np.ndarray:
    """P1 functions (n_q, 2) of a facet's ends by its P2 functions (n_q, 3)."""
    return np.asarray(shapes[:, :2] + 0.5 * shapes[:, 2:])


class _Point(NamedTuple):
    """Velocity, its part into the fluid and total pressure at a quadrature point."""

    first: float
    second: float
    through: float
    head: float


@numba.njit(cache=True)
def _at(f: int, q: int, v: np.ndarray, corners: np.ndarray, p_ref: float, facets: Facets) -> _Point:
    first, second = 0.0, 0.0
    for k in range(3):
        first += facets.shapes[q, k] * v[facets.nodes[f, k], 0]
        second += facets.shapes[q, k] * v[facets.nodes[f, k], 1]
    half = 0.5 * facets.shapes[q, 2]
    head = (facets.shapes[q, 0] + half) * corners[f, 0]
    head += (facets.shapes[q, 1] + half) * corners[f, 1]
    head += 0.5 * (first * first + second * second) - p_ref
    through = -first * facets.normals[f, 0] - second * facets.normals[f, 1]
    return _Point(first, second, through, head)


@numba.njit(cache=True)
def _gross_power(
    v: np.ndarray, corners: np.ndarray, p_ref: float, facets: Facets, out: np.ndarray
) -> None:
    for f in range(len(out)):
        out[f] = 0.0
        for q in range(len(facets.weights)):
            point = _at(f, q, v, corners, p_ref, facets)
            power = point.head * point.through
            out[f] += facets.weights[q] * facets.lengths[f] * max(power, 0.0)


@numba.njit(cache=True)
def _pull_gross_power(
    bar: np.ndarray,
    v: np.ndarray,
    corners: np.ndarray,
    p_ref: float,
    facets: Facets,
    v_bar: np.ndarray,
    corners_bar: np.ndarray,
) -> float:
    """Adds to the cotangents of velocity and of pressures (m, 2); returns that of ``p_ref``."""
    lost = 0.0
    for f in range(len(bar)):
        for q in range(len(facets.weights)):
            first, second, through, head = _at(f, q, v, corners, p_ref, facets)
            if head * through <= 0.0:
                continue
            factor = bar[f] * facets.weights[q] * facets.lengths[f]
            head_bar, through_bar = factor * through, factor * head
            lost -= head_bar
            for k in range(3):
                shape, node = facets.shapes[q, k], facets.nodes[f, k]
                v_bar[node, 0] += shape * (head_bar * first - through_bar * facets.normals[f, 0])
                v_bar[node, 1] += shape * (head_bar * second - through_bar * facets.normals[f, 1])
                if k < 2:
                    corners_bar[f, k] += head_bar * (shape + 0.5 * facets.shapes[q, 2])
    return lost
