"""gmsh's MSH files, read as data: nothing in them is run, and no other file is opened.

gmsh itself takes whatever has no mesh's header for a script and runs it, commands of the system
included. Versions 1 and 4.0 (text), 2 to 2.2 and 4.1 (text and binary), partitioned ones too.

Source of the format: C. Geuzaine and J.-F. Remacle, Gmsh reference manual, section "MSH file
format" and its legacy versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hypemarl.meshing.groups import NO_MESH, FileMesh, Group
from hypemarl.meshing.msh_sections import (
    Elements,
    Groups,
    Nodes,
    read_binary_elements_2,
    read_elements_2,
    read_elements_4,
    read_entities,
    read_nodes_2,
    read_nodes_4,
    read_parametric_nodes_2,
    read_partitions,
)
from hypemarl.meshing.records import BinaryRecords, Records, TextRecords, show

FIRST = (b"MeshFormat", b"Comments", b"NOD")
SECTION = re.compile(rb"\s*\$([A-Za-z][A-Za-z0-9]*)[ \t\r]*\n")
NAME = re.compile(rb'\s*(\d+)\s+(-?\d+)\s+"([^"]*)"\s*')
CONVERT = "convert it by: gmsh OLD.msh -save -format msh41 -o NEW.msh"
READ = ("Nodes", "ParametricNodes", "Elements", "Entities", "PartitionedEntities", "NOD", "ELM")
"""Sections of numbers that are read; NOD and ELM are those of version 1."""
FOREIGN = {
    b"\x1f\x8b": "it is compressed by gzip; decompress it (gunzip)",
    b"PK": "it is a ZIP archive; unpack it",
    b"\xff\xfe": "it is UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "it is UTF-16 text; save it as UTF-8",
    b"\x89HDF": "it is an HDF5 file; give it the suffix of its format (.med, .xdmf beside .h5)",
    b"(": "it is a Fluent mesh; convert it to .msh of gmsh, .su2 or .vtu",
    b"DBRep": "it is a CAD file (.brep), no mesh; mesh it by: gmsh -2 CAD.brep -o NEW.msh",
    b"ISO-10303": "it is a CAD file (STEP), no mesh; mesh it by: gmsh -2 CAD.step -o NEW.msh",
}
SCRIPT = "a script (.geo) or CAD file is not run here: mesh it yourself by gmsh -2 FILE -o NEW.msh"


@dataclass(frozen=True)
class _Section:
    name: str
    body: bytes
    line: int


@dataclass(frozen=True)
class _Format:
    version: float
    order: str | None
    """Byte order of a binary file; None for text."""

    def records(self, section: _Section) -> Records:
        if self.order is None:
            return TextRecords(section.body, section.line)
        return BinaryRecords(section.body, self.order, section.name)


def read_msh(path: Path) -> FileMesh:
    """The simplices of a MSH file and its physical groups. Local.

    Raises:
        ValueError: not a mesh in this format, damaged, cells in no physical group, or elements
            other than straight simplices; one line without the file's name.
    """
    data = path.read_bytes()
    sections = list(_sections(data.removeprefix(b"\xef\xbb\xbf")))
    format_ = _format(sections[0])
    if format_.version > 1.0:
        sections = sections[1:]
    names: dict[tuple[int, int], str] = {}
    physical: Groups = {}
    nodes, elements = Nodes([], []), Elements([])
    for section in sections:
        if section.name == "PhysicalNames":
            names |= _names(section)
        elif section.name in READ:
            records = format_.records(section)
            _read(section.name, format_, records, nodes, elements, physical)
            records.finish()
    return _build(nodes, elements, physical, names)


def _read(
    name: str,
    format_: _Format,
    records: Records,
    nodes: Nodes,
    elements: Elements,
    physical: Groups,
) -> None:
    """Add a section's content to nodes, elements or physical groups of the entities."""
    version = format_.version
    if name == "Entities":
        read_entities(records, physical, version)
    elif name == "PartitionedEntities":
        read_partitions(records, physical, version)
    elif version >= 4.0:
        if name == "Nodes":
            read_nodes_4(records, nodes, version)
        else:
            read_elements_4(records, elements, version)
    elif name in ("Nodes", "NOD"):
        read_nodes_2(records, nodes)
    elif name == "ParametricNodes":
        read_parametric_nodes_2(records, nodes)
    elif format_.order is None:
        read_elements_2(records, elements, version)
    else:
        read_binary_elements_2(records, elements)


