"""Obstacles whose boundary agents move, always feasible; the mesh follows (docs/morphing.md)."""

from hypemarl.meshing.morphing.bounds import ShapeBounds, default_bounds
from hypemarl.meshing.morphing.feasible import FeasibleMap, FeasibleShape
from hypemarl.meshing.morphing.motion import MeshMotion, follow, outline_of
from hypemarl.meshing.morphing.outlines import Outline
from hypemarl.meshing.morphing.parametrisation import KINDS, Parametrisation
from hypemarl.meshing.morphing.shape_space import ShapeSpace

__all__ = [
    "KINDS",
    "FeasibleMap",
    "FeasibleShape",
    "MeshMotion",
    "Outline",
    "Parametrisation",
    "ShapeBounds",
    "ShapeSpace",
    "default_bounds",
    "follow",
    "outline_of",
]
