"""Files: tags survive every format, foreign files are read or refused with a reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gmsh
import meshio
import numpy as np
import pytest
from mpi4py import MPI

from hypemarl.config import MeshConfig
from hypemarl.meshing import MeshError, RawMesh, build, gather, require_tags, write
from hypemarl.meshing.files import read

SQUARE_POINTS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=float)
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]])


def placed(raw: RawMesh, name: str) -> np.ndarray:
    """Midpoints of a tag's entities, sorted: the same for any numbering."""
    middle = raw.points[raw.members(name)].mean(axis=1).round(9)
    return middle[np.lexsort(middle.T)]


# .xdmf: see test_distribution.py, in a process that imports hypemarl before dolfinx.fem.petsc.
@pytest.mark.parametrize("suffix", [".msh", ".vtu", ".vtk"])
@pytest.mark.parametrize("shape", ["interval", "square", "square-with-disc"])
def test_tags_survive_a_round_trip(shape: str, suffix: str, tmp_path: Path) -> None:
    tagged = build(MeshConfig(shape=shape, element_size=0.5), MPI.COMM_SELF)
    path = write(tagged, tmp_path / "sub" / f"mesh{suffix}")
    before, after = gather(tagged), gather(build(MeshConfig(file=str(path)), MPI.COMM_SELF))
    assert before is not None
    assert after is not None
    assert after.tags == before.tags
    assert after.points.shape == before.points.shape
    for name in before.tags:
        np.testing.assert_allclose(placed(after, name), placed(before, name), atol=1e-9)


def test_written_configuration_equals_written_mesh(tmp_path: Path) -> None:
    config = MeshConfig(element_size=0.5)
    first = write(config, tmp_path / "a.msh")
    second = write(build(config, MPI.COMM_SELF), tmp_path / "b.msh")
    assert build(MeshConfig(file=str(first)), MPI.COMM_SELF).content_hash == (
        build(MeshConfig(file=str(second)), MPI.COMM_SELF).content_hash
    )


def test_hash_tells_meshes_apart() -> None:
    raw = read(Path(__file__).parents[2] / "meshes" / "interval.msh")
    moved = replace(raw, points=raw.points * (1.0 + 1e-12))
    renamed = replace(raw, tags=raw.tags | {"end": raw.tags["left"]})
    turned = replace(raw, cells=raw.cells[:, ::-1])
    swapped = replace(raw, facet_values=raw.facet_values[::-1])
    assert len({mesh.content_hash for mesh in (raw, moved, renamed, turned, swapped)}) == 5
    reordered = replace(raw, facets=raw.facets[::-1], facet_values=raw.facet_values[::-1])
    assert reordered.content_hash == raw.content_hash


def test_dimension_three_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cube.msh"
    gmsh.initialize(interruptible=False)
    gmsh.option.setNumber("General.Terminal", 0)
    gmsh.model.occ.addBox(0, 0, 0, 1, 2, 3)
    gmsh.model.occ.synchronize()
    gmsh.model.addPhysicalGroup(3, [1], 1, "domain")
    gmsh.model.addPhysicalGroup(2, [1], 7, "inflow")
    gmsh.model.mesh.generate(3)
    gmsh.write(str(path))
    gmsh.finalize()
    tagged = build(MeshConfig(file=str(path)), MPI.COMM_SELF)
    assert tagged.tags == {"domain": (3, 1), "inflow": (2, 7)}
    assert tagged.mesh.geometry.dim == 3
    raw = gather(tagged)
    assert raw is not None
    np.testing.assert_allclose(raw.points[raw.members("inflow")][..., 0], 0.0, atol=1e-12)


def test_physical_numbers_without_names_become_names(tmp_path: Path) -> None:
    path = tmp_path / "numbers.vtu"
    numbers = {"gmsh:physical": [np.array([3, 4])]}
    meshio.Mesh(SQUARE_POINTS, [("triangle", TRIANGLES)], cell_data=numbers).write(path)
    assert read(path).tags == {"3": (2, 3), "4": (2, 4)}
    with pytest.raises(MeshError, match=r"it has 3 \(dim 2\), 4 \(dim 2\); it needs domain"):
        build(MeshConfig(file=str(path)), MPI.COMM_SELF)


def test_named_sets_become_tags(tmp_path: Path) -> None:
    path = tmp_path / "sets.inp"
    sets = {"domain": [np.array([0, 1]), []], "wall": [[], np.array([0])]}
    cells = [("triangle", TRIANGLES), ("line", np.array([[0, 1]]))]
    meshio.Mesh(SQUARE_POINTS, cells, cell_sets=sets).write(path)
    raw = read(path)
    assert {name: dim for name, (dim, _) in raw.tags.items()} == {"domain": 2, "wall": 1}
    assert raw.members("wall").tolist() == [[0, 1]]


