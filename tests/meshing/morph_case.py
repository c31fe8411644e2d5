"""Small meshes with every obstacle, shared by the tests of morphing."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from hypemarl.config import MeshConfig
from hypemarl.meshing.morphing import (
    MeshMotion,
    Parametrisation,
    ShapeSpace,
    follow,
    outline_of,
)
from hypemarl.meshing.raw import RawMesh
from hypemarl.meshing.shapes import generate

COARSE = MeshConfig(
    shape="channel-with-obstacle", element_size=0.08, disc_element_size=0.01, obstacle_length=0.1
)
AEROFOIL = replace(
    COARSE,
    obstacle="points",
    obstacle_file=str(Path(__file__).parents[2] / "meshes" / "naca0012.dat"),
    obstacle_length=1.0,
    obstacle_angle=-0.1,
    disc_element_size=0.06,
    disc_centre=(1.5, 1.0),
    element_size=0.3,
    length=5.0,
    height=2.0,
)
OBSTACLES = {
    "circle": COARSE,
    "ellipse": replace(COARSE, obstacle="ellipse", obstacle_angle=0.4),
    "rounded-square": replace(COARSE, obstacle="rounded-square"),
    "aerofoil": AEROFOIL,
}


@cache
def mesh(name: str) -> RawMesh:
    return generate(OBSTACLES[name])


@cache
def case(name: str, kind: str, agents: int = 16) -> tuple[ShapeSpace, MeshMotion]:
    space = ShapeSpace(Parametrisation(outline_of(mesh(name)), kind, agents))  # type: ignore[arg-type]
    return space, follow(mesh(name), space)
