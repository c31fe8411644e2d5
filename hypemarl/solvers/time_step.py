"""One implicit time step of a PDE that is given as a UFL residual, and its transpose.

    F(u; known) = 0,  u = u^{n+1},  known: u^n, u^{n-1}, control and constants

The form decides: where dF/du is constant it is factorised once, for the transposed solves too;
where F is linear in u a step is one solve; else Newton iterations (Deuflhard, Newton Methods for
Nonlinear Problems, 2011, ch. 2) with a line search, whose matrix is kept while they converge fast.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import ufl
from dolfinx.fem import Constant, DirichletBC, Function
from petsc4py import PETSc

from hypemarl.mpi import note, sum_over_ranks
from hypemarl.solvers.affine import Affine, Product
from hypemarl.solvers.direct import Factorisation
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.solvers.fem_petsc import petsc
from hypemarl.solvers.jit import Assembled, compiled, constant_values, contains, update
from hypemarl.types import Array

if TYPE_CHECKING:
    from collections.abc import Iterable

ITERATIONS = 25
INCREMENT = 1e-10  # relative size of the last Newton step
STAGNATION = 1e-8  # fall of the residual at which rounding may end the iteration
FAST = 0.2  # ratio of Newton steps above which the matrix is renewed
HALVINGS = 8  # of a step that does not lower the residual
LOOSE = 1e-8  # relative tolerance of iterative solvers above which a note is due
LARGE = 150_000  # unknowns above which iterative solvers are the default
ITERATIVE: Mapping[str, str] = {
    "ksp_type": "gmres",
    "ksp_rtol": "1e-11",
    "ksp_max_it": "1000",
    "ksp_gmres_restart": "60",
    "pc_type": "bjacobi",
    "sub_pc_type": "ilu",
}


class TimeStep:
    """Solves F(u; known) = 0 for the function ``unknown``, and the transposed linear system.

    Args:
        residual: linear form in ``test``; unknown: u; known: functions that F may hold and that
            change from step to step; control: one that changes between intervals.
        times: constants that change from step to step; parameters: those that change between
            episodes only.
        conditions: Dirichlet conditions, whose values may change.
        options: of PETSc's linear solver, none for LU (MUMPS on ranks, and where PETSc's own
            finds no pivots), or GMRES above :data:`LARGE` unknowns.
        stated: where the options are stated, for messages.

    Raises ValueError: on every rank: PETSc refuses the options.

    Collective, every method too.
    """

    def __init__(
        self,
        residual: ufl.Form,
        test: ufl.Argument,
        unknown: Function,
        known: Sequence[Function],
        control: Function,
        *,
        times: Sequence[Constant] = (),
        parameters: Sequence[Constant] = (),
        conditions: Sequence[DirichletBC] = (),
        options: Mapping[str, str] | None = None,
        stated: str = "solver",
    ) -> None:
        space = unknown.function_space
        self.unknown, self.comm, self._conditions = unknown, space.mesh.comm, list(conditions)
        jacobian = ufl.derivative(residual, unknown, ufl.TrialFunction(space))
        self.is_linear = not contains(jacobian, unknown)
        moving = not self.is_linear or contains(jacobian, *known, *times)
        self.is_constant = not (moving or contains(jacobian, control))
        self._moves = moving  # the matrix, within a control interval
        self._parameters = [item for item in parameters if contains(jacobian, item)]
        self.residual = Assembled(residual, space)
        # of a linear problem without conditions, at u = 0: it has fewer terms
        self._right: Assembled | Affine | None = None
        if self.is_linear and not self._conditions:
            nothing = ufl.replace(residual, {unknown: ufl.zero(unknown.ufl_shape)})
            given = [*known, control]
            if self.comm.size == 1 and Affine.fits(nothing, given, times):
                self._right = Affine(nothing, given)
            else:
                self._right = Assembled(nothing, space)
        self._constants = list(parameters)
        self._jacobian = compiled(jacobian)
        #: of the transposed system, its Lagrange multipliers
        self.multiplier = Function(space)
        self._adjoint = ufl.replace(residual, {test: self.multiplier})
        self._matrix = petsc.create_matrix(self._jacobian)
        n = self.residual.n_owned
        self.fixed = _owned_dofs(self._conditions, n)
        self._solver = _solver(self._matrix, options, self.comm, stated)
        self._ready = False  # whether the factors are those of the present interval
        self._key: tuple[float, ...] | None = None  # constants that they belong to

    def sensitivity(self, function: Function) -> Assembled | Product:
        """(dF/df)^T times the multiplier, as a vector of the function's space."""
        space = function.function_space
        if isinstance(self._right, Affine) and self._right.holds(function):
            return Product(self._right, function, self.multiplier)
        return Assembled(ufl.derivative(self._adjoint, function, ufl.TestFunction(space)), space)

    def begin(self) -> None:
        """Begin a control interval, or an episode: a matrix of another one is forgotten.

        What follows then depends on the present only.
        """
        if isinstance(self._right, Affine):
            self._right.refresh(constant_values(self._constants))
        if not self.is_constant or self._key != constant_values(self._parameters):
            self._ready = False

    def advance(self) -> None:
        """Solve for the unknown, from its present values, at which conditions are set first.

        Raises:
            SolverDiverged: on every rank.
        """
        values = self.unknown.x.array
        for condition in self._conditions:
            condition.set(values)
        if not self.is_linear:
            self._newton()
            return
        if self._moves or not self._ready:
            self._factorise()
        if self._right is not None:
            values[: self.residual.n_owned] = -self._solve(self._right())
        else:
            values[: self.residual.n_owned] -= self._solve(self._defect())
        update(self.unknown)

    def transpose(self, bar: Array) -> None:
        """Solve (dF/du)^T lambda = ``bar`` (n_owned,) into the multiplier, zero where u is fixed.

        At the present values of the unknown and all that is known.
        """
        if self._moves or not self._ready:
            self._factorise()
        right = bar.copy()
        right[self.fixed] = 0.0
        self.multiplier.x.array[: len(right)] = self._solve(right, transposed=True)
        update(self.multiplier)

    def _defect(self) -> Array:
        defect = self.residual()
        defect[self.fixed] = 0.0
        return defect

    def _norm(self, values: Array) -> float:
        return float(np.sqrt(sum_over_ranks(self.comm, np.array([values @ values]))[0]))

    def _factorise(self) -> None:
        """Assemble and factorise dF/du as it is now."""
        self._matrix.zeroEntries()
        petsc.assemble_matrix(self._matrix, self._jacobian, bcs=self._conditions)
        self._matrix.assemble()
        self._solver.update()
        self._ready, self._key = True, constant_values(self._parameters)

    def _solve(self, right: Array, *, transposed: bool = False) -> Array:
        solution = self._solver.solve(right, transposed=transposed)
        if solution is None:
            raise SolverDiverged(
                "the linear system of a time step could not be solved: its matrix is singular, or "
                "the linear solver does not suit it (Problem.solver); is every unknown determined "
                "by the residual and the boundary conditions?"
            )
        return solution

    def _newton(self) -> None:
        values, n = self.unknown.x.array, self.residual.n_owned
        first = size = self._norm(self._defect())
        before = np.inf
        for _ in range(ITERATIONS):
            if not self._ready:
                self._factorise()
            step = self._solve(self.residual.values[:n])
            length = self._norm(step)
            if length > FAST * before:
                self._ready = False
            size = self._line_search(step, size)
            if length <= INCREMENT * self._norm(values[:n]):
                return
            if length > 0.5 * before and size <= STAGNATION * first:
                return  # rounding
            before = length
        raise SolverDiverged(
            f"Newton's method did not converge in {ITERATIONS} iterations: residual {size:.3g}, at "
            f"first {first:.3g}; take more substeps, or smaller bounds of the actions"
        )

    def _line_search(self, step: Array, size: float) -> float:
        """Go along a Newton step as far as the residual, of this size, does not grow; its new one.

        Raises:
            SolverDiverged: on every rank: it is not finite.
        """
        values, n = self.unknown.x.array, self.residual.n_owned
        start, share = values[:n].copy(), 1.0
        for _ in range(HALVINGS):
            values[:n] = start - share * step
            update(self.unknown)
            new = self._norm(self._defect())
            if new <= size * (1.0 + 1e-6) or new <= 1e-13 * self._norm(start):
                return new
            share, self._ready = 0.5 * share, False
        if not np.isfinite(new):
            raise SolverDiverged("Newton's method: the residual is not finite")
        return new