def _sections(data: bytes) -> Iterator[_Section]:
    """The sections of a file in order; text between them is refused."""
    at, first = 0, True
    while data[at:].strip():
        found = SECTION.match(data, at)
        if found is None or (first and found[1] not in FIRST):
            _refuse(data[at:], data.count(b"\n", 0, at) + 1, first)
        assert found is not None
        end = re.compile(rb"^\$(?:End|END)" + found[1] + rb"[ \t\r]*$", re.MULTILINE)
        stop = end.search(data, found.end())
        if stop is None:
            raise ValueError(
                f"the section ${found[1].decode()} (line {data.count(b'\n', 0, found.end())}) "
                f"has no end; the file is cut off or damaged, write it again"
            )
        if found[1] != b"Comments":
            line = data.count(b"\n", 0, found.end()) + 1
            yield _Section(found[1].decode(), data[found.end() : stop.start()], line)
            first = False
        at = stop.end()
    if first:
        raise ValueError("the file holds no mesh")


def _refuse(rest: bytes, line: int, first: bool) -> None:
    """Say what stands where a section should begin."""
    begins = rest.lstrip()
    if first:
        for start, words in FOREIGN.items():
            if begins.startswith(start):
                raise ValueError(f"expected $MeshFormat at its beginning: {words}")
    where = "at its beginning" if first else "or the end of the file"
    expected = f"$MeshFormat {where}" if first else f"a section ($Name) {where}"
    raise ValueError(
        f"line {line}: expected {expected}, got {show(begins.splitlines()[0])}; {SCRIPT}"
    )


def _format(section: _Section) -> _Format:
    if section.name == "NOD":
        return _Format(1.0, None)
    head, _, rest = section.body.partition(b"\n")
    words = head.split()
    try:
        version, binary, size = float(words[0]), int(words[1]), int(words[2])
    except (IndexError, ValueError):
        version, binary, size = 0.0, 0, 0
    known = version in (2.0, 2.1, 2.2, 4.0, 4.1) and binary in (0, 1)
    if not known or size != 8 or (binary and version == 4.0):
        raise ValueError(
            f"line {section.line}: expected a version from 2 to 2.2, 4.0 (text) or 4.1, 0 or 1 "
            f"(binary) and 8, got {show(head)}; {CONVERT}"
        )
    if not binary:
        return _Format(version, None)
    orders = {b"\x01\x00\x00\x00": "<", b"\x00\x00\x00\x01": ">"}
    if rest[:4] not in orders:
        raise ValueError("$MeshFormat of a binary file: expected the integer 1; damaged file")
    return _Format(version, orders[rest[:4]])


def _names(section: _Section) -> dict[tuple[int, int], str]:
    """(dimension, number) -> name."""
    names = {}
    lines = section.body.strip().split(b"\n")
    for number, line in enumerate(lines[1:], start=section.line + 1):
        found = NAME.fullmatch(line)
        if found is None:
            raise ValueError(
                f'line {number}: expected a dimension, a number and a "name", got {show(line)}'
            )
        names[int(found[1]), abs(int(found[2]))] = found[3].decode("utf-8", "replace")
    if lines[0].strip() != str(len(names)).encode():
        raise ValueError(
            f"$PhysicalNames (line {section.line}): expected {show(lines[0].strip())} names, got "
            f"{len(names)}; the file is damaged"
        )
    return names


def _build(
    nodes: Nodes, elements: Elements, physical: Groups, names: dict[tuple[int, int], str]
) -> FileMesh:
    tags, points = nodes.sorted()
    tdim = max((block.dim for block in elements.blocks if len(block.nodes)), default=0)
    if tdim == 0:
        raise ValueError(NO_MESH)
    rows, groups = {}, []
    for dim in (tdim, tdim - 1):
        found, members = elements.of(dim, physical)
        rows[dim] = _indices(tags, found)
        for number, which in members.items():
            groups.append(Group(names.get((dim, number), str(number)), dim, number, which))
    covered = np.zeros(len(rows[tdim]), dtype=bool)
    for group in groups:
        if group.dim == tdim:
            covered[group.members] = True
    if not covered.all():
        raise ValueError(
            f"{np.count_nonzero(~covered)} of {len(covered)} cells are in no physical group; put "
            f"every cell in one"
        )
    return FileMesh(points, rows[tdim], rows[tdim - 1], groups)


def _indices(tags: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Indices of nodes in the sorted tags; ValueError where one does not exist."""
    if not len(tags):
        raise ValueError("the file has no nodes")
    found = np.minimum(np.searchsorted(tags, nodes), len(tags) - 1)
    missing = tags[found] != nodes
    if missing.any():
        raise ValueError(
            f"elements name {np.count_nonzero(missing)} nodes that the file does not have, the "
            f"first one is {nodes[missing][0]}; the file is damaged"
        )
    return found
