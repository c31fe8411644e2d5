"""Mesh files and the further files that their readers open: one list for reading and for hashing.

XDMF names files of numbers (HDF5, or raw: Format="Binary"), Abaqus includes files, TetGen has two
files, and DOLFIN's XML comes with data in files of a similar name. All stand in one folder.
"""

import hashlib
import re
from pathlib import Path
from xml.etree import ElementTree

from hypemarl.files.writing import sha256_of

_XDMF = (".xdmf", ".xmf")
_TETGEN = {".node": ".ele", ".ele": ".node"}


def opened_with(path: Path) -> list[Path]:
    """All files that a reader of ``path`` opens, itself first, the others sorted. Local.

    Raises:
        ValueError: it names a file in another folder or none, includes itself, defines XML
            entities, or is no XML under such a suffix; OSError: a file cannot be read.
    """
    suffix, folder = path.suffix.lower(), path.resolve().parent
    others: set[Path] = set()
    if suffix in (*_XDMF, ".vtu", ".xml"):
        _require_plain_xml(path)
    if suffix in _XDMF:
        others = {_beside(folder, name) for name in _data_files(path)}
    elif suffix == ".inp":
        _add_includes(path, folder, others)
    elif suffix in _TETGEN:
        others = {_beside(path.parent, path.stem + _TETGEN[suffix])}
    elif suffix == ".xml":
        others = _dolfin_data(path.stem, folder)
    return [path, *sorted(others)]


def content_hash(path: Path) -> str:
    """SHA-256 of the contents of a file and of all that are opened with it. Local.

    Raises:
        ValueError, OSError: as :func:`opened_with`.
    """
    digests = "".join(sha256_of(file) for file in opened_with(path))
    return hashlib.sha256(digests.encode()).hexdigest()


def _require_plain_xml(path: Path) -> None:
    data = path.read_bytes()
    if b"<!" in data and re.search(rb"<!(?:DOCTYPE[^>]*\[|ENTITY)", data):
        raise ValueError("an XML file that defines entities is not read; remove its <!ENTITY ...>")


def _data_files(path: Path) -> set[str]:
    """The names in an XDMF file of those that hold its numbers."""
    try:
        items = ElementTree.fromstring(path.read_bytes()).iter("DataItem")
    except ElementTree.ParseError as error:
        raise ValueError(f"it is no XML ({error})") from error
    texts = {item.text or "" for item in items if item.get("Format", "XML").upper() != "XML"}
    return {text.strip().partition(":")[0] for text in texts}


def _beside(folder: Path, name: str) -> Path:
    """A file that another one names, which must stand in the same folder."""
    file = folder / name
    if file.name != name or not file.is_file():
        raise ValueError(
            f"it refers to the file {name[:80]!r}, which is not beside it; put it into the folder "
            f"{str(folder)!r} and refer to it by its bare name"
        )
    return file


def _add_includes(path: Path, folder: Path, seen: set[Path], above: tuple[str, ...] = ()) -> None:
    """Add the files that an Abaqus file includes, and those that they include."""
    above = (*above, path.name)
    for name in _included(path):
        file = _beside(folder, name)
        if name in above:
            raise ValueError(f"*INCLUDE of {name!r} includes itself")
        if file not in seen:
            seen.add(file)
            _add_includes(file, folder, seen, above)


def _included(path: Path) -> list[str]:
    """The names on those lines that meshio takes for an INCLUDE."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        return [
            line.split("=")[-1].strip()
            for line in lines
            if line.partition(",")[0].strip().replace("*", "").upper() == "INCLUDE"
            and not line.startswith("**")
        ]


def _dolfin_data(stem: str, folder: Path) -> set[Path]:
    """The data files of a mesh in DOLFIN's XML, by the expression by which meshio finds them."""
    try:
        pattern = re.compile(rf"{stem}_([^\.]+)\.xml")
    except re.error as error:
        raise ValueError(f"its name is no pattern for its data files ({error})") from error
    matches = {file for file in folder.iterdir() if pattern.match(file.name)}
    for file in matches:
        _require_plain_xml(file)
    return matches