class Krylov:
    """A linear solver by PETSc options, with the interface of a :class:`Factorisation`.

    ``stated``: where the options are stated, for messages.

    Raises ValueError: on every rank: PETSc refuses an option or, after the first solution, has
    read no such one.
    """

    def __init__(self, matrix: PETSc.Mat, options: Mapping[str, str], stated: str) -> None:
        self._matrix, self._solver = matrix, PETSc.KSP().create(matrix.comm)
        self._stated = stated
        self._options, self._prefix = options, f"hypemarl_step_{next(_COUNT)}_"
        database: Any = PETSc.Options()
        for name, value in options.items():
            database[self._prefix + name] = value
        self._database = database
        self._solver.setOptionsPrefix(self._prefix)
        with self._explained():
            self._solver.setFromOptions()
        self._note_loose()
        self._right, self._left = matrix.createVecRight(), matrix.createVecLeft()
        self._read = False

    def update(self) -> None:
        """Set up for the matrix as it is now. Collective."""
        with self._explained():
            self._solver.setOperators(self._matrix)
            self._solver.setUp()

    def solve(self, right: Array, *, transposed: bool = False) -> Array | None:
        """Solution (n_owned,), None where the iteration fails. Collective."""
        self._left.array_w[:] = right
        solve = self._solver.solveTranspose if transposed else self._solver.solve
        with self._explained():
            solve(self._left, self._right)
        if not self._read:
            self._require_read()
        return self._right.array_r.copy() if self._solver.is_converged else None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Make PETSc's errors inside the block a ValueError that names the options."""
        try:
            yield
        except PETSc.Error as error:
            self._forget()
            # its last line says what is wrong, behind the number of the rank
            reason = str(error).strip().splitlines()[-1].partition("] ")[2] or str(error)
            stated = ", ".join(f"{name} {value}" for name, value in self._options.items())
            raise ValueError(
                f"{self._stated}: PETSc refuses these options ({stated}): {reason}"
            ) from error

    def _note_loose(self) -> None:
        """Say that gradients are only as exact as a loose tolerance, which PETSc's own is."""
        tolerance = self._solver.getTolerances()[0]
        direct = self._solver.getPC().getType() in (PETSc.PC.Type.LU, PETSc.PC.Type.CHOLESKY)
        iterates = self._solver.getType() != PETSc.KSP.Type.PREONLY and not direct
        if iterates and tolerance > LOOSE:
            note(
                f"{self._stated}: ksp_rtol is {tolerance:g}: states, and gradients by the adjoint, "
                f"are only as exact as that; take {LOOSE:g} or less"
            )

    def _forget(self) -> None:
        """Leave PETSc's database as it was."""
        for name in self._options:
            self._database.delValue(self._prefix + name)

    def _require_read(self) -> None:
        """Refuse options that nothing read, and leave PETSc's database as it was."""
        self._read = True
        unread = [name for name in self._options if not self._database.used(self._prefix + name)]
        self._forget()
        if unread:
            raise ValueError(
                f"{self._stated}: PETSc reads no option {unread[0]!r} here; see its manual of KSP "
                "and PC"
            )


