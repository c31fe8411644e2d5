"""A Taylor-Hood velocity from an old mesh to a new one of the same polygon, free of divergence.

The old velocity is evaluated at the new nodes (third order) and then moved by the least change, in
L2, to one whose divergence no pressure of the new mesh sees:

    min |v - v_0|^2  subject to  (q, div v) = 0 for all q,  v = v_0 on the boundary.

The pressure of that problem solves D M^-1 D^T p = D v_0 by conjugate gradients, with the Laplacian,
which D M^-1 D^T resembles, as preconditioner.
"""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, SuperLU, cg

from hypemarl.meshing.morphing import CellGrid, factorised
from hypemarl.meshing.morphing.extension import assembled, local_masses
from hypemarl.solvers.flow_kernels import reference_products
from hypemarl.solvers.p1 import barycentric_gradients
from hypemarl.solvers.taylor_hood import EDGE_ENDS, TaylorHood, quadratics

RESIDUAL = 1e-12
"""Of the conjugate gradients, in units of the divergence before."""
ITERATIONS = 500


class VelocityTransfer:
    """Moves velocities from one mesh to another; built once per pair of meshes. Serial.

    Coordinates are those that the meshes have now, so that a moved mesh may be the old one.

    Args:
        old, new: spaces on meshes of the same polygon, with the same nodes on its boundary.
        fixed: (2, n_velocity) of ``new``, mask of the components that are boundary values.

    Raises:
        NotImplementedError: on every rank, with more ranks than one.
        ValueError: the meshes are not of the same polygon.
    """

    def __init__(self, old: TaylorHood, new: TaylorHood, fixed: np.ndarray) -> None:
        for space in (old, new):
            if space.comm.size > 1:
                raise NotImplementedError(
                    f"VelocityTransfer is serial: expected meshes on one rank, got one on "
                    f"{space.comm.size}; remesh on one rank, or let the mesh limit the shape"
                )
        corners = _corners(new)
        nodes = np.empty((new.n_velocity, 2))
        nodes[new.velocity_cells[:, :3]] = corners
        nodes[new.velocity_cells[:, 3:]] = corners[:, EDGE_ENDS].mean(axis=2)
        cells, places = CellGrid(_corners(old)).locate(nodes)
        if places.min() < -1e-6:
            raise ValueError(
                f"VelocityTransfer: the node {nodes[places.min(axis=1).argmin()].tolist()} of the "
                f"new mesh lies outside the old one; expected meshes of the same polygon"
            )
        self._nodes, self._weights = old.velocity_cells[cells], quadratics(places)
        vertices = np.empty(new.n_pressure, dtype=np.int64)  # among the P2 nodes
        vertices[new.pressure_cells] = new.velocity_cells[:, :3]
        self._corners, self._shares = old.pressure_cells[cells[vertices]], places[vertices]
        self._free = ~fixed
        self.divergence_matrix, self._mass = _matrices(new, corners)
        self._parts = [self._part(component) for component in range(2)]
        self._preconditioner = self._laplacian(new, corners)

    def __call__(self, velocity: np.ndarray) -> np.ndarray:
        """Velocity (2, n_velocity_old) -> (2, n_velocity_new), without divergence.

        Raises:
            RuntimeError: the conjugate gradients do not converge.
        """
        result = self.interpolate(velocity)
        divergence = self.divergence(result)
        shape = (len(divergence), len(divergence))
        pressure, failed = cg(
            LinearOperator(shape, matvec=self._schur),
            divergence,
            rtol=RESIDUAL,
            atol=0.0,
            maxiter=ITERATIONS,
            M=LinearOperator(shape, matvec=self._preconditioner.solve),
        )
        if failed:
            raise RuntimeError(
                f"VelocityTransfer: no solution within {ITERATIONS} iterations; where the velocity "
                f"is prescribed on the whole boundary, its flux through it must be zero"
            )
        for component, (rows, transposed, factors) in enumerate(self._parts):
            result[component, rows] -= factors.solve(transposed @ pressure)
        return result

    def interpolate(self, velocity: np.ndarray) -> np.ndarray:
        """The old velocity at the new nodes (2, n_velocity_new)."""
        return np.einsum("ckn,kn->ck", velocity[:, self._nodes], self._weights)

    def interpolate_pressure(self, pressure: np.ndarray) -> np.ndarray:
        """The old pressure (n_pressure_old,) at the new vertices (n_pressure_new,)."""
        return np.einsum("kn,kn->k", pressure[self._corners], self._shares)

    def divergence(self, velocity: np.ndarray) -> np.ndarray:
        """Integrals (n_pressure,) of the pressure functions times div v, v on the new mesh."""
        return self.divergence_matrix @ velocity.ravel()

    def _part(self, component: int) -> tuple[np.ndarray, sparse.csr_matrix, SuperLU]:
        """Free nodes of a component, their columns of D transposed, factors of their mass."""
        rows = np.flatnonzero(self._free[component])
        columns = self.divergence_matrix[:, component * self._free.shape[1] + rows]
        return rows, columns.T.tocsr(), factorised(self._mass[rows][:, rows])

    def _schur(self, pressure: np.ndarray) -> np.ndarray:
        return sum(  # type: ignore[return-value]
            transposed.T @ factors.solve(transposed @ pressure)
            for _, transposed, factors in self._parts
        )

    def _laplacian(self, space: TaylorHood, corners: np.ndarray) -> SuperLU:
        """Stiffness of the pressure, shifted a little: its constants have none."""
        gradients, areas = _geometry(corners)
        stiffness = np.einsum("n,nai,nbi->nab", areas, gradients, gradients)
        local = stiffness + local_masses(areas) / areas.sum()
        size = (space.n_pressure, space.n_pressure)
        return factorised(assembled(local, space.pressure_cells, space.pressure_cells, size))


def _corners(space: TaylorHood) -> np.ndarray:
    """Corners (M, 3, 2) of the cells where they are now, anticlockwise or not."""
    geometry = space.mesh.geometry
    return geometry.x[geometry.dofmaps[0][: len(space.velocity_cells)], :2]


def _geometry(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = corners[:, 1:] - corners[:, :1]
    return barycentric_gradients(corners), 0.5 * np.abs(np.linalg.det(edges))


def _matrices(
    space: TaylorHood, corners: np.ndarray
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """D (n_pressure, 2 n_velocity), x components first, and the mass of one component."""
    gradients, areas = _geometry(corners)
    linear = local_masses(areas)  # of lambda_a lambda_b
    # grad of lambda (2 lambda - 1), and of 4 lambda_i lambda_j, times lambda_a
    vertices = 4.0 * linear - areas[:, None, None] / 3.0
    first, second = EDGE_ENDS.T
    parts = []
    for axis in range(2):
        slopes = gradients[:, None, :, axis]
        edges = (
            linear[:, :, first] * slopes[:, :, second] + linear[:, :, second] * slopes[:, :, first]
        )
        local = np.concatenate([vertices * slopes, 4.0 * edges], axis=2)
        size = (space.n_pressure, space.n_velocity)
        parts.append(assembled(local, space.pressure_cells, space.velocity_cells, size))
    mass = areas[:, None, None] * reference_products()[0]
    square = (space.n_velocity, space.n_velocity)
    return (
        sparse.hstack(parts).tocsr(),
        assembled(mass, space.velocity_cells, space.velocity_cells, square),
    )
