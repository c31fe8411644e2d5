"""Small meshes with every obstacle, shared by the tests of morphing."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from hypemarl.config import MeshConfig
from hypemarl.meshing.morphing import (
    MeshMotion,
    Parametrisation,
    ShapeSpace,
    follow,
    outline_of,
)
from hypemarl.meshing.morphing.extension import assembled, barycentric_gradients, extended
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


def harmonic_extension(
    points: np.ndarray, cells: np.ndarray, moved: np.ndarray, fixed: np.ndarray
) -> np.ndarray:
    """As ``elastic_extension``, each component harmonic by itself."""
    gradients, volumes = barycentric_gradients(points, cells)
    local = np.einsum("n,nai,nbi->nab", volumes, gradients, gradients)
    shape = (len(points), len(points))
    return np.kron(extended(assembled(local, cells, cells, shape), moved, fixed, None), np.eye(2))


def least_area(points: np.ndarray, cells: np.ndarray) -> float:
    """Smallest signed area of a cell."""
    first, second = (points[cells[:, i]] - points[cells[:, 0]] for i in (1, 2))
    return 0.5 * float((first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).min())
