"""Nodal values of a problem's shown fields on the whole mesh, for pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import basix
import numpy as np
from dolfinx import fem

from hypemarl.solvers.jit import JIT

if TYPE_CHECKING:
    from hypemarl.systems.problem.forms import Forms

SIMPLICES = {
    "interval": [[0, 1]],
    "triangle": [[0, 1, 2]],
    "tetrahedron": [[0, 1, 2, 3]],
    "quadrilateral": [[0, 1, 2], [1, 3, 2]],
    "hexahedron": [[0, a, b, 7] for a, b in ((1, 3), (5, 1), (4, 5), (3, 2), (6, 4), (2, 6))],
}
"""Simplices that a cell is drawn as, by the local numbers of their vertices."""


class Pictures:
    """Evaluates the shown fields at the corners of the cells, and gathers them on rank 0.

    The mesh's own points are kept apart on the two sides of a periodic axis.
    """

    def __init__(self, forms: Forms) -> None:
        self._forms, mesh = forms, forms.domain.mesh
        self._shown = forms.shown()
        self._compiled: dict[str, fem.Expression] | None = None
        cell = mesh.basix_cell()
        self._corners = basix.geometry(cell)
        self._cells = np.arange(forms.domain.n_cells, dtype=np.int32)
        self._simplices = np.array(SIMPLICES[mesh.topology.cell_name()])

    def __call__(self) -> dict[str, np.ndarray] | None:
        """``points``, ``cells`` and the fields (N,) on rank 0, None elsewhere. Collective."""
        forms, domain = self._forms, self._forms.domain
        if self._compiled is None:
            self._compiled = {
                name: fem.Expression(
                    value + forms.constant(0.0), self._corners, jit_options=dict(JIT)
                )
                for name, value in self._shown.items()
            }
        geometry = domain.mesh.geometry
        count = len(self._corners)
        nodes = geometry.dofmaps[0][: domain.n_cells][:, :count]
        values = {
            name: expression.eval(domain.mesh, self._cells).reshape(len(self._cells), count)
            for name, expression in self._compiled.items()
        }
        numbers = geometry.index_map().local_to_global(nodes.ravel().astype(np.int32))
        part = numbers.reshape(nodes.shape), geometry.x[nodes][..., : domain.gdim], values
        parts = domain.comm.gather(part, root=0)
        return None if parts is None else self._joined(parts)

    def _joined(self, parts: list) -> dict[str, np.ndarray]:
        corners = np.concatenate([numbers for numbers, *_ in parts])
        places = np.concatenate([places for _, places, _ in parts])
        _, first, cells = np.unique(corners, return_index=True, return_inverse=True)
        cells = cells.reshape(corners.shape)
        simplices = cells[:, self._simplices].reshape(-1, self._simplices.shape[1])
        result = {"points": places.reshape(-1, places.shape[-1])[first], "cells": simplices}
        count = np.bincount(cells.ravel())
        for name in parts[0][2]:
            flat = np.concatenate([values[name] for *_, values in parts]).ravel()
            result[name] = np.bincount(cells.ravel(), flat) / count
        return result
