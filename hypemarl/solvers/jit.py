"""Forms compiled with optimising flags, and their vectors with the contributions of all ranks."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, la
from dolfinx.fem import Constant, Form, Function

#: FFCx compiles with mild flags by default; these halve the time of assembly
JIT: Mapping[str, Any] = MappingProxyType(
    {"cffi_extra_compile_args": ["-O3", "-march=native", "-ffast-math"], "cffi_libraries": ["m"]}
)


def compiled(form: ufl.Form) -> Form:
    """The compiled form, from the cache where it was compiled before. Collective.

    Raises:
        ValueError: on every rank: integrals over inner facets on a mesh without ghost cells.
    """
    inner = any(item.integral_type().startswith("interior") for item in form.integrals())
    domain = form.ufl_domain()
    mesh = None if domain is None else domain.ufl_cargo()
    if inner and mesh is not None:
        topology = mesh.topology
        comm, index = topology.comm, topology.index_map(topology.dim)
        if comm.size > 1 and not comm.allreduce(index.num_ghosts):
            raise ValueError(
                "integrals over inner facets (dS) need ghost cells on ranks: expected a mesh made "
                "with GhostMode.shared_facet, got one without"
            )
    return fem.form(form, jit_options=dict(JIT))


def contains(form: Any, *terms: object) -> bool:
    """Whether a form or an expression depends on one of these coefficients and constants. Local."""
    expanded = ufl.algorithms.apply_derivatives.apply_derivatives(
        ufl.algorithms.apply_algebra_lowering.apply_algebra_lowering(form)
    )
    found = set(ufl.algorithms.extract_coefficients(expanded))
    found |= set(ufl.algorithms.analysis.extract_constants(expanded))
    return any(term in found for term in terms)


def constant_values(constants: Sequence[Constant]) -> tuple[float, ...]:
    """All entries of the constants' present values. Local."""
    return tuple(float(entry) for item in constants for entry in item.value.ravel())


def empty(form: ufl.Form) -> bool:
    """Whether a form is zero once its derivatives are taken. Local."""
    return form.empty() or ufl.algorithms.expand_derivatives(form).empty()


class Assembled:
    """A linear form whose vector is assembled again and again.

    Args:
        form: of one test function in ``space``; empty: its vector is zero. Collective.
    """

    def __init__(self, form: ufl.Form, space: fem.FunctionSpace) -> None:
        self.form = None if empty(form) else compiled(form)
        dofmap = space.dofmap
        self.vector = la.vector(dofmap.index_map, dofmap.index_map_bs)
        self.values = self.vector.array  # (n_local,), ghosts last
        self.n_owned = dofmap.index_map.size_local * dofmap.index_map_bs
        self._shared = space.mesh.comm.size > 1

    def clear(self) -> None:
        """Set the vector to zero. Local."""
        self.values[:] = 0.0

    def add(self) -> None:
        """Add this rank's cells at the coefficients' present values. Local."""
        if self.form is not None:
            fem.assemble_vector(self.values, self.form)

    def owned(self) -> np.ndarray:
        """The entries (n_owned,) of all ranks' cells, a view; to be cleared next. Collective."""
        if self._shared:
            self.vector.scatter_reverse(la.InsertMode.add)
        return self.values[: self.n_owned]

    def __call__(self) -> np.ndarray:
        """The vector (n_owned,) at the present values, a view. Collective."""
        self.clear()
        self.add()
        return self.owned()


def update(function: Function) -> None:
    """Bring a function's ghosts up to date. Collective."""
    if function.function_space.mesh.comm.size > 1:
        function.x.scatter_forward()
