"""Episodes of a small flow with a random functional of all that the plant returns."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "coupling"))

from episode_functional import EpisodeFunctional
from flow_case import PARAMETERS, flow_config, turned_plant
from mpi4py import MPI

from hypemarl.systems.flow.adjoint import FlowAdjoint

EXACT = 1e-12
BOTH: dict[str, Any] = {"action": "normal-tangential"}
OBLIQUE: dict[str, Any] = {
    "inflow": "oblique",
    "walls": "slip",
    "angle_high": 0.5,
    "objective": "dissipation",
    "arc_low": 90.0,
    "arc_high": 270.0,
}
JETS: dict[str, Any] = {
    "slots": ((90.0, 270.0),),
    "slot_half_width": 25.0,
    "smoothing": 0.1,
    "sensors": "wake-151",
    "probe_distances": (),
}
#: agents, where they are not six
AGENTS = {"dissipation": 4, "drag-jets": 1, "drag-turning": 1}
CASES: dict[str, dict[str, Any]] = {
    "drag": {},
    "drag-tangential": BOTH,
    "drag-upwards": {},
    "drag-power": BOTH | {"power_weight": 1.0},
    "drag-power-net": BOTH | {"power_weight": 1.0, "power": "net"},
    "drag-lift-mean": {"lift": "absolute-mean"},
    "drag-limit": {"u_max": 0.3},
    "drag-jets": JETS,
    "drag-turning": {"action": "tangential", "smoothing": 0.1},
    "dissipation": OBLIQUE,
    "dissipation-tangential": OBLIQUE | BOTH,
    "dissipation-power": OBLIQUE | {"power_weight": 0.1},
    "dissipation-power-net": OBLIQUE | {"power_weight": 0.1, "power": "net"},
}


class Functional(EpisodeFunctional):
    """That of a small flow."""

    def __init__(
        self, case: str, cache: Path, rtol: float = EXACT, comm: MPI.Intracomm | None = None
    ) -> None:
        agents = AGENTS.get(case, 4 if case.startswith("dissipation") else 6)
        degrees = 90.0 if case.endswith("upwards") else 0.0
        plant = turned_plant(cache, degrees, flow_config(agents=agents, **CASES[case]), comm)
        plant.solver.krylov.rtol = rtol
        super().__init__(plant, FlowAdjoint(plant, rtol), PARAMETERS, size=0.3, seen=1e-2)
