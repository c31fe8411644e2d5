"""Numbers of a mesh file in order, as text or as bytes, with every count checked first.

A count that the file cannot hold is refused before anything of its size is made.
"""

import warnings
from typing import Literal, override

import numpy as np
from numpy.typing import DTypeLike

EXACT = 2.0**53
"""Whole numbers below this are exact as float64."""


class Records:
    """Numbers of a section in text, whatever their layout in lines; each call takes the next ones.

    Args:
        body: text of a section.
        line: its first line in the file, for messages.

    Raises:
        ValueError: from all calls, past the end or at a word that is no such number.
    """

    def __init__(self, body: bytes, line: int) -> None:
        self._values, self._at, self._line = numbers(body, line), 0, line

    def floats(self, count: int) -> np.ndarray:
        """The next float64 (count,)."""
        rest = len(self._values) - self._at
        if not 0 <= count <= rest:
            raise ValueError(
                f"the section from line {self._line} promises {count} more numbers and holds "
                f"{rest}; the file is cut off or damaged"
            )
        self._at += count
        return self._values[self._at - count : self._at]

    def ints(self, count: int) -> np.ndarray:
        """The next 32-bit integers (count,), as int64."""
        return self._whole(self.floats(count))

    def _whole(self, values: np.ndarray) -> np.ndarray:
        whole = (np.abs(values) < EXACT) & (values == np.rint(values))
        if not whole.all():
            raise ValueError(
                f"expected whole numbers in the section from line {self._line}, got "
                f"{values[~whole][0]:g}"
            )
        return values.astype(np.int64)

    def sizes(self, count: int) -> np.ndarray:
        """The next unsigned integers (count,), as int64; of 64 bits in a binary file."""
        return self.ints(count)

    def count_line(self) -> int:
        """The count at the beginning of a section of MSH 2, text in binary files as well."""
        return int(self.ints(1)[0])

    def table(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of a number and three coordinates: (count,) int64 and (count, 3) float64."""
        rows = self.floats(4 * count).reshape(count, 4)
        return self._whole(rows[:, 0]), rows[:, 1:]

    def rest(self) -> list[int]:
        """All remaining integers."""
        return self.ints(len(self._values) - self._at).tolist()

    def finish(self) -> None:
        """Check that the section is read to its end."""
        if self._at < len(self._values):
            raise ValueError(
                f"the section from line {self._line} holds {len(self._values) - self._at} numbers "
                f"more than it promises; the file is damaged"
            )


class BinaryRecords(Records):
    """As :class:`Records`, of the bytes of section ``name`` in byte ``order`` ``<`` or ``>``."""

    def __init__(self, body: bytes, order: Literal["<", ">"], name: str) -> None:
        self._body, self._order, self._name, self._at = body, order, name, 0

    def _take(self, kind: DTypeLike, count: int) -> np.ndarray:
        dtype = np.dtype(kind).newbyteorder(self._order)
        rest = (len(self._body) - self._at) // dtype.itemsize
        if not 0 <= count <= rest:
            raise ValueError(
                f"the section ${self._name} promises {count} more numbers and holds {rest}; the "
                f"file is cut off or damaged"
            )
        self._at += count * dtype.itemsize
        return np.frombuffer(self._body, dtype, count, self._at - count * dtype.itemsize)

    @override
    def ints(self, count: int) -> np.ndarray:
        return self._take("i4", count).astype(np.int64)

    @override
    def sizes(self, count: int) -> np.ndarray:
        values = self._take("u8", count)
        if (values >= EXACT).any():
            raise ValueError(
                f"{values.max()} in the section ${self._name} is no count; the file is damaged"
            )
        return values.astype(np.int64)

    @override
    def floats(self, count: int) -> np.ndarray:
        return self._take("f8", count).astype(np.float64)

    @override
    def count_line(self) -> int:
        line, end, _ = self._body[self._at :].partition(b"\n")
        if not (end and line.strip().isdigit()):
            raise ValueError(f"${self._name}: expected a count, got {show(line)}; damaged file")
        self._at += len(line) + 1
        return int(line)

    @override
    def table(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self._take([("tag", "i4"), ("x", "f8", 3)], count)
        return rows["tag"].astype(np.int64), rows["x"].astype(np.float64)

    @override
    def finish(self) -> None:
        if self._body[self._at :].strip():
            raise ValueError(f"the section ${self._name} is longer than it promises; damaged file")


def numbers(body: bytes, line: int = 1) -> np.ndarray:
    """All numbers of a text as float64 (n,). Raises ValueError with the line of any other word."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy warns where text is no number, and stops there
        try:
            return np.fromstring(body, dtype=np.float64, sep=" ") if body.strip() else np.empty(0)
        except (DeprecationWarning, ValueError):
            pass  # named below, by line
    for number, text in enumerate(body.split(b"\n"), start=line):
        for word in text.split():
            try:
                float(word)
            except ValueError:
                raise ValueError(f"line {number}: expected a number, got {show(word)}") from None
    raise ValueError(f"line {line}: expected numbers separated by blanks")


def show(text: bytes, length: int = 40) -> str:
    """Bytes of a file as text for a message, cut to a length, without control characters."""
    return repr(text[:length].decode("ascii", "replace").replace("\ufffd", "?"))
