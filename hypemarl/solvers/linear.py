"""Constant PETSc matrices from element arrays, and the solver that suits their size."""

from typing import Any

import numpy as np
from petsc4py import PETSc

from hypemarl.config.keys import LinearSolver
from hypemarl.mpi import Comm

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
