"""Boundary and connectivity of a mesh."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mesh_samples import lengths, msh22, square

from hypemarl.meshing import MeshError, RawMesh
from hypemarl.meshing.files import read
from hypemarl.meshing.raw import measures
from hypemarl.meshing.topology import (
    components,
    exterior_values,
    find_rows,
    interior_tagged,
    merge_points,
    outward_normals,
    representatives,
)


def beside(gap: float = 0.0, tag: int = 0, shift: float = 0.0) -> RawMesh:
    """Two squares side by side that share no points; ``tag`` for both sides of the cut."""
    left, n = square(), len(square().points)
    right = left.points + [2.0 + gap, shift]
    wanted = [left.facets[left.facet_values != 3], left.facets[left.facet_values != 2] + n]
    values = [left.facet_values[left.facet_values != 3], left.facet_values[left.facet_values != 2]]
    if tag:
        wanted += [left.facets[left.facet_values == 3], left.facets[left.facet_values == 2] + n]
        values += [np.full(len(rows), tag, dtype=np.int32) for rows in wanted[2:]]
    return RawMesh(
        np.concatenate([left.points, right]),
        np.concatenate([left.cells, left.cells + n]),
        np.concatenate([left.cell_values, left.cell_values]),
        np.concatenate(wanted),
        np.concatenate(values),
        left.tags | ({"slit": (1, tag)} if tag else {}),
    )


def test_square_has_its_boundary() -> None:
    raw = square()
    facets = raw.sides
    exterior = facets.exterior
    assert len(exterior) == len(raw.facets) == 16
    assert len(facets.points) == (3 * len(raw.cells) + 16) // 2
    assert (exterior_values(raw) > 0).all()
    assert components(raw).tolist() == [0] * len(raw.cells)
    assert (find_rows(raw.facets, facets.points) >= 0).all()
    assert not len(interior_tagged(raw))
    assert len(np.unique(representatives(raw.points, 1e-9))) == len(raw.points)
    middle = raw.points[facets.points[exterior]].mean(axis=1)
    expected = np.where(np.abs(middle) > 1 - 1e-12, np.sign(middle), 0.0)
    np.testing.assert_allclose(outward_normals(raw, exterior), expected, atol=1e-12)


def test_rows_are_found_in_any_order() -> None:
    among = np.array([[0, 1], [0, 3], [2, 5]])
    assert find_rows(np.array([[5, 2], [1, 0], [4, 9], [1, 0]]), among).tolist() == [2, 0, -1, 0]
    assert find_rows(np.empty((0, 2), dtype=int), among).tolist() == []


def test_two_halves_are_refused_or_merged(tmp_path: Path) -> None:
    path = msh22(tmp_path / "halves.msh", beside())
    with pytest.raises(
        MeshError, match=r"cut: 8 facets .* at \(1, .*env.mesh.merge_distance=4e-09"
    ):
        read(path)
    merged = read(path, merge_distance=1e-8)
    assert components(merged).max() == 0
    sizes = lengths(merged)
    assert sizes == pytest.approx({"1": 8.0, "2": 2.0, "3": 2.0, "4": 4.0, "5": 4.0})
    assert len(merged.points) == len(beside().points) - 5


def test_partly_joined_halves_are_refused(tmp_path: Path) -> None:
    """One component, yet a cut: a slit that nobody tagged."""
    raw = beside()
    ends = np.flatnonzero(np.isclose(raw.points, [1.0, 1.0]).all(axis=1))
    near = np.flatnonzero(np.isclose(raw.points, [1.0, 0.5]).all(axis=1))
    alias = np.arange(len(raw.points))
    for pair in (ends, near):
        alias[pair[1]] = pair[0]
    joined = replace(raw, cells=alias[raw.cells], facets=alias[raw.facets])
    assert components(joined).max() == 0
    with pytest.raises(MeshError, match="the domain is cut: 6 facets"):
        read(msh22(tmp_path / "slit.msh", joined))
    tagged = beside(tag=9)
    joined = replace(tagged, cells=alias[raw.cells], facets=alias[tagged.facets])
    rows = np.sort(joined.facets, axis=1)
    keep = ~((joined.facet_values == 9) & (rows == np.sort([ends[0], near[0]])).all(axis=1))
    slit = replace(joined, facets=joined.facets[keep], facet_values=joined.facet_values[keep])
    assert lengths(read(msh22(tmp_path / "wanted.msh", slit)))["9"] == pytest.approx(3.0)


def test_parts_without_coincident_points_are_refused(tmp_path: Path) -> None:
    for raw in (beside(gap=0.5), beside(shift=0.13)):
        with pytest.raises(MeshError, match="2 parts that share no facets; the largest has"):
            read(msh22(tmp_path / "parts.msh", raw))


def test_tagged_lines_that_bound_no_cell_are_refused(tmp_path: Path) -> None:
    raw = square()
    middle = int(np.argmin(np.linalg.norm(raw.points, axis=1)))
    corner = int(np.argmin(np.linalg.norm(raw.points + 1.0, axis=1)))
    stray = replace(
        raw,
        facets=np.concatenate([raw.facets, [[middle, corner]]]),
        facet_values=np.concatenate([raw.facet_values, [4]]),
    )
    with pytest.raises(MeshError, match="1 tagged facets are no facets of a cell.*tags 4"):
        read(msh22(tmp_path / "stray.msh", stray))


def test_tagged_interior_facets_are_found_and_read(tmp_path: Path) -> None:
    """An interface between two materials is sound; whether a tag may lie inside, plants know."""
    raw = square()
    facets = raw.sides
    inner = facets.points[facets.cells[:, 1] >= 0][:3]
    more = replace(
        raw,
        facets=np.concatenate([raw.facets, inner]),
        facet_values=np.concatenate([raw.facet_values, [7, 7, 7]]),
        tags=raw.tags | {"interface": (1, 7)},
    )
    assert len(interior_tagged(more)) == 3
    assert len(read(msh22(tmp_path / "interface.msh", more)).members("7")) == 3


def test_overlapping_cells_are_refused(tmp_path: Path) -> None:
    raw = square()
    cell = raw.cells[0].tolist()
    other = next(i for i in range(len(raw.points)) if i not in cell)
    cells = np.concatenate([raw.cells, [[cell[0], cell[1], other]]])
    values = np.concatenate([raw.cell_values, [1]])
    bad = replace(raw, cells=cells, cell_values=values)
    with pytest.raises(MeshError, match="facets have three or more cells"):
        read(msh22(tmp_path / "over.msh", bad))


def test_folded_meshes_are_refused(tmp_path: Path) -> None:
    raw = square()
    inner = np.setdiff1d(np.arange(len(raw.points)), np.unique(raw.facets))
    for moved, folds in ((0.2, False), (1.2, True)):  # the cells are half as wide
        points = raw.points.copy()
        points[inner[0], 0] += moved
        file = msh22(tmp_path / f"moved-{moved}.msh", replace(raw, points=points))
        if not folds:
            assert len(read(file).cells) == len(raw.cells)
            continue
        with pytest.raises(MeshError, match=r"the mesh is folded: at \d+ facets both cells lie on"):
            read(file)


def test_mirrored_cells_are_read(tmp_path: Path) -> None:
    raw = square()
    turned = replace(raw, cells=raw.cells[:, ::-1], points=raw.points * [-1.0, 1.0])
    assert lengths(read(msh22(tmp_path / "turned.msh", turned)))["1"] == pytest.approx(4.0)


def test_merging_too_much_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match="cells have no volume"):
        read(msh22(tmp_path / "halves.msh", beside()), merge_distance=0.6)


def test_many_points_at_one_place_stay_cheap() -> None:
    raw = square()
    crowd = replace(raw, points=np.concatenate([raw.points, np.zeros((20000, 2))]))
    assert len(np.unique(representatives(crowd.points, 1e-9))) in (
        len(raw.points),
        len(raw.points) + 1,
    )


def test_merging_nothing_changes_nothing() -> None:
    raw = square()
    assert merge_points(raw, 1e-9).content_hash == raw.content_hash


@pytest.mark.parametrize("noise", [1e-11, 1e-9])
def test_noise_of_flat_meshes_is_dropped(noise: float, tmp_path: Path) -> None:
    raw = square()
    z = noise * np.cos(np.arange(len(raw.points)))
    read_back = read(msh22(tmp_path / "noise.msh", replace(raw, points=np.c_[raw.points, z])))
    assert read_back.points.tolist() == raw.points.tolist()
    assert measures(read_back.points, read_back.cells).sum() == pytest.approx(4.0, rel=1e-14)
    rough = np.c_[raw.points, 1e-6 * np.sign(z)]
    path = msh22(tmp_path / "rough.msh", replace(raw, points=rough))
    with pytest.raises(MeshError, match="z varies by 2e-06"):
        read(path)


def test_other_planes_are_named(tmp_path: Path) -> None:
    raw = square()
    x, y = raw.points.T
    for points, words in (
        (np.c_[x, 0 * x + 3.0, y], r"x-z plane \(y constant\)"),
        (np.c_[0 * x, x, y], r"y-z plane \(x constant\)"),
        (np.c_[x, y, x], "only flat meshes are supported"),
    ):
        with pytest.raises(MeshError, match=words):
            read(msh22(tmp_path / "plane.msh", replace(raw, points=points)))
