"""SU2, MED, Medit and pairs of XDMF files have their tags; no file reaches into other folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import meshio
import numpy as np
import pytest
from mesh_samples import as_meshio, lengths, square

from hypemarl.meshing import MeshError
from hypemarl.meshing import limits as limits_module
from hypemarl.meshing.files import read
from hypemarl.meshing.limits import limited
from hypemarl.meshing.raw import measures

SIZES = {"domain": 4.0, "left": 2.0, "right": 2.0, "bottom": 2.0, "top": 2.0}
NUMBERS = ["domain=1", "left=2", "right=3", "bottom=4", "top=5"]


def su2(path: Path) -> Path:
    raw = square()
    lines = ["% made by a test", "NDIME = 2", f"NELEM= {len(raw.cells)} % triangles"]
    lines += [f"5 {a} {b} {c} {i}" for i, (a, b, c) in enumerate(raw.cells.tolist())]
    lines.append(f"NPOIN= {len(raw.points)} {len(raw.points)}")
    lines += [f"{x!r} {y!r} {i}" for i, (x, y) in enumerate(raw.points.tolist())]
    lines.append("NMARK= 4")
    for name in ("left", "right", "bottom", "top"):
        rows = raw.members(name).tolist()
        lines += [f"MARKER_TAG= {name}", f"MARKER_ELEMS= {len(rows)}"]
        lines += [f"3 {a} {b}" for a, b in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def med(path: Path, *, cells: bool) -> Path:
    """By meshio; without families of cells, as Salome writes a mesh with groups of edges only."""
    raw = square()
    names = {name: -1 - number for name, (_, number) in raw.tags.items()}
    of = {number: names[name] for name, (_, number) in raw.tags.items()}
    mesh = as_meshio(raw, "cell_tags")
    mesh.points = mesh.points[:, :2]
    mesh.cell_data["cell_tags"] = [np.vectorize(of.get)(v) for v in mesh.cell_data["cell_tags"]]
    mesh.cell_tags = {number: [name, "all"] for name, number in names.items()}
    mesh.cell_tags[names["domain"]] = ["domain"]
    mesh.point_tags = {}
    meshio.write(path, mesh)
    if not cells:
        with h5py.File(path, "a") as file:
            found = []
            file["ENS_MAA"].visit(lambda name: found.append(name) if "TR3/FAM" in name else None)
            del file["ENS_MAA"][found[0]]
    return path


def test_su2_markers_are_tags(tmp_path: Path) -> None:
    assert lengths(read(su2(tmp_path / "mesh.su2"))) == pytest.approx(SIZES)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("NELEM= ", "NELEM= 9999999999", "expected a count of at most"),
        ("5 ", "9 ", "line 4: expected a straight simplex of dimension 2"),
        ("MARKER_ELEMS= 4", "MARKER_ELEMS= 5", "expected 2 numbers, got 'MARKER_TAG"),
        ("NMARK= 4", "what is this", "expected KEY= value, got 'what is this'"),
        ("NDIME = 2", "NZONE= 2", "several zones"),
    ],
)
def test_damaged_su2_is_refused_by_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = su2(tmp_path / "mesh.su2")
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(MeshError, match=message):
        read(path)


@pytest.mark.parametrize("cells", [True, False])
def test_med_groups_are_tags(cells: bool, tmp_path: Path) -> None:
    """Edges stand in their own group and in ``all``: a name says which one counts."""
    path = med(tmp_path / "mesh.med", cells=cells)
    with pytest.raises(MeshError, match="overlaps"):
        read(path)
    found = lengths(read(path, [f"{name}={name}" for name in ("left", "right", "bottom", "top")]))
    assert {name: found[name] for name in SIZES} == pytest.approx(SIZES)


def test_medit_references_are_tags(tmp_path: Path) -> None:
    as_meshio(square(), "medit:ref").write(tmp_path / "mesh.mesh")
    assert lengths(read(tmp_path / "mesh.mesh", NUMBERS)) == pytest.approx(SIZES)


@pytest.mark.parametrize("order", ["same", "shuffled", "only used"])
@pytest.mark.parametrize("suffix", [".xdmf", ".vtu"])
def test_pair_of_files_is_one_mesh(order: str, suffix: str, tmp_path: Path) -> None:
    raw = square()
    whole = as_meshio(raw, "name_to_read")
    points, facets = whole.points, raw.facets
    if order != "same":
        kept = np.unique(facets) if order == "only used" else np.arange(len(points))
        kept = np.random.default_rng(1).permutation(kept)
        place = np.full(len(points), -1)
        place[kept] = np.arange(len(kept))
        points, facets = points[kept], place[facets]
    tagged = {"name_to_read": [raw.facet_values]}
    cells, edges = tmp_path / f"cells{suffix}", tmp_path / f"edges{suffix}"
    meshio.Mesh(whole.points, [("triangle", raw.cells)]).write(cells)
    meshio.Mesh(points, [("line", facets)], cell_data=tagged).write(edges)
    found = read(cells, NUMBERS[1:], facet_file=edges)
    assert lengths(found) == pytest.approx(SIZES)
    assert (found.points[found.members("left")][..., 0] == -1.0).all()
    meshio.Mesh(points + 0.1, [("line", facets)], cell_data=tagged).write(edges)
    with pytest.raises(MeshError, match="points of env.mesh.facet_file are no points of the mesh"):
        read(cells, facet_file=edges)


def test_xdmf_reads_data_beside_it_only(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "mesh.xdmf"
    as_meshio(square(), "gmsh:physical").write(path)
    assert lengths(read(path, NUMBERS)) == pytest.approx(SIZES)
    (tmp_path / "in" / "mesh.h5").rename(tmp_path / "mesh.h5")
    text = path.read_text(encoding="utf-8")
    for name in ("mesh.h5", "../mesh.h5", str(tmp_path / "mesh.h5")):
        path.write_text(text.replace("mesh.h5", name), encoding="utf-8")
        with pytest.raises(MeshError, match="which is not beside it"):
            read(path)


def test_hdf5_that_points_elsewhere_is_refused(tmp_path: Path) -> None:
    path = med(tmp_path / "mesh.med", cells=True)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.zeros(3)
    with h5py.File(path, "a") as file:
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/x")
    with pytest.raises(MeshError, match="/elsewhere stands in another file"):
        read(path)


def test_includes_stay_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path, part = tmp_path / "in" / "mesh.inp", tmp_path / "in" / "part.inp"
    sets = {"domain": [np.arange(len(square().cells)), []]}
    cells = [("triangle", square().cells), ("line", square().facets)]
    points = np.c_[square().points, 0 * square().points[:, 0]]
    meshio.Mesh(points, cells, cell_sets=sets).write(part)
    path.write_text("*INCLUDE, INPUT=part.inp\n", encoding="utf-8")
    found = read(path)  # meshio keeps no sets of included files
    assert measures(found.points, found.cells).sum() == pytest.approx(4.0)
    path.write_text("*Include, Input=../part.inp\n", encoding="utf-8")
    with pytest.raises(MeshError, match="'../part.inp', which is not beside it"):
        read(path)
    path.write_text("*INCLUDE, INPUT=mesh.inp\n", encoding="utf-8")
    with pytest.raises(MeshError, match="includes itself"):
        read(path)


def test_what_is_read_stands_beside_the_file_and_not_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """meshio alone looks for included and raw files in the working folder first."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, scale in ((here, 3.0), (there, 1.0)):
        folder.mkdir()
        points = scale * np.c_[square().points, 0 * square().points[:, 0]]
        meshio.Mesh(points, [("triangle", square().cells)]).write(folder / "part.inp")
        meshio.Mesh(points[:, :2], [("triangle", square().cells)]).write(
            folder / "raw.xdmf", data_format="Binary"
        )
    (there / "mesh.inp").write_text("*INCLUDE, INPUT=part.inp\n", encoding="utf-8")
    text = (there / "raw.xdmf").read_text(encoding="utf-8")
    (there / "raw.xdmf").write_text(text.replace(f"{there}/", ""), encoding="utf-8")
    monkeypatch.chdir(here)
    for name in ("mesh.inp", "raw.xdmf"):
        found = read(Path("..", "there", name))
        assert measures(found.points, found.cells).sum() == pytest.approx(4.0)
    assert Path.cwd() == here


