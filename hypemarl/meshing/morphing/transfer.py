"""A nodal density from an old mesh to a new one of the same polygon: mass kept, no new extremes.

The L2 projection on the common refinement of both meshes conserves mass and is of second order, but
overshoots at layers. Its lumped form stays within the old values and smears. Flux-corrected
transport takes as much of the difference, edge by edge, as keeps every node within the old values
nearby, so that mass is kept and a non-negative density stays so. Source: D. Kuzmin, M. Moeller,
J. N. Shadid, M. Shashkov, Failsafe flux limiting and constrained data projections for equations of
gas dynamics, J. Comput. Phys. 229 (2010).
"""

import numpy as np
from scipy import sparse

from hypemarl.meshing.morphing.extension import assembled, factorised, local_masses
from hypemarl.meshing.morphing.overlap import CellGrid
from hypemarl.meshing.raw import MeshError, RawMesh, measures

SAME_AREA = 1e-10
"""Largest difference of the two meshes' areas, relative; they must cover the same polygon."""


class DensityTransfer:
    """Moves P1 fields from one mesh to another; built once per pair of meshes. Serial.

    Args:
        old, new: whole meshes on this rank, anticlockwise cells, of the same domain.

    Raises:
        MeshError: the meshes do not cover each other.
    """

    def __init__(self, old: RawMesh, new: RawMesh) -> None:
        self._mixed = CellGrid(old.points[old.cells]).mixed_mass(new.points, new.cells, old.cells)
        areas = measures(new.points, new.cells)
        shape = (len(new.points), len(new.points))
        mass = assembled(local_masses(areas), new.cells, new.cells, shape)
        self._factors = factorised(mass)
        self._lumped = np.asarray(mass.sum(axis=1)).ravel()
        covered = np.asarray(self._mixed.sum(axis=1)).ravel()
        wrong = np.abs(covered - self._lumped).max() / self._lumped.max()
        area = measures(old.points, old.cells).sum()
        if abs(areas.sum() - area) > SAME_AREA * area or wrong > 1e-8:
            raise MeshError(
                f"transfer: expected two meshes of the same polygon, got areas {area:g} and "
                f"{areas.sum():g}, which miss each other by up to {wrong:.2g} of a node's share"
            )
        upper = sparse.triu(mass, k=1).tocoo()
        self._ends, self._weights = np.stack([upper.row, upper.col]), upper.data

    def __call__(self, field: np.ndarray) -> np.ndarray:
        """Nodal values (N_old,) -> (N_new,): same mass, between the old values nearby."""
        integrals = self._mixed @ field
        low, high = integrals / self._lumped, self._factors.solve(integrals)
        nearby, starts = field[self._mixed.indices], self._mixed.indptr[:-1]
        most, least = np.maximum.reduceat(nearby, starts), np.minimum.reduceat(nearby, starts)
        return low + self._limited(low, high, most, least) / self._lumped

    def mass(self, field: np.ndarray) -> float:
        """Integral of a field (N_new,) on the new mesh."""
        return float(self._lumped @ field)

    def _limited(
        self, low: np.ndarray, high: np.ndarray, most: np.ndarray, least: np.ndarray
    ) -> np.ndarray:
        """Sum (N_new,) of the fluxes from neighbours that keep every node in its bounds."""
        i, j = self._ends
        flux = self._weights * (high[i] - high[j])  # into i, out of j
        size = len(low)

        def summed(into_i: np.ndarray, into_j: np.ndarray) -> np.ndarray:
            return np.bincount(i, into_i, size) + np.bincount(j, into_j, size)

        gain = summed(np.maximum(flux, 0.0), np.maximum(-flux, 0.0))
        loss = summed(np.minimum(flux, 0.0), np.minimum(-flux, 0.0))
        room_up = np.maximum(most - low, 0.0) * self._lumped
        room_down = np.minimum(least - low, 0.0) * self._lumped
        up = np.minimum(1.0, np.divide(room_up, gain, out=np.ones(size), where=gain > 0.0))
        down = np.minimum(1.0, np.divide(room_down, loss, out=np.ones(size), where=loss < 0.0))
        share = np.where(flux > 0.0, np.minimum(up[i], down[j]), np.minimum(down[i], up[j]))
        return summed(share * flux, -share * flux)
