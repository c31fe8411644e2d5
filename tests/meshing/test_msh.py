"""MSH files are data: scripts under their name are refused, every version is read alike."""

from __future__ import annotations

import gzip
import tracemalloc
from itertools import product
from pathlib import Path

import gmsh
import numpy as np
import pytest
from mesh_samples import SQUARE, lengths, msh22, square

from hypemarl.meshing import MeshError, RawMesh, shapes
from hypemarl.meshing.files import read
from hypemarl.meshing.raw import parse

SIZES = {"domain": 4.0, "left": 2.0, "right": 2.0, "bottom": 2.0, "top": 2.0}


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The square as gmsh writes it, whole and in three parts with ghost cells."""
    folder, files = tmp_path_factory.mktemp("versions"), {}
    with shapes.session() as model:
        entities = shapes._entities(model, SQUARE)
        model.geo.synchronize()
        for name, (dim, tag) in shapes.TAGS["square"].items():
            model.addPhysicalGroup(dim, entities[name], tag, name)
        model.mesh.generate(2)
        gmsh.option.setNumber("Mesh.PartitionCreateGhostCells", 1)
        for parts in (1, 3):
            if parts > 1:
                model.mesh.partition(parts)
            for version, binary, parametric in product((1.0, 2.2, 4.0, 4.1), (0, 1), (0, 1)):
                if (version < 2.0 and (binary or parametric)) or (version == 4.0 and binary):
                    continue
                gmsh.option.setNumber("Mesh.MshFileVersion", version)
                gmsh.option.setNumber("Mesh.Binary", binary)
                gmsh.option.setNumber("Mesh.SaveParametric", parametric)
                name = f"{version}-{parts}-{'binary' if binary else 'text'}-{parametric}"
                files[name] = folder / f"{name}.msh"
                gmsh.write(str(files[name]))
        gmsh.option.setNumber("Mesh.SaveParametric", 0)
        gmsh.option.setNumber("Mesh.PartitionCreateGhostCells", 0)
    return files


def in_order(raw: RawMesh) -> np.ndarray:
    """Points in an order that no numbering changes."""
    return raw.points[np.lexsort(raw.points.round(9).T)]


def test_every_version_gives_the_same_mesh(versions: dict[str, Path]) -> None:
    whole = read(versions["4.1-1-text-0"])
    assert len(versions) == 2 * (1 + 4 + 2 + 4)
    for name, path in versions.items():
        raw = read(path)
        found = lengths(raw)
        if name.startswith("1.0"):  # has no names: numbers
            found = {key: found[str(number)] for key, (_, number) in whole.tags.items()}
        assert found == pytest.approx(SIZES, rel=1e-12), name
        np.testing.assert_allclose(in_order(raw), in_order(whole), atol=1e-14, err_msg=name)
        assert len(raw.cells) == len(whole.cells), name  # ghosts do not count twice
        assert len(raw.facets) == len(whole.facets), name


def test_gmsh_itself_reads_the_same(versions: dict[str, Path]) -> None:
    for name in ("2.2-1-text-0", "2.2-3-binary-0", "4.0-1-text-1", "4.1-1-binary-1"):
        with shapes.session() as model:
            gmsh.merge(str(versions[name]))
            expected = shapes.extract(model, name)
        assert read(versions[name]).content_hash == expected.content_hash


BAD = {
    "script": 'SystemCall "touch {mark}";\nPoint(1)={{0,0,0}};\n',
    "comment": '// $MeshFormat\nSystemCall "touch {mark}";\n',
    "blank": '\n\n  SystemCall "touch {mark}";\n',
    "appended": '{good}\nSystemCall "touch {mark}";\n',
    "between": '$MeshFormat\n2.2 0 8\n$EndMeshFormat\nMerge "run.geo";\n{good}',
    "header line": '$MeshFormat SystemCall "touch {mark}";\n2.2 0 8\n$EndMeshFormat\n',
    "version": '$MeshFormat\n9 0 8\n$EndMeshFormat\nSystemCall "touch {mark}";\n',
    "tiny": "$",
    "brep": "DBRep_DrawableShape\n",
    "fluent": '(0 "mesh")\n',
}


@pytest.mark.parametrize("kind", BAD)
def test_scripts_are_refused_and_not_run(kind: str, tmp_path: Path) -> None:
    good = msh22(tmp_path / "good.msh", square()).read_text(encoding="utf-8")
    mark, path = tmp_path / "MARK", tmp_path / "bad.msh"
    (tmp_path / "run.geo").write_text(f'SystemCall "touch {mark}";', encoding="utf-8")
    path.write_text(BAD[kind].format(mark=mark, good=good), encoding="utf-8")
    with pytest.raises(MeshError, match=r"expected (\$MeshFormat|a section|a version)") as caught:
        read(path)
    assert not mark.exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".geo", ".GEO", ".step"])
def test_scripts_by_suffix_name_the_command(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"mine{suffix}"
    path.write_text("Point(1)={0,0,0};\n", encoding="utf-8")
    with pytest.raises(MeshError, match=rf"gmsh -2 mine{suffix} -o mine.msh"):
        read(path)


def test_encodings_are_named_or_read(tmp_path: Path) -> None:
    path, raw = tmp_path / "mesh.msh", square()
    text = msh22(path, raw).read_bytes()
    path.write_bytes(gzip.compress(text))
    with pytest.raises(MeshError, match="compressed by gzip"):
        read(path)
    path.write_bytes(text.decode().encode("utf-16"))
    with pytest.raises(MeshError, match="UTF-16"):
        read(path)
    note = b"$Comments\nSystemCall is only a word here\n$EndComments\n"
    for sound in (b"\xef\xbb\xbf" + text, text.replace(b"\n", b"\r\n"), note + text + note):
        path.write_bytes(sound)
        found = lengths(read(path))
        assert sorted(found.values()) == pytest.approx(sorted(SIZES.values()))


def test_upper_case_suffix_is_read_as_msh(tmp_path: Path) -> None:
    assert len(read(msh22(tmp_path / "MESH.MSH", square())).cells) == len(square().cells)


@pytest.mark.parametrize(
    "name", ["2.2-3-text-0", "2.2-3-binary-0", "4.1-3-text-0", "4.1-3-binary-1"]
)
def test_damaged_files_are_one_line(name: str, versions: dict[str, Path], tmp_path: Path) -> None:
    good, path = versions[name].read_bytes(), tmp_path / "damaged.msh"
    random = np.random.default_rng(0)
    said = []
    for case in range(60):
        data = bytearray(good)
        at = int(random.integers(len(data)))
        if case < 20:
            data = data[:at]
        elif case < 40:
            data[at] ^= 1 << int(random.integers(8))
        else:
            data[at:at] = b"99999999999"
        path.write_bytes(data or b"$")
        try:
            read(path)
        except MeshError as error:
            said.append(str(error))
    assert all(str(path) in words and "\n" not in words and len(words) < 600 for words in said)
    assert len(said) >= 30  # the rest are other coordinates and what is not read


@pytest.mark.parametrize("section", ["Nodes", "Elements", "Entities"])
@pytest.mark.parametrize("name", ["4.1-1-text-0", "4.1-1-binary-0"])
def test_huge_counts_take_no_memory(
    name: str, section: str, versions: dict[str, Path], tmp_path: Path
) -> None:
    good, path = versions[name].read_bytes(), tmp_path / "huge.msh"
    start = good.index(f"${section}\n".encode()) + len(section) + 2
    if "binary" in name:
        huge = good[:start] + (10**11).to_bytes(8, "little") * 4 + good[start + 32 :]
    else:
        end = good.index(b"\n", start)
        huge = good[:start] + b"99999999999 99999999999 99999999999 99999999999" + good[end:]
    path.write_bytes(huge)
    tracemalloc.start()
    with pytest.raises(MeshError, match="damaged|cut off"):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def test_element_stored_for_two_groups_is_one(tmp_path: Path) -> None:
    """MSH 2.2 stores it twice; a name chooses the group that counts."""
    path, raw = msh22(tmp_path / "twice.msh", square()), square()
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    at = lines.index("$Elements") + 2
    n_facets = len(raw.facets)
    copies = [line.split() for line in lines[at : at + n_facets]]
    extra = [" ".join([str(900 + i), *c[1:3], "77", "1", *c[5:]]) for i, c in enumerate(copies)]
    lines[at - 1] = str(int(lines[at - 1]) + n_facets)
    path.write_text("\n".join(lines[:at] + extra + lines[at:]) + "\n", encoding="utf-8")
    with pytest.raises(MeshError, match="overlaps '2'|overlaps '77'|tag '77' overlaps"):
        read(path)
    kept = [f"{name}={number}" for name, (_, number) in raw.tags.items()]
    found = lengths(read(path, kept))
    assert {name: found[name] for name in SIZES} == pytest.approx(SIZES)


def test_cells_without_a_group_are_counted(tmp_path: Path) -> None:
    path = msh22(tmp_path / "bare.msh", square(), groups=False)
    n = len(square().cells)
    with pytest.raises(MeshError, match=f"{n} of {n} cells are in no physical group"):
        read(path)


def test_other_elements_are_named(tmp_path: Path) -> None:
    with shapes.session() as model:
        model.geo.addPoint(0, 0, 0)
        gmsh.model.occ.addRectangle(0, 0, 0, 1, 1)
        gmsh.model.occ.synchronize()
        model.addPhysicalGroup(2, [1], 1, "domain")
        model.mesh.generate(2)
        model.mesh.setOrder(2)
        gmsh.write(str(tmp_path / "second.msh"))
    with pytest.raises(MeshError, match="'(line|triangle) of second order' are not supported"):
        read(tmp_path / "second.msh")


def test_parse_turns_memory_errors_into_one_line() -> None:
    def reader() -> None:
        raise MemoryError

    with pytest.raises(MeshError, match="more memory than its size explains"):
        parse(reader, "mine.mesh")
