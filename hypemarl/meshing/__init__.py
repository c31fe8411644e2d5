"""Shapes and mesh files -> distributed meshes with named tags."""

from hypemarl.meshing.distribute import TaggedMesh, distribute, gather, mesh_summary, require_tags
from hypemarl.meshing.files import build, write
from hypemarl.meshing.raw import MeshError, RawMesh
from hypemarl.meshing.shapes import exact_measures

__all__ = [
    "MeshError",
    "RawMesh",
    "TaggedMesh",
    "build",
    "distribute",
    "exact_measures",
    "gather",
    "mesh_summary",
    "require_tags",
    "write",
]
