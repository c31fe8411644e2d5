"""Numbers and fields of a flow: energy, dissipation, vorticity, frequency, forces on walls.

Tractions on walls come from the residual of the momentum equation: tested with the functions of the
wall's nodes, it is the integral of the traction, as accurate as the flow's energy, where gradients
taken at the surface lose an order (Babuska and Miller, Int. J. Numer. Methods Engrg. 20 (1984)
1085; John and Matthies, Int. J. Numer. Methods Fluids 37 (2001) 885, for the DFG cylinder). Where
fluid passes a wall at rest, the force on the body also has the momentum that it carries.
"""

import numba
import numpy as np
from dolfinx import la
from numpy import ndarray as Array

from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers import flow_adjoint_kernels as adjoint_kernels
from hypemarl.solvers import flow_kernels as kernels
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
        self._mass, _, _ = kernels.reference_products()
        self._slopes = kernels.corner_slopes()
        self.renew()

    def renew(self) -> None:
        """Take over the geometry of a space whose nodes have moved. Collective."""
        self._stiffness = kernels.cell_stiffness(self.space.volumes, self.space.gradients)
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
        adjoint_kernels.pull_quadratic_forms(
            factors, v, self.space.velocity_cells, self._stiffness, v_bar
        )

    def dissipation(self, velocity: np.ndarray, viscosity: float) -> float:
        """nu times the integral of |grad v|^2 over the domain. Collective."""
        return viscosity * self._total(self.gradient_squares(velocity).sum())

    def kinetic_energy(self, velocity: np.ndarray) -> float:
        """Half the integral of |v|^2. Collective."""
        values = velocity[:, self.space.velocity_cells]
        squares = np.einsum("dci,ij,dcj->c", values, self._mass, values)
        return self._total(0.5 * float(squares @ self.space.volumes))

    def vorticity(self, velocity: np.ndarray) -> np.ndarray:
        """dv_y/dx - dv_x/dy at the vertices, averaged over cells by volume. Collective.

        Shape (n_pressure_local,), ghosts up to date.
        """
        values = velocity[:, self.space.velocity_cells]
        reference = np.einsum("kai,dci->ckda", self._slopes, values)
        # dv_d/dx_e at the corners of the cells
        slopes = np.einsum("ckda,cae->ckde", reference, self.space.gradients[:, 1:])
        curl = slopes[:, :, 1, 0] - slopes[:, :, 0, 1]
        weighted = curl * (self.space.volumes[:, None] / 3.0)
        return self._sum_at_nodes(weighted) / self._nodal_volume

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


class WallForces:
    """Nodal forces on the nodes of walls. Collective.

    Args:
        space: Taylor-Hood spaces; walls: (n_velocity_local,) bool, nodes with forces, where
            the velocity is prescribed.
    """

    def __init__(self, space: TaylorHood, walls: Array) -> None:
        cells = np.flatnonzero(walls[space.velocity_cells].any(axis=1))
        mass, _, divergence = kernels.reference_products()
        self.space, self.cells = space, cells
        self._elements = kernels.WallElements(
            space.velocity_cells[cells],
            space.pressure_cells[cells],
            space.volumes[cells],
            space.gradients[cells],
            mass,
            kernels.cell_stiffness(space.volumes[cells], space.gradients[cells]),
            kernels.reference_convection(),
            divergence,
        )
        self._closed = facets = space.exterior(walls, closed=True)
        self._facets = facets.for_kernels()
        self._closed_nodes = np.unique(facets.nodes)
        self._rigid = np.zeros(len(cells))
        touched = np.unique(space.velocity_cells[cells])
        self._inner = touched[~walls[touched]]
        self._forces = np.zeros((space.n_velocity_local, 2))
        self._momentum = np.zeros((space.n_velocity_local, 2))

    def renew(self) -> None:
        """Geometry where the nodes of ``space`` are now, in place. Local."""
        elements = self._elements
        elements.volumes[:] = self.space.volumes[self.cells]
        elements.gradients[:] = self.space.gradients[self.cells]
        elements.stiffness[:] = kernels.cell_stiffness(elements.volumes, elements.gradients)
        self._closed.renew(self.space)

    def evaluate(
        self,
        rate: Array,
        v: Array,
        p: Array,
        viscosity: float,
        relative: Array | None = None,
        dilation: Array | None = None,
    ) -> Array:
        """Forces (n_velocity_local, 2) by this rank's cells, zero off the walls; a view. Local.

        ``rate`` and ``v`` (n_velocity_local or more, 2): time derivative and velocity; p
        (n_pressure_local,). The sum over nodes and ranks is the force on the body. On a moving mesh
        ``relative`` (n_velocity_local, 2) is the velocity less the mesh's, ``dilation`` (n_cells,)
        the divergence of the latter.
        """
        forces = self._forces
        forces[:] = 0.0
        w = v if relative is None else relative
        growth = self._rigid if dilation is None else dilation[self.cells]
        kernels.add_wall_forces(rate, v, w, p, growth, self._elements, viscosity, forces)
        kernels.add_wall_convection(v, w, self._facets, forces)
        forces[self._inner] = 0.0
        return forces

    def pull(
        self, forces_bar: Array, v: Array, viscosity: float, bars: tuple[Array, Array, Array]
    ) -> None:
        """Transpose of the derivative of :meth:`evaluate` at velocity ``v``. Local.

        ``forces_bar`` (n_velocity_local or more, 2): cotangent of the forces, zero off the walls,
        the same on every rank that holds a node. What it means for rate, velocity (n, 2) and
        pressure (n_pressure_local,) is added to ``bars``, by this rank's cells, to ghosts as well.
        """
        rate_bar, v_bar, p_bar = bars
        elements = self._elements
        adjoint_kernels.pull_wall_forces(forces_bar, v, elements, viscosity, rate_bar, v_bar, p_bar)
        geometry = (elements.nodes, elements.volumes, elements.gradients, elements.convection)
        adjoint_kernels.pull_convection(forces_bar, v, *geometry, v_bar)
        adjoint_kernels.pull_wall_convection(forces_bar, v, self._facets, v_bar)

    def momentum(self, v: Array) -> Array:
        """Momentum through walls at rest, on their nodes: -int (v . m) v phi, m into the fluid.

        ``v`` (n_velocity_local or more, 2). Returns (n_velocity_local, 2), by this rank's facets; a
        view. Added to :meth:`evaluate` it makes the force on the body. Local.
        """
        out = self._momentum
        out[self._closed_nodes] = 0.0
        kernels.add_wall_convection(v, v, self._facets, out)  # half of it, of the other sign
        out[self._closed_nodes] *= -2.0
        return out

    def pull_momentum(self, momentum_bar: Array, v: Array, v_bar: Array) -> None:
        """Transpose of the derivative of :meth:`momentum`, added to ``v_bar``, (n, 2). Local."""
        adjoint_kernels.pull_wall_convection(-2.0 * momentum_bar, v, self._facets, v_bar)
