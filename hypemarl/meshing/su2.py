"""SU2 meshes: elements are the tag ``domain``, markers the tags of facets.

meshio drops the names of markers. Source of the format: https://su2code.github.io/docs_v7/Mesh-File
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hypemarl.meshing.groups import DOMAIN, FileMesh, Group

POINTS = {3: 2, 5: 3, 10: 4}
"""VTK number of an element -> its points, of straight simplices."""


def read_su2(path: Path) -> FileMesh:
    """The simplices and markers of an SU2 file of one zone. Local.

    Raises:
        ValueError: damaged, several zones, or elements other than straight simplices; one line.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = _Lines(text.splitlines())
    points, cells, tdim = np.empty((0, 0)), np.empty((0, 0), dtype=np.int64), 0
    marker, markers = "", dict[str, list[np.ndarray]]()
    for key, value in lines.settings():
        if key == "NZONE" and lines.count(value) != 1:
            raise ValueError(f"line {lines.number}: several zones are not supported; write one")
        elif key == "NDIME":
            tdim = lines.count(value)
        elif key == "NPOIN":
            points = lines.points(lines.count(value.split()[0] if value else value), tdim)
        elif key == "NELEM":
            cells = lines.elements(lines.count(value), tdim)
        elif key == "MARKER_TAG":
            marker = value
        elif key == "MARKER_ELEMS":
            markers.setdefault(marker, []).append(lines.elements(lines.count(value), tdim - 1))
    if not len(cells) or not len(points):
        raise ValueError("the file holds no mesh: expected NDIME=, NELEM= and NPOIN=")
    groups = [Group(DOMAIN, tdim, 1, np.arange(len(cells)))]
    facets = np.empty((0, tdim), dtype=np.int64)
    for number, (name, parts) in enumerate(markers.items(), start=2):
        before, facets = len(facets), np.concatenate([facets, *parts])
        groups.append(Group(name, tdim - 1, number, np.arange(before, len(facets))))
    return FileMesh(points, cells, facets, groups)


class _Lines:
    """Lines without comments (%), with the number of the last one that was read."""

    def __init__(self, lines: list[str]) -> None:
        self._lines, self.number = lines, 0

    def _next(self) -> list[str]:
        """The words of the next line that has any; none at the end."""
        while self.number < len(self._lines):
            self.number += 1
            words = self._lines[self.number - 1].split("%")[0].split()
            if words:
                return words
        return []

    def settings(self) -> Iterator[tuple[str, str]]:
        """KEY= value of the lines that are no rows of numbers."""
        while words := self._next():
            key, equals, value = " ".join(words).partition("=")
            if not equals:
                raise ValueError(
                    f"line {self.number}: expected KEY= value, got {' '.join(words)[:40]!r}; "
                    f"the file is damaged"
                )
            yield key.strip().upper(), value.strip()

    def count(self, value: str) -> int:
        """A count that the rest of the file can hold."""
        if not value.isdigit() or int(value) > len(self._lines):
            raise ValueError(
                f"line {self.number}: expected a count of at most {len(self._lines)} (the file's "
                f"lines), got {value[:40]!r}; the file is cut off or damaged"
            )
        return int(value)

    def _row(self, kind: type, least: int) -> list:
        words = self._next()
        try:
            row = [kind(word) for word in words]
        except ValueError:
            row = []
        if len(row) < least:
            raise ValueError(
                f"line {self.number}: expected {least} numbers, got {' '.join(words)[:40]!r}; the "
                f"file is cut off or damaged"
            )
        return row

    def points(self, count: int, dim: int) -> np.ndarray:
        """Coordinates (count, dim); what follows them on a line is the point's number."""
        return np.array([self._row(float, dim)[:dim] for _ in range(count)]).reshape(count, dim)

    def elements(self, count: int, dim: int) -> np.ndarray:
        """Point indices (count, dim + 1) of simplices; what follows is the element's number."""
        rows = []
        for _ in range(count):
            row = self._row(int, 2)
            if POINTS.get(row[0]) != dim + 1 or len(row) < dim + 2:
                raise ValueError(
                    f"line {self.number}: expected a straight simplex of dimension {dim}, got "
                    f"{row}; elements of other types are not supported"
                )
            rows.append(row[1 : dim + 2])
        return np.array(rows, dtype=np.int64).reshape(count, dim + 1)
