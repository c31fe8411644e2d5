"""Meshes from a configuration and from files, and meshes to files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from dolfinx.mesh import GhostMode
from mpi4py import MPI

from hypemarl.config import MeshConfig
from hypemarl.meshing import shapes
from hypemarl.meshing.convert import CELL_TYPES, PHYSICAL, PREFIX, from_meshio
from hypemarl.meshing.distribute import TaggedMesh, distribute, gather, require_tags
from hypemarl.meshing.raw import UNTAGGED, MeshError, RawMesh, parse
from hypemarl.mpi import raise_together

GMSH_TYPES = {0: 15, 1: 1, 2: 2, 3: 4}


def build(
    config: MeshConfig, comm: MPI.Intracomm, ghost_mode: GhostMode = GhostMode.shared_facet
) -> TaggedMesh:
    """The mesh of a configuration: its file where it names one, its shape otherwise. Collective.

    Rank 0 reads or generates, then the mesh is distributed.

    Args:
        config: shape or file, see :class:`hypemarl.config.MeshConfig`.
        comm: communicator of the mesh.
        ghost_mode: which ghost cells each rank keeps.

    Raises:
        MeshError: on every rank: the shape's numbers make no sense, the file cannot be used, it
            lacks the tag ``domain``, or there are more ranks than cells.
    """
    raw = None
    with raise_together(comm):
        if comm.rank == 0:
            raw = shapes.generate(config) if config.file is None else read(config.file)
    tagged = distribute(raw, comm, ghost_mode)
    require_tags(tagged, {"domain": tagged.mesh.topology.dim})
    return tagged


def read(path: str | Path) -> RawMesh:
    """Read a mesh file on this rank: .msh through gmsh, other formats through meshio.

    Raises:
        MeshError: the file is missing, empty, unreadable, or holds no mesh of straight simplices.
    """
    path = Path(path)
    if not path.is_file():
        raise MeshError(f"{path}: no such mesh file; check mesh.file (relative to {Path.cwd()})")
    if path.stat().st_size == 0:
        raise MeshError(f"{path}: the mesh file is empty; write it again")
    reader = _read_gmsh if path.suffix == ".msh" else _read_meshio
    return parse(lambda: reader(path), str(path))


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
                raw = read(source.file) if source.file else shapes.generate(source)
            if raw is not None:
                _write_raw(raw, path)
    return path


def _write_raw(raw: RawMesh, path: Path) -> None:
    if (raw.cell_values == UNTAGGED).any():
        raise MeshError(f"{path}: not written, since some cells have no tag")
    path.parent.mkdir(parents=True, exist_ok=True)
    (_write_gmsh if path.suffix == ".msh" else _write_meshio)(raw, path)


def _read_gmsh(path: Path) -> RawMesh:
    with shapes.session() as model:
        shapes.gmsh.merge(str(path))
        return shapes.extract(model, str(path))


def _read_meshio(path: Path) -> RawMesh:
    import meshio

    return from_meshio(meshio.read(path), str(path))


def _write_gmsh(raw: RawMesh, path: Path) -> None:
    """A discrete model: one entity and one physical group for every tag."""
    points = np.zeros((len(raw.points), 3))
    points[:, : raw.tdim] = raw.points
    with shapes.session() as model:
        first = True
        for name, (dim, value) in sorted(raw.tags.items(), key=lambda item: -item[1][0]):
            entity = model.addDiscreteEntity(dim)
            if first:
                model.mesh.addNodes(dim, entity, np.arange(1, len(points) + 1), points.ravel())
                first = False
            nodes = (raw.members(name) + 1).ravel()
            model.mesh.addElementsByType(entity, GMSH_TYPES[dim], [], nodes)
            model.addPhysicalGroup(dim, [entity], value, name)
        shapes.gmsh.write(str(path))


def _write_meshio(raw: RawMesh, path: Path) -> None:
    """Cells and facets as blocks with their tags; in 1D the tagged points carry theirs."""
    import meshio

    points = np.zeros((len(raw.points), 3))
    points[:, : raw.tdim] = raw.points
    blocks, values = [(CELL_TYPES[raw.tdim], raw.cells)], [raw.cell_values]
    if raw.tdim > 1 and len(raw.facets):
        blocks.append((CELL_TYPES[raw.tdim - 1], raw.facets))
        values.append(raw.facet_values)
    cell_data, point_data = {PHYSICAL: values}, {}
    for name, (dim, tag) in raw.tags.items():
        if dim == 0:
            point_data[PREFIX + name] = np.zeros(len(points), dtype=np.int32)
            point_data[PREFIX + name][raw.members(name).ravel()] = tag
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
