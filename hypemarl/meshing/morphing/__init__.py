"""Obstacles whose boundary agents move, always feasible; the mesh follows (docs/morphing.md)."""

from hypemarl.meshing.morphing.bounds import ShapeBounds, chosen_bounds, default_bounds
from hypemarl.meshing.morphing.extension import elastic_extension, factorised
from hypemarl.meshing.morphing.feasible import FeasibleMap, FeasibleShape
from hypemarl.meshing.morphing.motion import MeshMotion, anticlockwise, follow, outline_of
from hypemarl.meshing.morphing.moving import MovingMesh, place
from hypemarl.meshing.morphing.outlines import Outline
from hypemarl.meshing.morphing.overlap import CellGrid
from hypemarl.meshing.morphing.parametrisation import KINDS, Parametrisation
from hypemarl.meshing.morphing.quality import radius_ratios
from hypemarl.meshing.morphing.remesh import remesh, renewed
from hypemarl.meshing.morphing.shape_space import ShapeSpace
from hypemarl.meshing.morphing.transfer import DensityTransfer

__all__ = [
    "KINDS",
    "CellGrid",
    "DensityTransfer",
    "FeasibleMap",
    "FeasibleShape",
    "MeshMotion",
    "MovingMesh",
    "Outline",
    "Parametrisation",
    "ShapeBounds",
    "ShapeSpace",
    "anticlockwise",
    "chosen_bounds",
    "default_bounds",
    "elastic_extension",
    "factorised",
    "follow",
    "outline_of",
    "place",
    "radius_ratios",
    "remesh",
    "renewed",
]