def test_missing_tags_are_listed(tmp_path: Path) -> None:
    tagged = build(MeshConfig(element_size=1.0), MPI.COMM_SELF)
    require_tags(tagged, {"domain": 2, "left": 1})
    with pytest.raises(MeshError) as caught:
        require_tags(tagged, {"domain": 2, "disc": 1, "left": 2})
    text = str(caught.value)
    assert "lacks disc (dim 1), left (dim 2)" in text
    assert "it has bottom (dim 1), domain (dim 2), left (dim 1)" in text
    assert "it needs disc (dim 1), domain (dim 2)" in text
    with pytest.raises(MeshError, match="no tag 'disc' in the mesh; it has bottom"):
        tagged.entities("disc")


def test_mesh_without_tags_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.vtu"
    meshio.Mesh(SQUARE_POINTS, [("triangle", TRIANGLES)]).write(path)
    with pytest.raises(MeshError, match=r"it has no tags; it needs domain \(dim 2\)"):
        build(MeshConfig(file=str(path)), MPI.COMM_SELF)


def bad_mesh(kind: str) -> meshio.Mesh:
    """A mesh with one fault."""
    points, cells, data = SQUARE_POINTS.copy(), [("triangle", TRIANGLES)], {}
    if kind == "quadrilateral":
        cells = [("quad", np.array([[0, 1, 2, 3]]))]
    elif kind == "curved":
        points[2, 2] = 0.5
    elif kind == "flat":
        points[2] = [0.5, 0.0, 0.0]
    elif kind == "nan":
        points[2, 0] = np.nan
    elif kind == "twice":
        cells = [("triangle", TRIANGLES[[0, 1, 1]])]
    elif kind == "points":
        cells = [("vertex", np.array([[0], [1]]))]
    elif kind == "overlap":
        data = {"tag:domain": [np.array([1, 1])], "tag:hot": [np.array([0, 2])]}
    return meshio.Mesh(points, cells, cell_data=data)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("quadrilateral", "elements of type quad are not supported"),
        ("curved", "only flat meshes"),
        ("flat", "1 of 2 cells have no volume, the first one is cell 0"),
        ("nan", "some coordinates are nan"),
        ("twice", "1 cells stand in more than one tag or are stored twice"),
        ("points", "holds no mesh"),
        ("overlap", "tag 'hot' overlaps 'domain' on 1 cells"),
    ],
)
def test_unusable_meshes_are_refused(kind: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.vtu"
    bad_mesh(kind).write(path)
    with pytest.raises(MeshError, match=message):
        read(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.msh", "", "the mesh file is empty"),
        ("words.msh", "not a mesh at all\n", "cannot be read as a mesh|holds no mesh"),
        ("words.vtu", "not a mesh at all\n", "cannot be read as a mesh"),
        ("mesh.foreign", "1 2 3\n", "cannot be read as a mesh"),
    ],
)
def test_unreadable_files_are_refused(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(MeshError, match=message):
        build(MeshConfig(file=str(tmp_path / name)), MPI.COMM_SELF)


def test_truncated_msh_is_refused(tmp_path: Path) -> None:
    path = write(MeshConfig(element_size=0.5), tmp_path / "cut.msh")
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: len(text) // 2], encoding="utf-8")
    with pytest.raises(MeshError, match="cut.msh"):
        read(path)


def test_missing_file_is_named() -> None:
    with pytest.raises(MeshError, match=r"nowhere.msh: no such mesh file; check env\.mesh\.file"):
        build(MeshConfig(file="nowhere.msh"), MPI.COMM_SELF)


def test_untagged_cells_and_unknown_formats_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match="mesh.unknown"):
        write(MeshConfig(element_size=1.0), tmp_path / "mesh.unknown")
    bare = tmp_path / "bare.vtu"
    meshio.Mesh(SQUARE_POINTS, [("triangle", TRIANGLES)]).write(bare)
    with pytest.raises(MeshError, match="some cells have no tag"):
        write(MeshConfig(file=str(bare)), tmp_path / "out.msh")


def test_double_names_are_refused(tmp_path: Path) -> None:
    text = write(MeshConfig(element_size=1.0), tmp_path / "mesh.msh").read_text(encoding="utf-8")
    double = tmp_path / "double.msh"
    double.write_text(text.replace('"left"', '"right"'), encoding="utf-8")
    with pytest.raises(MeshError, match="the name 'right' is used by two tags"):
        read(double)


def test_shipped_meshes_can_be_used() -> None:
    folder = Path(__file__).parents[2] / "meshes"
    shipped = sorted(folder.glob("*.msh"))
    assert shipped
    for path in shipped:
        tagged = build(MeshConfig(file=str(path)), MPI.COMM_SELF)
        require_tags(tagged, {"domain": tagged.mesh.topology.dim})
