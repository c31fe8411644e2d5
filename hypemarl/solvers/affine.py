"""Right-hand sides that are affine in what is known, as products with constant matrices.

Assembling a linear form takes several times as long as the product of its matrix.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem import Constant, Function
from scipy import sparse

from hypemarl.solvers.jit import Assembled, compiled, contains, empty
from hypemarl.types import Array


class Affine:
    """F(0; known) = F(0; 0) + sum_f (dF/df) f on one rank.

    Args:
        residual: F(0; known), a linear form; known: functions f that it is affine in, see
            :meth:`fits`.
    """

    def __init__(self, residual: ufl.Form, known: Sequence[Function]) -> None:
        (test,) = residual.arguments()
        space = test.ufl_function_space()
        self._size = space.dofmap.index_map.size_local * space.dofmap.index_map_bs
        self._key: tuple[float, ...] | None = None
        self._forms: dict[Function, fem.Form] = {}
        rest = residual
        for function in known:
            slope = _slope(residual, function)
            if not empty(slope):
                self._forms[function] = compiled(slope)
            rest = ufl.replace(rest, {function: ufl.zero(function.ufl_shape)})
        self._rest = None if empty(rest) else Assembled(rest, space)
        self.matrices: dict[Function, sparse.csr_matrix] = {}
        self._transposed: dict[Function, sparse.csr_matrix] = {}

    @staticmethod
    def fits(residual: ufl.Form, known: Sequence[Function], times: Sequence[Constant]) -> bool:
        """Whether all dF/df are constant, of a form on one rank. Local."""
        slopes = [_slope(residual, function) for function in known]
        return not any(contains(slope, *known, *times) for slope in slopes if not empty(slope))

    def refresh(self, key: tuple[float, ...]) -> None:
        """Assemble the matrices anew where the parameters' values have changed."""
        if key != self._key:
            forms = self._forms.items()
            self.matrices = {f: fem.assemble_matrix(form).to_scipy() for f, form in forms}
            self._transposed = {f: matrix.T.tocsr() for f, matrix in self.matrices.items()}
            self._key = key

    def holds(self, function: Function) -> bool:
        """Whether F depends on a function. Local."""
        return function in self._forms

    def __call__(self) -> Array:
        """F(0; known) (n,), a new array."""
        total = np.zeros(self._size) if self._rest is None else self._rest().copy()
        for function, matrix in self.matrices.items():
            total += matrix @ function.x.array
        return total

    def transposed(self, function: Function, multiplier: Array) -> Array:
        """(dF/df)^T multiplier."""
        return np.asarray(self._transposed[function] @ multiplier)


class Product:
    """(dF/df)^T times a multiplier, with the interface of an assembled vector."""

    def __init__(self, affine: Affine, function: Function, multiplier: Function) -> None:
        self.form: object = affine
        self._affine, self._function, self._multiplier = affine, function, multiplier

    def __call__(self) -> Array:
        """The vector (n,), a new array."""
        return self._affine.transposed(self._function, self._multiplier.x.array)


def _slope(residual: ufl.Form, function: Function) -> ufl.Form:
    return ufl.derivative(residual, function, ufl.TrialFunction(function.function_space))
