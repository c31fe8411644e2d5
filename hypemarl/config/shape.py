"""Settings of an obstacle whose boundary agents move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hypemarl.config.keys import key

Displacement = Literal[
    "radial-bspline", "radial-fourier", "normal-bspline", "normal-fourier", "free-form"
]
Mode = Literal["steady", "unsteady"]


@dataclass(frozen=True)
class ShapeConfig:
    """How agents move an obstacle's boundary, and what its shapes keep (docs/morphing.md).

    R is the radius of the circle of the reference's area.
    """

    mode: Mode = key(
        "steady", "steady: the steady flow of every shape; unsteady: flow while the shape moves"
    )
    displacement: Displacement = key(
        "radial-fourier", "what an agent's amplitude moves: radial-*, normal-*, or free-form"
    )
    lag: float = key(
        0.5, "share of the way to the wanted amplitudes that a step goes", above=0, high=1
    )
    amplitude: float = key(0.5, "largest amplitude, which actions of size 1 want, in R", above=0)
    area: float = key(1.0, "area that all shapes have, over that of the reference", above=0)
    max_curvature: float | None = key(
        None, "largest curvature times R; null: twice the reference's, at least 6", above=0
    )
    min_thickness: float | None = key(
        None, "smallest thickness over R; null: half the reference's, at most 1/2", above=0
    )
    min_quality: float = key(0.2, "radius ratio of the worst cell", above=0, high=1)
    remesh: bool = key(
        False, "make a mesh below min_quality anew; else it limits the shape. Has no gradients"
    )
