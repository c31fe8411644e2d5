"""The pressure half of the projection scheme: constant matrices, and a solver that suits them.

On a mesh that does not move gradient, divergence and the increment's Laplacian are constant: the
Laplacian is factorised once, gradient and divergence act on both velocity components in one
product.
"""

from typing import Any

import numpy as np
from dolfinx import la
from mpi4py import MPI
from petsc4py import PETSc

from hypemarl.config.keys import LinearSolver
from hypemarl.mpi import Comm
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.solvers.flow_kernels import reference_products
from hypemarl.solvers.taylor_hood import BoundaryFacets, TaylorHood

#: up to this many unknowns `auto` lets every rank hold the factors: a copy of the right side
#: travels faster than the parts of a triangular solve
REDUNDANT_UP_TO = 50_000
#: above this many unknowns `auto` prefers multigrid to a factorisation
ITERATIVE_ABOVE = 150_000


def global_nodes(index_map: Any, nodes: np.ndarray, block: int = 1) -> np.ndarray:
    """Global numbers of local ``nodes`` (n, k): (n, k block), components of a node together."""
    names = index_map.local_to_global(nodes.ravel().astype(np.int32)).reshape(nodes.shape)
    if block > 1:
        names = (block * names[:, :, None] + np.arange(block)).reshape(len(nodes), -1)
    return np.asarray(names)


def constant_matrix(
    comm: Comm,
    sizes: tuple[tuple[int, int], tuple[int, int]],
    rows: np.ndarray,
    columns: np.ndarray,
    entries: np.ndarray,
    unit: np.ndarray | None = None,
) -> Any:
    """The sum of element matrices. Collective.

    Args:
        sizes: (local, global) number of rows and of columns.
        rows, columns: (n, k), (n, l) global numbers, -1 where an entry is to be dropped.
        entries: (n, k, l) of this rank's elements; entries on other ranks' rows are sent there.
        unit: global rows that become those of the identity (each on one rank).
    """
    unit = np.zeros(0, dtype=np.int64) if unit is None else unit
    shape = entries.shape
    i = np.broadcast_to(rows[:, :, None], shape).ravel()
    j = np.broadcast_to(columns[:, None, :], shape).ravel()
    # petsc4py's annotations know neither mpi4py nor numpy
    matrix: Any = PETSc.Mat().create(comm)  # type: ignore[arg-type]
    matrix.setSizes(sizes)
    matrix.setType(PETSc.Mat.Type.AIJ)
    matrix.setPreallocationCOO(
        np.concatenate([i, unit]).astype(PETSc.IntType),
        np.concatenate([j, unit]).astype(PETSc.IntType),
    )
    matrix.setValuesCOO(np.concatenate([entries.ravel(), np.ones(len(unit))]))
    return matrix


def symmetric_solver(matrix: Any, choice: LinearSolver, prefix: str) -> Any:
    """Solver of a constant, symmetric, positive definite matrix, set up once. Collective.

    ``auto``: PETSc's own LU (nested dissection) on one rank. On several each rank holds a copy of
    the same factors up to REDUNDANT_UP_TO unknowns (on two ranks 0.15 ms for 3,800 and 6 ms for
    25,600 unknowns, where MUMPS takes 0.6 and 12), MUMPS shares them among the ranks beyond that;
    conjugate gradients with algebraic multigrid above ITERATIVE_ABOVE. PETSc's options with
    ``prefix`` override.

    Raises:
        ValueError: PETSc's own LU is asked for on several ranks.
    """
    several = matrix.comm.size > 1
    if choice == "auto":
        shared: LinearSolver = "redundant" if matrix.size[0] <= REDUNDANT_UP_TO else "mumps"
        choice = "iterative" if matrix.size[0] > ITERATIVE_ABOVE else shared if several else "lu"
    if choice == "lu" and several:
        raise ValueError(
            f"lu is PETSc's own factorisation and runs on one rank, here are {matrix.comm.size}; "
            "take redundant, mumps or auto"
        )
    solver = PETSc.KSP().create(matrix.comm)
    solver.setOptionsPrefix(prefix)
    solver.setOperators(matrix)
    preconditioner = solver.getPC()
    if choice == "iterative":
        solver.setType(PETSc.KSP.Type.CG)
        solver.setTolerances(rtol=1e-8, max_it=500)
        preconditioner.setType(PETSc.PC.Type.GAMG)
    elif choice == "redundant":
        solver.setType(PETSc.KSP.Type.PREONLY)
        preconditioner.setType(PETSc.PC.Type.REDUNDANT)
        options = PETSc.Options(prefix)
        for name, value in _REDUNDANT.items():
            if not options.hasName(name):
                options.setValue(name, value)
    else:
        use_factors(solver, "petsc" if choice == "lu" else "mumps")
    solver.setFromOptions()
    solver.setUp()
    return solver


def use_factors(solver: Any, package: str) -> None:
    """Let ``solver`` do nothing but apply the LU factors of a package (petsc, mumps). Local."""
    solver.setType(PETSc.KSP.Type.PREONLY)
    factors = solver.getPC()
    factors.setType(PETSc.PC.Type.LU)
    factors.setFactorSolverType(package)
    if package == "petsc":
        factors.setFactorOrdering("nd")


#: PETSc has no other way to name the solver inside this one
_REDUNDANT = {
    "redundant_ksp_type": "preonly",
    "redundant_pc_type": "lu",
    "redundant_pc_factor_mat_ordering_type": "nd",
}


class PressureCorrection:
    """Solves lap f = coefficient div v with f = 0 on the open boundary, df/dn = 0 elsewhere.

    Without an open boundary f is fixed to zero at one node (``enclosed`` is then true).

    Args:
        space: Taylor-Hood spaces; open_facets: where fluid may leave; linear_solver: see
            :func:`~hypemarl.solvers.pressure.symmetric_solver`.

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