class Pivoting:
    """PETSc's own LU, which does not pivot, and MUMPS from where that fails."""

    def __init__(self, matrix: PETSc.Mat, comm: object) -> None:
        self._matrix, self._comm = matrix, comm
        self._factors = Factorisation(matrix, "petsc", comm)  # type: ignore[arg-type]
        self._pivots = False

    def update(self) -> None:
        """Factorise the matrix as it is now. Collective."""
        self._factors.update()

    def solve(self, right: Array, *, transposed: bool = False) -> Array | None:
        """Solution (n_owned,), None where neither package finds one. Collective."""
        solution = self._factors.solve(right, transposed=transposed)
        if solution is None and not self._pivots:
            self._pivots = True
            self._factors = Factorisation(self._matrix, "mumps", self._comm)  # type: ignore[arg-type]
            self._factors.update()
            solution = self._factors.solve(right, transposed=transposed)
        return solution


def _solver(
    matrix: PETSc.Mat, options: Mapping[str, str] | None, comm: object, stated: str
) -> Factorisation | Krylov | Pivoting:
    if options:
        return Krylov(matrix, options, stated)
    if matrix.getSize()[0] > LARGE:
        return Krylov(matrix, ITERATIVE, stated)
    if matrix.comm.size > 1:
        return Factorisation(matrix, "mumps", comm)  # type: ignore[arg-type]
    return Pivoting(matrix, comm)


_COUNT = itertools.count()


def _owned_dofs(conditions: Iterable[DirichletBC], n_owned: int) -> np.ndarray:
    parts = [condition._cpp_object.dof_indices()[0] for condition in conditions]
    dofs = np.unique(np.concatenate([np.zeros(0, np.int32), *parts]))
    return np.asarray(dofs[dofs < n_owned])
