"""Direct factorisations that are kept, renewed on demand, and checked before they are trusted."""

import weakref

import numpy as np
from mpi4py import MPI
from petsc4py import PETSc

from hypemarl.meshing import TaggedMesh
from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.pressure import use_factors

MUMPS_SETTINGS = {
    6: 0,  # the analysis looks at the pattern only: factors do not depend on earlier values
    14: 50,  # per cent of memory beyond the estimate: a saddle point delays pivots
}
ACCURACY = 1e-6  # largest residual of a factorisation's first solution, in units of its right side


def direct_package(choice: str, ranks: int) -> str:
    """PETSc's name of the package for a saddle point: "mumps" or "petsc".

    PETSc's own LU does not pivot: it finds zero pivots or not as the ordering has it. MUMPS pivots
    and is faster here, on one rank as well.

    Raises:
        ValueError: the choice is unknown or cannot be had.
    """
    if choice not in ("auto", "lu", "mumps"):
        raise ValueError(
            f"linear_solver: a steady flow needs a factorisation, expected auto, mumps or lu, "
            f"got {choice!r}"
        )
    if choice == "lu" and ranks > 1:
        raise ValueError("linear_solver=lu: PETSc's own LU runs on one rank; take mumps or auto")
    if choice == "lu":
        return "petsc"
    if PETSc.Sys.hasExternalPackage("mumps"):
        return "mumps"
    if choice == "auto" and ranks == 1:
        return "petsc"
    raise ValueError("linear_solver: this PETSc was built without MUMPS, which several ranks need")


class Factorisation:
    """LU factors of a matrix as it was at the last :meth:`update`, however it changes later.

    Args:
        matrix: assembled later, its sparsity is final; package: "mumps" or "petsc".

    Collective.
    """

    def __init__(self, matrix: PETSc.Mat, package: str, comm: MPI.Intracomm) -> None:
        self._matrix, self._comm = matrix, comm
        self._solver = PETSc.KSP().create(comm)  # type: ignore[arg-type]
        use_factors(self._solver, package)
        self._package = package
        self._right, self._left = matrix.createVecRight(), matrix.createVecLeft()
        self._analysed = self._checked = False

    def update(self) -> None:
        """Factorise the matrix as it is now. Collective.

        The pattern is analysed the first time only. Errors show in the first :meth:`solve`.
        """
        self._solver.getPC().setReusePreconditioner(False)
        self._solver.setOperators(self._matrix)
        if self._package == "mumps" and not self._analysed:
            self._solver.getPC().setFactorSetUpSolverType()
            for number, value in MUMPS_SETTINGS.items():
                self._solver.getPC().getFactorMatrix().setMumpsIcntl(number, value)
        self._analysed = True
        self._solver.setUp()
        self._solver.getPC().setReusePreconditioner(True)
        self._checked = False

    def solve(self, right: np.ndarray, *, transposed: bool = False) -> np.ndarray | None:
        """Solution (n_owned,) for a right-hand side (n_owned,), a new array. Collective.

        ``transposed``: of the transposed matrix, by the same factors. None, on every rank, when the
        first solution after an update is not one: packages were seen to return wrong numbers
        without a word.
        """
        self._left.array_w[:] = right
        solve = self._solver.solveTranspose if transposed else self._solver.solve
        solve(self._left, self._right)
        solution = self._right.array_r.copy()
        if not self._checked:
            self._checked = True
            if not self._accurate(right, transposed):
                return None
        return solution

    def _accurate(self, right: np.ndarray, transposed: bool) -> bool:
        product = self._left.duplicate()
        multiply = self._matrix.multTranspose if transposed else self._matrix.mult
        multiply(self._right, product)
        wrong = product.array_r - right
        error, size = np.sqrt(sum_over_ranks(self._comm, np.array([wrong @ wrong, right @ right])))
        product.destroy()
        return bool(error <= ACCURACY * size)


class Abandoned:
    """Frees PETSc objects of solvers that nobody uses any more, each on a mesh of its own.

    Destroying a matrix or a solver is collective, and Python drops it on each rank at another time:
    on several ranks petsc4py therefore keeps it, on the communicator of its mesh, until all ranks
    ask PETSc to clean up there. On one rank it is destroyed at once, and nothing happens here.
    """

    def __init__(self) -> None:
        self._watched: list[tuple[TaggedMesh, weakref.ref]] = []

    def watch(self, tagged: TaggedMesh, solver: object) -> None:
        """Clean up after ``solver``, the only one on that mesh, once it is gone. Local."""
        if tagged.mesh.comm.size > 1:
            self._watched.append((tagged, weakref.ref(solver)))

    def free(self) -> None:
        """Clean up after the solvers that are gone on every rank. Collective."""
        kept = []
        for tagged, solver in self._watched:
            comm = tagged.mesh.comm
            if comm.allreduce(int(solver() is None)) == comm.size:
                PETSc.garbage_cleanup(comm)
            else:
                kept.append((tagged, solver))
        self._watched = kept
