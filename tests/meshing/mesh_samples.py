"""A small channel with groups in every form that the tests of readers need."""

from __future__ import annotations

from pathlib import Path

import meshio
import numpy as np

from hypemarl.config import MeshConfig
from hypemarl.meshing.raw import RawMesh
from hypemarl.meshing.shapes import generate

SQUARE = MeshConfig(element_size=0.5)


def square() -> RawMesh:
    """(-1, 1)^2 with the tags domain, left, right, bottom, top."""
    return generate(SQUARE)


def msh22(path: Path, raw: RawMesh, *, groups: bool = True, names: str = "") -> Path:
    """A mesh as text of MSH 2.2; ``names`` are lines of $PhysicalNames."""
    lines = ["$MeshFormat", "2.2 0 8", "$EndMeshFormat"]
    if names:
        entries = names.splitlines()
        lines += ["$PhysicalNames", str(len(entries)), *entries, "$EndPhysicalNames"]
    points = np.zeros((len(raw.points), 3))
    points[:, : raw.points.shape[1]] = raw.points
    lines += ["$Nodes", str(len(points))]
    lines += [f"{i} {x!r} {y!r} {z!r}" for i, (x, y, z) in enumerate(points.tolist(), start=1)]
    lines += ["$EndNodes", "$Elements", str(len(raw.facets) + len(raw.cells))]
    kinds = {1: 15, 2: 1, 3: 2, 4: 4}
    number = 0
    for rows, values in ((raw.facets, raw.facet_values), (raw.cells, raw.cell_values)):
        for row, value in zip(rows.tolist(), values.tolist(), strict=True):
            number += 1
            nodes = " ".join(str(i + 1) for i in row)
            lines.append(f"{number} {kinds[len(row)]} 2 {value if groups else 0} {value} {nodes}")
    path.write_text("\n".join([*lines, "$EndElements", ""]), encoding="utf-8")
    return path


def as_meshio(raw: RawMesh, key: str) -> meshio.Mesh:
    """A mesh with the numbers of its tags in one array over its cells and facets."""
    points = np.column_stack([raw.points, np.zeros(len(raw.points))])
    cells = [("triangle", raw.cells), ("line", raw.facets)]
    return meshio.Mesh(points, cells, cell_data={key: [raw.cell_values, raw.facet_values]})


def lengths(raw: RawMesh) -> dict[str, float]:
    """Area or length of every tag."""
    from hypemarl.meshing.raw import measures

    return {name: float(measures(raw.points, raw.members(name)).sum()) for name in raw.tags}
