"""The pressure half of the projection scheme: gradient, divergence, and the increment's Laplacian.

On a mesh that does not move all three are constant: the Laplacian is factorised once, gradient and
divergence act on both velocity components in one product.
"""

import numpy as np
from dolfinx import la
from mpi4py import MPI

from hypemarl.config.keys import LinearSolver
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.solvers.flow_kernels import reference_products
from hypemarl.solvers.linear import constant_matrix, global_nodes, symmetric_solver
from hypemarl.solvers.taylor_hood import BoundaryFacets, TaylorHood


class PressureCorrection:
    """Solves lap f = coefficient div v with f = 0 on the open boundary, df/dn = 0 elsewhere.

    Without an open boundary f is fixed to zero at one node (``enclosed`` is then true).

    Args:
        space: Taylor-Hood spaces; open_facets: where fluid may leave; linear_solver: see
            :func:`~hypemarl.solvers.linear.symmetric_solver`.

    Collective.
    """

    def __init__(
        self, space: TaylorHood, open_facets: BoundaryFacets, linear_solver: LinearSolver
    ) -> None:
        self.space = space
        pressure = global_nodes(space.pressure_map, space.pressure_cells)
        p_size = (space.n_pressure, space.pressure_map.size_global)
        self._build_products(pressure, p_size)
        fixed = self._fixed_nodes(open_facets)
        self._fixed = fixed[fixed < space.n_pressure]
        dropped = np.where(np.isin(space.pressure_cells, fixed), -1, pressure)
        laplacian = np.einsum("c,cad,cbd->cab", space.volumes, space.gradients, space.gradients)
        unit = global_nodes(space.pressure_map, self._fixed[:, None]).ravel()
        self.laplacian = constant_matrix(
            space.comm, (p_size,) * 2, dropped, dropped, laplacian, unit
        )
        self._right, self._solution = self.laplacian.createVecs()
        self.energy = 0.0
        self.solver = symmetric_solver(self.laplacian, linear_solver, "flow_pressure_")

    def _build_products(self, pressure: np.ndarray, p_size: tuple[int, int]) -> None:
        """Matrices of the divergence and of its transpose, and a velocity vector. Collective."""
        space = self.space
        _, _, tensor = reference_products()
        slopes = np.einsum("kai,cad->ckid", tensor, space.gradients[:, 1:])
        entries = space.volumes[:, None, None, None] * slopes
        entries = entries.reshape(len(entries), 3, 12)
        velocity = global_nodes(space.velocity_map, space.velocity_cells, 2)
        v_size = (2 * space.n_velocity, 2 * space.velocity_map.size_global)
        comm = space.comm
        self._divergence = constant_matrix(comm, (p_size, v_size), pressure, velocity, entries)
        turned = np.swapaxes(entries, 1, 2).copy()
        self._gradient = constant_matrix(comm, (v_size, p_size), velocity, pressure, turned)
        self._velocity = self._gradient.createVecLeft()

    def weak_gradient(self, p: np.ndarray) -> np.ndarray:
        """(p, div phi) for all velocity functions (n_velocity, 2); p (n_pressure_local,).

        Collective; the result is a view that the next call overwrites.
        """
        self._right.array_w[:] = p[: self.space.n_pressure]
        self._gradient.mult(self._right, self._velocity)
        return self._velocity.array_w.reshape(-1, 2)

    def increment(self, v: np.ndarray, coefficient: float, out: np.ndarray) -> bool:
        """The increment f into ``out`` (n_pressure_local,), ghosts included; false on failure.

        ``v`` (n_velocity or more, 2). Afterwards ``energy`` is |grad f|^2 over the domain, the same
        on every rank. Collective.
        """
        space = self.space
        values = self.weak_divergence(v)
        values *= -coefficient
        values[self._fixed] = 0.0
        self.solver.solve(self._right, self._solution)
        out[: space.n_pressure] = self._solution.array_r
        space.update_pressure(out)
        self.energy = float(self._right.dot(self._solution))
        return int(self.solver.getConvergedReason()) > 0

    def weak_divergence(self, v: np.ndarray) -> np.ndarray:
        """(psi, div v) for all pressure functions (n_pressure,); the transpose of weak_gradient.

        ``v`` (n_velocity or more, 2). Collective; a view that the next call of any method
        overwrites.
        """
        self._velocity.array_w[:] = v[: self.space.n_velocity].ravel()
        self._divergence.mult(self._velocity, self._right)
        return self._right.array_w

    def increment_transposed(self, f: np.ndarray, coefficient: float) -> np.ndarray:
        """Cotangent of v (n_velocity, 2) in :meth:`increment`, where that of its result is ``f``.

        ``f`` (n_pressure or more,), owners' values. Collective; a view that the next call of any
        method overwrites.

        Raises:
            SolverDiverged: on every rank, when the linear solve fails.
        """
        self._right.array_w[:] = f[: self.space.n_pressure]
        self.solver.solve(self._right, self._solution)
        if int(self.solver.getConvergedReason()) <= 0:
            raise SolverDiverged("adjoint: the linear solver of the pressure failed")
        values = self._solution.array_w
        values *= -coefficient
        values[self._fixed] = 0.0
        return self.weak_gradient(values)

    def _fixed_nodes(self, open_facets: BoundaryFacets) -> np.ndarray:
        """Local P1 nodes of the open boundary, else the first node of all. Collective."""
        space = self.space
        marked = np.zeros(space.n_velocity_local, dtype=bool)
        marked[open_facets.nodes[:, :2]] = True
        # a vertex has one number among P2 nodes, another among P1 nodes
        marks = la.vector(space.pressure_map)
        marks.array[space.pressure_cells[marked[space.velocity_cells[:, :3]]]] = 1.0
        marks.scatter_reverse(la.InsertMode.add)
        self.enclosed = not space.comm.allreduce(int(marks.array.any()), MPI.MAX)
        if self.enclosed and space.pressure_map.local_range[0] == 0 and space.n_pressure:
            marks.array[0] = 1.0
        marks.scatter_forward()
        return np.flatnonzero(marks.array)
