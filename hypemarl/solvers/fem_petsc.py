"""``dolfinx.fem.petsc`` without a side effect of its import that ends the process later.

Its helpers for numba have llvmlite load the PETSc library "permanently", that is, with its symbols
global, and so are those of the libraries that come with it in a wheel. torch is linked against MKL
functions of which it looks up some at run time; ``cblas_sgemm_batch`` is then found in PETSc's
OpenBLAS, where it takes other arguments, and the first batched product is a segmentation fault.
Nothing here needs those helpers, so llvmlite is out of sight while the module is loaded.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numba  # noqa: F401  whole, before llvmlite is hidden


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Let ``import name`` fail inside the block."""
    module = sys.modules[name]
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules[name] = module


with _hidden("llvmlite"):
    from dolfinx.fem import petsc

__all__ = ["petsc"]
