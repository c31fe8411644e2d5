"""Vector-Jacobian products of a plant's control interval: what exact gradients are made of."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from hypemarl.coupling.plant import Plant
from hypemarl.systems.density.plant import DensityPlant
from hypemarl.systems.flow.plant import FlowPlant
from hypemarl.systems.shape.plant import ShapePlant
from hypemarl.types import Row


class Tape(Protocol):
    """What an interval's transpose needs of the forward run."""

    @property
    def nbytes(self) -> int:
        """Memory that this rank holds."""


class PlantAdjoint(Protocol):
    """A plant and the transpose of its control interval, exact for the discrete scheme.

    A state cotangent is this rank's flat array; sums over ranks of its products with state
    perturbations are derivatives. Cotangents of observations and shares are those of the numbers
    that every rank holds, identical everywhere.
    """

    @property
    def plant(self) -> Plant:
        """The plant that is stepped."""

    @property
    def state_size(self) -> int:
        """Length of this rank's state cotangents."""

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, Row, Any]:
        """``plant.step(actions)``, the same to the last bit, and the interval's tape. Collective.

        Raises:
            ActionError, SolverDiverged: as the plant does.
        """

    def pull(
        self,
        tape: Any,
        state_bar: np.ndarray,
        observations_bar: np.ndarray | None,
        shares_bar: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cotangents of the state before the interval and of its actions (n, m). Collective.

        Args:
            tape: of the interval; state_bar: (state_size,), of the state after it;
            observations_bar: (n, k), of the observations that it returned, None for zero;
            shares_bar: (n,), of the shares of its cost.

        An action beyond its bounds has derivative zero, one on a bound that of the inside.
        """


def has_adjoint(plant: Plant) -> bool:
    """Whether :func:`adjoint_of` knows the adjoint of ``plant``. Local."""
    if isinstance(plant, ShapePlant):
        return plant.steady and not plant.config.shape.remesh
    return isinstance(plant, DensityPlant | FlowPlant)


def adjoint_of(plant: Plant) -> PlantAdjoint:
    """The adjoint of any plant of this package. Collective.

    Raises:
        TypeError: the plant has none (unsteady shapes too), or remeshes.
    """
    if isinstance(plant, DensityPlant):
        from hypemarl.systems.density.adjoint import DensityAdjoint

        return DensityAdjoint(plant)
    if isinstance(plant, FlowPlant):
        from hypemarl.systems.flow.adjoint import FlowAdjoint

        return FlowAdjoint(plant)
    if isinstance(plant, ShapePlant) and plant.steady:
        from hypemarl.systems.shape.adjoint import ShapeAdjoint

        return ShapeAdjoint(plant)
    raise TypeError(
        f"no adjoint of {type(plant).__name__}: expected a density, flow or shape plant, or write "
        "one with the interface of hypemarl.coupling.adjoint.PlantAdjoint"
    )
