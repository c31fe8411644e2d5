"""Local models: the structure of a plant that a surrogate of the local dynamics may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hypemarl.config.errors import UnsupportedError

if TYPE_CHECKING:
    from hypemarl.coupling.plant import Plant


@dataclass(frozen=True, eq=False)
class DensityForm:
    """Shares of J in a control interval by patch means m and actions a, exact in the actions.

    share_i = interval (1/2 measures_i (e_i^2 + |s_i|^2 / 12) + 1/2 boundary_i m_i^2
                        + a^T control_i a)

    with e = m - d, d the target's patch means; s_i the differences of e across patch i, of which a
    linear profile has the variance |s_i|^2 / 12; a the actions of ``near`` agents, summed over
    components. Terms of the state by the trapezoidal rule between the interval's ends.
    """

    interval: float
    measures: np.ndarray
    """(n,) of the patches"""
    boundary: np.ndarray
    """(n,) boundary weight times the measure of the patch's part of the boundary"""
    near: np.ndarray
    """(n, K) agents whose actions reach the patch, -1 where there is none"""
    slopes: np.ndarray
    """(axes, n, K) weights of e at ``near`` agents in s: central differences, one-sided at walls"""
    control: np.ndarray
    """(n, K, K) forms of beta/2 ||u||^2 + beta_g/2 ||grad u||^2 over the patch"""


@dataclass(frozen=True, eq=False)
class LocalModel:
    """Composition of the agents' observations from local states."""

    state: tuple[int, ...]
    """columns of an observation that are the agent's own state: s numbers that the plant changes"""
    shown: np.ndarray
    """(k, 2) of every column: which of the seen agents, and which of its state's numbers it shows;
    (-1, -1) where it stays as it is through an episode"""
    seen: np.ndarray
    """(n, K) agents whose states an observation shows, -1 for zeros"""
    background_flow: tuple[int, ...] = ()
    """columns with the velocity of a flow that carries the state, none where there is none"""
    density: DensityForm | None = None
    """set where the state is a mean density, which a patch exchanges with its neighbours only"""
    free_start: bool = False
    """whether an episode may start in the first state of one with other mu and targets"""


def seen_alike(seen: np.ndarray, observation_size: int) -> LocalModel:
    """The local model where an observation shows the same numbers of every agent in ``seen``.

    Args:
        seen: (n, K), -1 where there is none, column K // 2 the agent itself. Local.
    """
    features = observation_size // seen.shape[1]
    columns = np.arange(observation_size)
    first = features * (seen.shape[1] // 2)
    return LocalModel(
        state=tuple(range(first, first + features)),
        shown=np.stack([columns // features, columns % features], axis=1),
        seen=seen,
    )


def require_local_model(plant: Plant) -> LocalModel:
    """The local model of ``plant``. Collective.

    Raises:
        UnsupportedError: the plant has none.
    """
    model = plant.local_model()
    if model is None:
        raise UnsupportedError(
            f"no local model of {type(plant).__name__}: expected a plant whose local_model() gives "
            "a hypemarl.coupling.local_model.LocalModel"
        )
    return model
