"""Forces of the fluid on walls, from the residual of the momentum equation.

Tested with the functions of the wall's nodes, the residual is the integral of the traction: as
accurate as the flow's energy, where gradients taken at the surface lose an order (Babuska and
Miller, Int. J. Numer. Methods Engrg. 20 (1984) 1085; John and Matthies, Int. J. Numer. Methods
Fluids 37 (2001) 885, for the DFG cylinder).
"""

import numpy as np

from hypemarl.solvers import flow_adjoint_kernels as adjoint_kernels
from hypemarl.solvers import flow_kernels as kernels
from hypemarl.solvers.taylor_hood import TaylorHood


class WallForces:
    """Nodal forces on the nodes of walls. Collective.

    Args:
        space: Taylor-Hood spaces; walls: (n_velocity_local,) bool, nodes with forces, where
            the velocity is prescribed.
    """

    def __init__(self, space: TaylorHood, walls: np.ndarray) -> None:
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
        self._rigid = np.zeros(len(cells))
        touched = np.unique(space.velocity_cells[cells])
        self._inner = touched[~walls[touched]]
        self._forces = np.zeros((space.n_velocity_local, 2))

    def renew(self) -> None:
        """Geometry where the nodes of ``space`` are now, in place. Local."""
        elements = self._elements
        elements.volumes[:] = self.space.volumes[self.cells]
        elements.gradients[:] = self.space.gradients[self.cells]
        elements.stiffness[:] = kernels.cell_stiffness(elements.volumes, elements.gradients)
        self._closed.renew(self.space)

    def evaluate(
        self,
        rate: np.ndarray,
        v: np.ndarray,
        p: np.ndarray,
        viscosity: float,
        relative: np.ndarray | None = None,
        dilation: np.ndarray | None = None,
    ) -> np.ndarray:
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
        self,
        forces_bar: np.ndarray,
        v: np.ndarray,
        viscosity: float,
        bars: tuple[np.ndarray, np.ndarray, np.ndarray],
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
