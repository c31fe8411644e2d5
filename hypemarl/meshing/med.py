"""MED meshes of Salome: groups of cells and facets are the tags.

meshio fails where one type of element has no families, as Salome writes it.
Source of the format: https://docs.salome-platform.org/latest/dev/MEDCoupling/developer/med-file.html
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hypemarl.meshing.foreign import open_hdf5
from hypemarl.meshing.groups import FileMesh, Group, top_dimension, unsupported, with_domain

if TYPE_CHECKING:
    import h5py


SIMPLICES = ("PO1", "SE2", "TR3", "TE4")
"""MED's geometrical types of straight simplices, by their dimension."""


def read_med(path: Path) -> FileMesh:
    """The simplices and groups of a MED file of one mesh. Local.

    Raises:
        ValueError: not a MED file, several meshes, or elements other than straight simplices.
    """
    with open_hdf5(path) as file:
        if "ENS_MAA" not in file or len(file["ENS_MAA"]) != 1:
            raise ValueError(
                f"expected one mesh (ENS_MAA), got {sorted(file.get('ENS_MAA', []))}; write one"
            )
        (name, mesh), *_ = file["ENS_MAA"].items()
        coordinates = int(mesh.attrs["ESP"])
        if "NOE" not in mesh:  # one step of time in between
            mesh = next(iter(mesh.values()))
        points = mesh["NOE"]["COO"][()].reshape(coordinates, -1).T
        return _build(points, mesh["MAI"], _families(file, name))


def _families(file: h5py.File, name: str) -> dict[int, list[str]]:
    """Number of a family -> names of its groups."""
    families = {}
    for family in file[f"FAS/{name}/ELEME"].values() if f"FAS/{name}/ELEME" in file else ():
        names = family["GRO"]["NOM"][()] if "GRO" in family else []
        families[int(family.attrs["NUM"])] = [
            bytes(np.asarray(letters, dtype=np.uint8)).split(b"\0")[0].decode("utf-8", "replace")
            for letters in names
        ]
    return families


def _build(points: np.ndarray, types: h5py.Group, families: dict[int, list[str]]) -> FileMesh:
    unknown = sorted(set(types) - set(SIMPLICES))
    if unknown:
        raise unsupported(", ".join(unknown))
    tdim = top_dimension(map(SIMPLICES.index, types))
    rows, groups = {}, list[Group]()
    for dim in (tdim, tdim - 1):
        rows[dim] = np.empty((0, dim + 1), dtype=np.int64)
        if SIMPLICES[dim] in types:
            elements = types[SIMPLICES[dim]]
            rows[dim] = elements["NOD"][()].astype(np.int64).reshape(dim + 1, -1).T - 1
            if "FAM" in elements:
                groups += _groups(elements["FAM"][()], families, dim, len(groups))
    return with_domain(FileMesh(points, rows[tdim], rows[tdim - 1], groups))


def _groups(of: np.ndarray, families: dict[int, list[str]], dim: int, before: int) -> list[Group]:
    """Groups of the elements of one type; a family may stand for several."""
    members: dict[str, list[np.ndarray]] = {}
    for family in np.unique(of).tolist():
        for name in families.get(family, []):
            members.setdefault(name.strip(), []).append(np.flatnonzero(of == family))
    return [
        Group(name, dim, before + number, np.sort(np.concatenate(parts)))
        for number, (name, parts) in enumerate(members.items(), start=1)
    ]
