"""Results, anchors and counters of the steady flow solver."""

from dataclasses import dataclass

import numpy as np

from hypemarl.solvers.direct import Factorisation


@dataclass(frozen=True)
class FlowSolution:
    """A steady flow. Arrays are local, owned nodes first, then ghosts (numbering of TaylorHood).

    Attributes:
        viscosity: nu.
        velocity: (2, n_velocity_local) at the P2 nodes.
        pressure: (n_pressure_local,) at the vertices; of mean zero in an enclosed flow.
        forces: (2, n_velocity_local) nodal forces of the fluid where its velocity is fixed, from
            the residual; zero at free nodes and ghosts. Over no-slip walls they sum to drag and lift.
        residual: norm of the residual in units of the norm of ``forces``, or of viscosity times
            velocity where a flow bears next to none.
        newton_steps, chord_steps: with a new and with a kept factorisation.
        factorisations: how many were made.
        seconds: wall time of the solve.
    """

    viscosity: float
    velocity: np.ndarray
    pressure: np.ndarray
    forces: np.ndarray
    residual: float
    newton_steps: int
    chord_steps: int
    factorisations: int
    seconds: float


@dataclass(frozen=True)
class Anchor:
    """A flow kept with its factorisation: where solves of nearby problems start from."""

    state: np.ndarray
    factorisation: Factorisation


@dataclass
class Counters:
    """Totals over all solves of a solver."""

    newton_steps: int = 0
    chord_steps: int = 0
    factorisations: int = 0
    solves: int = 0
