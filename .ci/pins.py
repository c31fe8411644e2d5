"""Print the pins for an install: what is there already stays, the rest as in constraints.txt.

Run with the interpreter that owns the packages to keep. With ``--bare`` nothing counts as there.
A finite-element stack is built against its numpy and MPI, so an install beside it must not move
them.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path


def canonical(name: str) -> str:
    """A distribution's name as package installers compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> dict[str, str]:
    """Versions of the distributions that this interpreter sees, without itself and installers."""
    apart = {"hypemarl", "pip", "setuptools", "wheel", "uv"}
    found = {
        canonical(item.metadata["Name"]): item.version
        for item in metadata.distributions()
        if item.metadata["Name"]
    }
    # A build from source may carry a version that no installer can read.
    readable = re.compile(r"\d[\w.+!]*")
    return {
        name: version
        for name, version in found.items()
        if name not in apart and readable.fullmatch(version)
    }


def main() -> None:
    """Write the pins to standard output."""
    kept = {} if "--bare" in sys.argv[1:] else installed()
    pins = dict(kept)
    for line in (Path(__file__).parent / "constraints.txt").read_text("utf-8").splitlines():
        name, separator, version = line.partition("==")
        if separator and not line.startswith("#"):
            pins.setdefault(canonical(name), version.strip())
    for name in sorted(pins):
        print(f"{name}=={pins[name]}")


if __name__ == "__main__":
    main()
