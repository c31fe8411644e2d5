"""Numbers and derived fields of a flow: energy, dissipation, divergence, vorticity, frequency.

Forces stand in :mod:`hypemarl.solvers.wall_forces`, pressures at points in the callers' probes.
"""

import numba
import numpy as np
from dolfinx import la

from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.flow_adjoint_kernels import pull_quadratic_forms
from hypemarl.solvers.flow_kernels import cell_stiffness, corner_slopes, reference_products
from hypemarl.solvers.taylor_hood import TaylorHood


class FlowFunctionals:
    """Integrals of P2 velocity fields over cells, exact, and the P1 vorticity.

    Velocities are (2, n_velocity_local) with ghosts up to date. Values "per cell" are those of this
    rank's cells, so that an agent's share is a sum over the cells it owns and then over ranks.

    Args:
        space: Taylor-Hood spaces. Collective.
    """

    def __init__(self, space: TaylorHood) -> None:
        self.space, self.comm = space, space.comm
        self._mass, _, _ = reference_products()
        self._slopes = corner_slopes()
        self.renew()

    def renew(self) -> None:
        """Take over the geometry of a space whose nodes have moved. Collective."""
        self._stiffness = cell_stiffness(self.space.volumes, self.space.gradients)
        thirds = np.repeat(self.space.volumes[:, None] / 3.0, 3, axis=1)
        self._nodal_volume = self._sum_at_nodes(thirds)

    def gradient_squares(self, velocity: np.ndarray) -> np.ndarray:
        """Integral of |grad v|^2 over each cell, (n_cells,); dissipation is nu times it. Local."""
        out = np.empty(len(self._stiffness))
        _quadratic_forms(velocity, self.space.velocity_cells, self._stiffness, out)
        return out

    def pull_gradient_squares(self, factors: np.ndarray, v: np.ndarray, v_bar: np.ndarray) -> None:
        """Transpose of the derivative of :meth:`gradient_squares`. Local.

        Where the values have the cotangent ``factors`` (n_cells,), adds that of the velocity ``v``
        to ``v_bar``, both (n_velocity_local or more, 2), to ghosts as well.
        """
        pull_quadratic_forms(factors, v, self.space.velocity_cells, self._stiffness, v_bar)

    def dissipation(self, velocity: np.ndarray, viscosity: float) -> float:
        """nu times the integral of |grad v|^2 over the domain. Collective."""
        return viscosity * self._total(self.gradient_squares(velocity).sum())

    def kinetic_energy(self, velocity: np.ndarray) -> float:
        """Half the integral of |v|^2. Collective."""
        values = velocity[:, self.space.velocity_cells]
        squares = np.einsum("dci,ij,dcj->c", values, self._mass, values)
        return self._total(0.5 * float(squares @ self.space.volumes))

    def divergence_norm(self, velocity: np.ndarray) -> float:
        """L2 norm of div v, which is linear in each cell. Collective."""
        corners = self._corner_slopes(velocity)
        divergence = corners[:, :, 0, 0] + corners[:, :, 1, 1]
        squares = (divergence.sum(axis=1) ** 2 + (divergence**2).sum(axis=1)) / 12.0
        return float(np.sqrt(self._total(float(squares @ self.space.volumes))))

    def vorticity(self, velocity: np.ndarray) -> np.ndarray:
        """dv_y/dx - dv_x/dy at the vertices, averaged over cells by volume. Collective.

        Shape (n_pressure_local,), ghosts up to date.
        """
        corners = self._corner_slopes(velocity)
        curl = corners[:, :, 1, 0] - corners[:, :, 0, 1]
        weighted = curl * (self.space.volumes[:, None] / 3.0)
        return self._sum_at_nodes(weighted) / self._nodal_volume

    def _corner_slopes(self, velocity: np.ndarray) -> np.ndarray:
        """dv_d/dx_e at the corners of the cells, (n_cells, 3, d, e)."""
        values = velocity[:, self.space.velocity_cells]
        reference = np.einsum("kai,dci->ckda", self._slopes, values)
        return np.einsum("ckda,cae->ckde", reference, self.space.gradients[:, 1:])

    def _sum_at_nodes(self, at_corners: np.ndarray) -> np.ndarray:
        vector = la.vector(self.space.pressure_map)
        np.add.at(vector.array, self.space.pressure_cells, at_corners)
        vector.scatter_reverse(la.InsertMode.add)
        vector.scatter_forward()
        return vector.array.copy()

    def _total(self, part: float) -> float:
        return float(sum_over_ranks(self.comm, np.array([part]))[0])


def strouhal(lift: np.ndarray, time_step: float, length: float, speed: float) -> float:
    """Strouhal number f D / U from the upward zero crossings of the lift about its mean.

    Args:
        lift: (n,) samples at ``time_step``; length: D; speed: U.

    Returns NaN where there are fewer than two crossings. Local.
    """
    centred = lift - lift.mean()
    up = np.flatnonzero((centred[:-1] < 0) & (centred[1:] >= 0))
    if len(up) < 2:
        return float("nan")
    crossings = up - centred[up] / (centred[up + 1] - centred[up])
    period = (crossings[-1] - crossings[0]) / (len(crossings) - 1) * time_step
    return float(length / (period * speed))


@numba.njit(cache=True)
def _quadratic_forms(
    values: np.ndarray, cells: np.ndarray, matrices: np.ndarray, out: np.ndarray
) -> None:
    """out_c = sum over both components of v^T A_c v, A_c symmetric."""
    for c in range(len(cells)):
        total = 0.0
        for d in range(2):
            for i in range(6):
                value = values[d, cells[c, i]]
                total += matrices[c, i, i] * value * value
                for j in range(i + 1, 6):
                    total += 2.0 * matrices[c, i, j] * value * values[d, cells[c, j]]
        out[c] = total
