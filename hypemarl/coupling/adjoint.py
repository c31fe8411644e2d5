"""Vector-Jacobian products of a plant's control interval, for exact gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from hypemarl.config.errors import UnsupportedError
from hypemarl.types import Array, Row

if TYPE_CHECKING:
    from hypemarl.coupling.plant import Plant


class Tape(Protocol):
    """Forward run of an interval, as far as its transpose needs it."""

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

    def step(self, actions: Array) -> tuple[Array, Array, Row, Tape]:
        """``plant.step(actions)``, the same to the last bit, and the interval's tape. Collective.

        Raises:
            ActionError, SolverDiverged: as the plant does.
        """

    def pull(
        self, tape: Any, state_bar: Array, observations_bar: Array | None, shares_bar: Array
    ) -> tuple[Array, Array]:
        """Cotangents of the state before the interval and of its actions (n, m). Collective.

        Args:
            tape: of the interval; state_bar: (state_size,), of the state after it;
            observations_bar: (n, k), of the observations that it returned, None for zero;
            shares_bar: (n,), of the shares of its cost.

        An action beyond its bounds has derivative zero, one on a bound that of the inside.
        """


@contextmanager
def recording(plant: Any, record: Callable[..., None]) -> Iterator[None]:
    """``plant.record`` is ``record`` inside the block, and nothing after it. Local."""
    plant.record = record
    try:
        yield
    finally:
        plant.record = None


def require_adjoint(plant: Plant) -> PlantAdjoint:
    """The adjoint of ``plant``. Collective.

    Raises:
        UnsupportedError: the plant has none; says why.
    """
    adjoint = plant.adjoint()
    if adjoint is None:
        raise UnsupportedError(no_adjoint(plant))
    return adjoint


def no_adjoint(plant: Plant) -> str:
    """The sentence for a plant without an adjoint, with the reason. Local."""
    return f"no adjoint of {type(plant).__name__}: {plant.adjoint_fault}"
