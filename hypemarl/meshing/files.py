"""Meshes from a configuration and from files, and meshes to files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mpi4py import MPI

from hypemarl.config import MeshConfig, mesh_files
from hypemarl.meshing import shapes
from hypemarl.meshing.convert import CELL_TYPES, PHYSICAL, PREFIX, from_meshio
from hypemarl.meshing.distribute import TaggedMesh, distribute, gather, require_tags
from hypemarl.meshing.foreign import read_meshio, require_no_script
from hypemarl.meshing.groups import FileMesh, assemble
from hypemarl.meshing.limits import limited
from hypemarl.meshing.med import read_med
from hypemarl.meshing.msh import read_msh
from hypemarl.meshing.raw import UNTAGGED, MeshError, RawMesh, checked, parse
from hypemarl.meshing.su2 import read_su2
from hypemarl.meshing.topology import merge_points, require_sound
from hypemarl.mpi import raise_together

WITHOUT_NAMES = (".su2", ".med", ".inp", ".mesh", ".meshb")
"""Formats that are read with their tags, and in which meshio writes none, or their numbers only."""


def build(config: MeshConfig, comm: MPI.Intracomm) -> TaggedMesh:
    """The mesh of a configuration: its file where it names one, its shape otherwise. Collective.

    Rank 0 reads or generates, then the mesh is distributed.

    Args:
        config: shape or file, see :class:`hypemarl.config.MeshConfig`.
        comm: communicator of the mesh.

    Raises:
        MeshError: on every rank: bad numbers of a shape, an unusable file, no tag ``domain``, or
            more ranks than cells.
    """
    raw = None
    with raise_together(comm):
        if comm.rank == 0:
            raw = load(config)
    tagged = distribute(raw, comm)
    require_tags(tagged, {"domain": tagged.mesh.topology.dim})
    return tagged


def load(config: MeshConfig) -> RawMesh:
    """The mesh of a configuration on this rank: of its file if any, else of its shape.

    Raises MeshError as :func:`read` and :func:`hypemarl.meshing.shapes.generate`.
    """
    if config.file is None:
        return shapes.generate(config)
    return read(config.file, config.names, config.facet_file, config.merge_distance)


def read(
    path: str | Path,
    names: Sequence[str] = (),
    facet_file: str | Path | None = None,
    merge_distance: float = 0.0,
) -> RawMesh:
    """Read a mesh file on this rank, as data: nothing in it is run.

    .msh, .su2 and .med have readers here, other suffixes go through meshio.

    Args:
        path: the file.
        names: entries ``ours=theirs``, see :func:`hypemarl.meshing.groups.assemble`.
        facet_file: a second file that meshio reads, with the facets and their numbers.
        merge_distance: points at most this far apart become one, in the units of the file; 0
            merges none.

    Raises:
        MeshError: a file is absent, empty or damaged, it holds no mesh of straight simplices, its
            cells are not connected, or names fit none of its groups.
    """
    path, facets = Path(path), None if facet_file is None else Path(facet_file)
    for file, name in ((path, "file"), (facets, "facet_file")):
        if file is not None and not file.is_file():
            raise MeshError(mesh_files.unreadable(file, name))
        if file is not None and file.stat().st_size == 0:
            raise MeshError(f"{file}: the mesh file is empty; write it again")

    def make() -> RawMesh:
        raw = assemble(_content(path, facets), str(path), names)
        return merge_points(checked(raw, str(path)), merge_distance) if merge_distance else raw

    return require_sound(parse(make, str(path)), str(path))


def _content(path: Path, facets: Path | None) -> FileMesh:
    require_no_script(path)
    readers = {".msh": read_msh, ".su2": read_su2, ".med": read_med}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        return from_meshio(read_meshio(path), None if facets is None else read_meshio(facets))
    if facets is not None:
        raise ValueError(
            f"env.mesh.facet_file={facets} is for formats without facets of their own (.xdmf, "
            f".vtu); a {path.suffix} file holds both"
        )
    with limited(path.stat().st_size):
        return reader(path)


def write(
    source: TaggedMesh | MeshConfig, path: str | Path, comm: MPI.Intracomm | None = None
) -> Path:
    """Write a mesh with its tags; the suffix chooses the format. Collective for a TaggedMesh.

    .msh is written by gmsh, other suffixes by meshio (.xdmf, .vtu, .vtk, ...).

    Args:
        source: a distributed mesh, or a configuration, which is then meshed on rank 0.
        path: file to write; its folder is made.
        comm: for a configuration, the communicator whose ranks call (default: this rank alone).

    Returns:
        The path.

    Raises:
        MeshError: on every rank: no such format, or some cells have no tag.
    """
    path = Path(path)
    raw: RawMesh | None = None
    if isinstance(source, TaggedMesh):
        raw, comm = gather(source), MPI.Intracomm(source.mesh.comm)
    ranks = comm or MPI.COMM_SELF
    with raise_together(ranks):
        if ranks.rank == 0:
            if isinstance(source, MeshConfig):
                raw = load(source)
            if raw is not None:
                _write_raw(raw, path)
    return path


def _write_raw(raw: RawMesh, path: Path) -> None:
    if (raw.cell_values == UNTAGGED).any():
        raise MeshError(f"{path}: not written, since some cells have no tag")
    if path.suffix in WITHOUT_NAMES:
        raise MeshError(
            f"{path}: not written: {path.suffix} would lose the names of tags; take .msh or .vtu"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    (_write_gmsh if path.suffix == ".msh" else _write_meshio)(raw, path)


def _groups(raw: RawMesh) -> dict[str, tuple[int, int]]:
    """Tags with one name for each set of facets: ``bottom+top`` where two names stand for one."""
    names: dict[tuple[int, int], list[str]] = {}
    for name, entry in raw.tags.items():
        names.setdefault(entry, []).append(name)
    return {"+".join(parts): entry for entry, parts in names.items()}


def _points_3d(raw: RawMesh) -> np.ndarray:
    return np.pad(raw.points, ((0, 0), (0, 3 - raw.tdim)))


def _write_gmsh(raw: RawMesh, path: Path) -> None:
    """A discrete model: one entity and one physical group for every tag."""
    points = _points_3d(raw)
    with shapes.session() as model:
        groups = sorted(_groups(raw).items(), key=lambda item: -item[1][0])
        for index, (name, (dim, value)) in enumerate(groups):
            entity = model.addDiscreteEntity(dim)
            if index == 0:
                model.mesh.addNodes(dim, entity, np.arange(1, len(points) + 1), points.ravel())
            nodes = (raw.members_of(dim, value) + 1).ravel()
            model.mesh.addElementsByType(entity, shapes.GMSH_TYPES[dim], [], nodes)
            model.addPhysicalGroup(dim, [entity], value, name)
        shapes.gmsh.write(str(path))


def _write_meshio(raw: RawMesh, path: Path) -> None:
    """Cells and facets as blocks with their tags; in 1D the tagged points carry theirs."""
    import meshio

    points = _points_3d(raw)
    blocks, values = [(CELL_TYPES[raw.tdim], raw.cells)], [raw.cell_values]
    if raw.tdim > 1 and len(raw.facets):
        blocks.append((CELL_TYPES[raw.tdim - 1], raw.facets))
        values.append(raw.facet_values)
    cell_data, point_data = {PHYSICAL: values}, {}
    for name, (dim, tag) in _groups(raw).items():
        if dim == 0:
            point_data[PREFIX + name] = np.zeros(len(points), dtype=np.int32)
            point_data[PREFIX + name][raw.members_of(dim, tag).ravel()] = tag
        else:
            here = [np.where(v == tag, v, 0) * (dim == raw.tdim - i) for i, v in enumerate(values)]
            cell_data[PREFIX + name] = [part.astype(np.int32) for part in here]
    try:
        # As text in the XDMF file itself, so that one file holds the mesh.
        options = {"data_format": "XML"} if path.suffix == ".xdmf" else {}
        meshio.Mesh(points, blocks, point_data, cell_data).write(path, **options)
    # meshio reports an unknown suffix as a ReadError, here as well.
    except (meshio.WriteError, meshio.ReadError, KeyError, ValueError, SystemExit) as error:
        raise MeshError(
            f"{path}: meshio cannot write this mesh so: {error}. Choose another suffix (.msh, .vtu)"
            f"; for .xdmf install h5py and import hypemarl before dolfinx.fem.petsc"
        ) from error
