"""Files that meshio or HDF5 read: they reach no other files but those beside them.

None of meshio's readers runs what it reads. Some open further files that the file names: XDMF its
HDF5 files, Abaqus its INCLUDEs, HDF5 external links and external storage.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hypemarl import files
from hypemarl.meshing.limits import limited

if TYPE_CHECKING:
    import h5py
    import meshio


# h5py cannot be imported any more once dolfinx.fem.petsc has loaded the HDF5 of its own wheel for
# all to see; the other order works. Formats without HDF5 do without.
with contextlib.suppress(ImportError, ValueError):
    importlib.import_module("h5py")

SCRIPTS = (".geo", ".geo_unrolled", ".py", ".jou", ".brep", ".step", ".stp", ".iges", ".igs")
HDF5 = b"\x89HDF\r\n\x1a\n"


def read_meshio(path: Path) -> meshio.Mesh:
    """The ``meshio.Mesh`` of a file whose suffix meshio knows.

    Raises:
        ValueError: it names files in other folders, it is a script or CAD file, or it defines
            entities. meshio raises other exceptions, SystemExit included.
    """
    import meshio

    with limited(_require_closed(path)):
        said, warned = io.StringIO(), io.StringIO()
        whole, folder = path.absolute(), path.resolve().parent
        try:
            with (
                contextlib.chdir(folder),  # where meshio looks first for included and raw files
                contextlib.redirect_stdout(said),
                contextlib.redirect_stderr(warned),
            ):
                mesh = meshio.read(whole)
        except SystemExit as error:  # meshio prints the reason and leaves
            reasons = said.getvalue().split() or warned.getvalue().split()
            raise ValueError(" ".join(reasons)) from error
    for line in filter(None, map(str.strip, warned.getvalue().splitlines())):
        warnings.warn(f"{path}: {line}", stacklevel=2)
    return mesh


def _require_closed(path: Path) -> int:
    """Check what else a file makes its reader open; returns the bytes that may be read."""
    require_no_script(path)
    opened = files.opened_with(path)
    for file in opened:
        with file.open("rb") as stream:
            hdf5 = stream.read(len(HDF5)) == HDF5
        with open_hdf5(file) if hdf5 else contextlib.nullcontext():
            pass
    return sum(file.stat().st_size for file in opened)


def require_no_script(path: Path) -> None:
    """Refuse a script or CAD file. Raises ValueError with the command that makes a mesh of it."""
    if path.suffix.lower() in SCRIPTS:
        raise ValueError(
            f"a {path.suffix} file is a script or CAD model, no mesh, and is not run here; mesh it "
            f"yourself, as by: gmsh -2 {path.name} -o {path.stem}.msh"
        )


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file for reading that holds all of its data itself.

    Raises:
        ValueError: external links, external or virtual datasets; OSError: no HDF5 file;
            ImportError: h5py is missing, or was loaded after the HDF5 of dolfinx.
    """
    try:
        import h5py
    except (ImportError, ValueError) as error:
        raise ImportError(
            f"HDF5 files need h5py ({error}); install h5py and import hypemarl before "
            f"dolfinx.fem.petsc, or write another format (.msh, .vtu)"
        ) from error

    def check(group: h5py.Group) -> None:
        for name in group:
            link = group.get(name, getlink=True)
            item = None if isinstance(link, h5py.ExternalLink) else group.get(name)
            inside = item is not None and not (
                isinstance(item, h5py.Dataset) and (item.is_virtual or item.external)
            )
            if not isinstance(link, h5py.SoftLink) and not inside:
                raise ValueError(f"{group.name}/{name} stands in another file; copy it into this")
            if isinstance(item, h5py.Group) and isinstance(link, h5py.HardLink):
                check(item)

    with h5py.File(path, "r") as file:
        check(file)
        yield file
