"""Episodes of a small morphing obstacle with a random functional of all that the plant returns."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "coupling"))

from episode_functional import EpisodeFunctional
from mpi4py import MPI
from shape_case import PARAMETERS, shape_config, shape_plant

from hypemarl.systems.shape.adjoint import ShapeAdjoint

CASES: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {
    "drag": (8, {"lift_weight": 0.5}, {}),
    "dissipation": (8, {"objective": "dissipation"}, {"displacement": "normal-bspline"}),
    "free-form": (9, {}, {"displacement": "free-form"}),
    "bounded": (8, {}, {"max_curvature": 1.4, "displacement": "radial-bspline"}),
}
"""Agents, settings of the flow and of the shape."""


class Functional(EpisodeFunctional):
    """That of a small morphing obstacle."""

    def __init__(self, case: str, size: float = 0.4, comm: MPI.Intracomm | None = None) -> None:
        agents, flow, shape = CASES[case]
        plant = shape_plant(shape_config(agents, flow, **shape), comm)
        super().__init__(plant, ShapeAdjoint(plant), PARAMETERS, size=size, seen=1e-1)

    @property
    def limits(self) -> list[str | None]:
        """The bounds that the shapes of the last episode met."""
        return [info["limit"] for info in self.infos]
