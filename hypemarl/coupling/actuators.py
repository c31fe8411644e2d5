"""Amplitudes -> control field: u(x) = sum_i psi_i(x) a_i, a constant sparse operator."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from hypemarl.coupling.layout import LayoutError

REACH = 1e-6
"""Smallest sum of the blends of the agents at a point, where some boxes have no agent."""


class BlendActuators:
    """A smooth partition of unity over a grid of agents: sum_i psi_i = 1, psi_i(p_i) = 1.

    psi_i is a product over the axes of smoothstep blends between neighbouring agent positions,
    constant beyond the outermost ones: u is continuously differentiable, |u| <= max |a_i| in every
    component, and neighbours that agree leave grad u = 0 between them.

    Args:
        points: (n_points, gdim) of the field.
        grid: agents per axis, C order.
        positions: (n, gdim) agent positions on that grid.
        places: boxes with an agent, by default all. The blends of the others are spread over these
            in proportion and still sum to one.

    Raises:
        LayoutError: a point is beyond the reach of all agents.
    """

    def __init__(
        self,
        points: np.ndarray,
        grid: Sequence[int],
        positions: np.ndarray,
        places: np.ndarray | None = None,
    ) -> None:
        self.n_agents = len(positions) if places is None else len(places)
        table = positions.reshape(*grid, -1)
        psi = np.ones((len(points), 1))
        for axis in range(len(grid)):
            first = tuple(slice(None) if a == axis else 0 for a in range(len(grid)))
            blend = axis_blend(points[:, axis], table[(*first, axis)])
            psi = (psi[:, :, None] * blend[:, None, :]).reshape(len(points), -1)
        if places is not None and len(places) < psi.shape[1]:
            psi = _spread(psi[:, places], points)
        self.matrix = sparse.csr_array(psi)

    def field(self, amplitudes: np.ndarray) -> np.ndarray:
        """Velocities (n_points, components) of ``amplitudes`` (n, components). Local."""
        return self.matrix @ amplitudes

    def transposed(self, sensitivities: np.ndarray) -> np.ndarray:
        """B^T times nodal sensitivities (n_points, components): (n, components). Local."""
        return self.matrix.T @ sensitivities


def _spread(psi: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Blends (m, n) with rows that sum to one."""
    sums = psi.sum(axis=1, keepdims=True)
    far = np.flatnonzero(sums[:, 0] < REACH)
    if len(far):
        raise LayoutError(
            f"{len(far)} nodes, the first one at {points[far[0]].round(4).tolist()}, are beyond "
            "the reach of all agents; take more agents per axis or smaller cells"
        )
    return psi / sums


def smoothstep(t: np.ndarray | float) -> np.ndarray:
    """t^2 (3 - 2 t) on [0, 1], constant outside: C1, and s(t) + s(1 - t) = 1."""
    clipped = np.clip(t, 0.0, 1.0)
    return clipped * clipped * (3.0 - 2.0 * clipped)


def axis_blend(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Blending functions of sorted ``centres`` (k,) at ``x`` (m,): rows of (m, k) sum to one."""
    if len(centres) == 1:
        return np.ones((len(x), 1))
    left = np.clip(np.searchsorted(centres, x, side="right") - 1, 0, len(centres) - 2)
    step = smoothstep((x - centres[left]) / (centres[left + 1] - centres[left]))
    blend = np.zeros((len(x), len(centres)))
    rows = np.arange(len(x))
    blend[rows, left] = 1.0 - step
    blend[rows, left + 1] = step
    return blend