def test_xml_entities_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mesh.vtu"
    as_meshio(square(), "gmsh:physical").write(path)
    text = path.read_text(encoding="utf-8")
    assert read(path, NUMBERS).tdim == 2
    head = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "secret">]>'
    path.write_text(head + text.split("?>", 1)[-1], encoding="utf-8")
    with pytest.raises(MeshError, match="defines entities"):
        read(path)


def test_reason_of_meshio_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "mesh.vtk"
    path.write_text("# vtk DataFile Version 9.9\nx\nASCII\nDATASET NOTHING\n", encoding="utf-8")
    with pytest.raises(MeshError, match="cannot be read as a mesh: .{8}"):
        read(path)


def test_points_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    raw = square()
    beyond = replace(raw, cells=np.where(raw.cells == 0, 5000, raw.cells))
    as_meshio(beyond, "gmsh:physical").write(tmp_path / "mesh.vtk")
    with pytest.raises(MeshError, match="name points beyond the|cannot be read"):
        read(tmp_path / "mesh.vtk")


def for_ever() -> None:
    while True:
        pass


def test_limits_end_what_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "SECONDS", 0.2)
    with pytest.raises(TimeoutError, match="no end of reading"), limited(0):
        for_ever()
    with pytest.raises(MemoryError), limited(1000):
        np.ones(3 * 2**30, dtype=np.int8)
    with limited(2**30):
        assert np.ones(2**20).sum() == 2**20
