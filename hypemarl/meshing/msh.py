"""gmsh's MSH files, read as data: nothing in them is run, and no other file is opened.

gmsh itself takes whatever has no mesh's header for a script and runs it, commands of the system
included. Versions 1 and 4.0 (text), 2 to 2.2 and 4.1 (text and binary), partitioned ones too.

Source of the format: C. Geuzaine and J.-F. Remacle, Gmsh reference manual, section "MSH file
format" and its legacy versions.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hypemarl.meshing import msh_sections as sections
from hypemarl.meshing.groups import FileMesh, Group, top_dimension
from hypemarl.meshing.msh_sections import Content
from hypemarl.meshing.records import BinaryRecords, Records, show

FIRST = (b"MeshFormat", b"Comments", b"NOD")
SECTION = re.compile(rb"\s*\$([A-Za-z][A-Za-z0-9]*)[ \t\r]*\n")
NAME = re.compile(rb'\s*(\d+)\s+(-?\d+)\s+"([^"]*)"\s*')
CONVERT = "convert it by: gmsh OLD.msh -save -format msh41 -o NEW.msh"
READERS = {
    "NOD": sections.read_nodes_2,  # of version 1, as ELM
    "ELM": sections.read_elements_2,
    "Nodes": sections.read_nodes_2,
    "ParametricNodes": sections.read_parametric_nodes_2,
    "Elements": sections.read_elements_2,
    "Entities": sections.read_entities,
    "PartitionedEntities": sections.read_partitions,
}
"""Sections of numbers, in the layout of versions below 4."""
READERS_4 = READERS | {"Nodes": sections.read_nodes_4, "Elements": sections.read_elements_4}
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


def read_msh(path: Path) -> FileMesh:
    """The simplices of a MSH file and its physical groups. Local.

    Raises:
        ValueError: not a mesh in this format, damaged, cells in no physical group, or elements
            other than straight simplices; one line without the file's name.
    """
    data = path.read_bytes()
    parts = list(_sections(data.removeprefix(b"\xef\xbb\xbf")))
    version, order = _format(parts[0])
    content, names = Content(version), dict[tuple[int, int], str]()
    readers = READERS if version < 4.0 else READERS_4
    for part in parts:
        if part.name == "PhysicalNames":
            names |= _names(part)
        elif part.name in readers:
            records = (
                Records(part.body, part.line)
                if order is None
                else BinaryRecords(part.body, order, part.name)
            )
            readers[part.name](records, content)
            records.finish()
    return _build(content, names)


def _sections(data: bytes) -> Iterator[_Section]:
    """The sections of a file in order; text between them is refused."""
    at, first = 0, True
    while data[at:].strip():
        start = SECTION.match(data, at)
        if start is None or (first and start[1] not in FIRST):
            raise _unexpected(data[at:], data.count(b"\n", 0, at) + 1, first)
        end = re.compile(rb"^\$(?:End|END)" + start[1] + rb"[ \t\r]*$", re.MULTILINE)
        stop, line = end.search(data, start.end()), data.count(b"\n", 0, start.end())
        if stop is None:
            raise ValueError(
                f"the section ${start[1].decode()} (line {line}) has no end; the file is cut off "
                f"or damaged, write it again"
            )
        if start[1] != b"Comments":
            yield _Section(start[1].decode(), data[start.end() : stop.start()], line + 1)
            first = False
        at = stop.end()
    if first:
        raise ValueError("the file holds no mesh")


def _unexpected(rest: bytes, line: int, first: bool) -> ValueError:
    """The error for what stands where a section should begin."""
    begins = rest.lstrip()
    for start, words in FOREIGN.items() if first else ():
        if begins.startswith(start):
            return ValueError(f"expected $MeshFormat at its beginning: {words}")
    expected = "$MeshFormat at its beginning" if first else "a section ($Name) or the file's end"
    got = show(begins.splitlines()[0])
    return ValueError(f"line {line}: expected {expected}, got {got}; {SCRIPT}")


def _format(section: _Section) -> tuple[float, Literal["<", ">"] | None]:
    """The version, and the byte order of a binary file (None for text)."""
    if section.name == "NOD":
        return 1.0, None
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
        return version, None
    orders: dict[bytes, Literal["<", ">"]] = {b"\x01\x00\x00\x00": "<", b"\x00\x00\x00\x01": ">"}
    if rest[:4] not in orders:
        raise ValueError("$MeshFormat of a binary file: expected the integer 1; damaged file")
    return version, orders[rest[:4]]


def _names(section: _Section) -> dict[tuple[int, int], str]:
    """(dimension, number) -> name."""
    names = {}
    lines = section.body.strip().split(b"\n")
    for number, line in enumerate(lines[1:], start=section.line + 1):
        entry = NAME.fullmatch(line)
        if entry is None:
            raise ValueError(
                f'line {number}: expected a dimension, a number and a "name", got {show(line)}'
            )
        names[int(entry[1]), abs(int(entry[2]))] = entry[3].decode("utf-8", "replace")
    if lines[0].strip() != str(len(names)).encode():
        raise ValueError(
            f"$PhysicalNames (line {section.line}): expected {show(lines[0].strip())} names, got "
            f"{len(names)}; the file is damaged"
        )
    return names


def _build(content: Content, names: dict[tuple[int, int], str]) -> FileMesh:
    tags, points = content.nodes()
    tdim = top_dimension(block.dim for block in content.blocks if len(block.nodes))
    rows, groups = {}, []
    for dim in (tdim, tdim - 1):
        nodes, members = content.elements(dim)
        rows[dim] = _indices(tags, nodes)
        for number, which in members.items():
            groups.append(Group(names.get((dim, number), str(number)), dim, number, which))
    covered = np.zeros(len(rows[tdim]), dtype=bool)
    for group in (group for group in groups if group.dim == tdim):
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
    indices = np.minimum(np.searchsorted(tags, nodes), len(tags) - 1)
    unknown = tags[indices] != nodes
    if unknown.any():
        raise ValueError(
            f"elements name {np.count_nonzero(unknown)} nodes that the file does not have, the "
            f"first one is {nodes[unknown][0]}; the file is damaged"
        )
    return indices
