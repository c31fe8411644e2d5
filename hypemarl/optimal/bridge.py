"""The plant as a differentiable function of torch: its step forward, its adjoint backward."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hypemarl.optimal.taped import TapedPlant
from hypemarl.solvers.errors import SolverDiverged


class Differentiable(NamedTuple):
    """Result of a step: a state for the next one, observations (n, k), cost shares (n,)."""

    state: Tensor
    observations: Tensor
    shares: Tensor


def begin(taped: TapedPlant) -> Tensor:
    """The state for the first step of a graph: nothing is differentiated beyond it.

    On the leading rank inside ``taped.lead``, as are steps and the backward pass.
    """
    taped.begin()
    return torch.zeros(taped.adjoint.state_size, dtype=torch.float64, requires_grad=True)


def step(taped: TapedPlant, state: Tensor, actions: Tensor) -> Differentiable:
    """One control interval under ``actions`` (n, m), float64. The plant itself moves on.

    ``state`` stands for the plant's after the step before: its values mean nothing, its gradient is
    this rank's part of that of the plant's state. A graph is differentiated once, at its end.

    Raises:
        ActionError, SolverDiverged: as the plant does.
    """
    return Differentiable(*PlantStep.apply(taped, state, actions))


def rollout(
    taped: TapedPlant,
    act: Callable[[Tensor], Tensor],
    observations: np.ndarray,
    steps: int,
    limit: float = math.inf,
) -> Iterator[Differentiable]:
    """Run ``steps`` control intervals of the policy ``act`` in one graph, yielding each of them.

    ``act`` maps observations (n, k) to actions (n, m); the first ones are ``observations``, a
    constant. Nothing is differentiated beyond the first interval, so that an episode may be run in
    windows. On the leading rank inside ``taped.lead``.

    Raises:
        ActionError: as the plant does.
        SolverDiverged: likewise, or the cost of an interval is above the ``limit``.
    """
    interval = Differentiable(begin(taped), torch.from_numpy(observations), torch.empty(0))
    for _ in range(steps):
        interval = step(taped, interval.state, act(interval.observations))
        cost = float(interval.shares.detach().sum())
        if not cost <= limit:
            raise SolverDiverged(f"cost of the interval {cost:g} above the limit {limit:g}")
        yield interval


class PlantStep(torch.autograd.Function):
    """One control interval of a plant; see :func:`step`."""

    @staticmethod
    def forward(
        ctx: Any, taped: TapedPlant, state: Tensor, actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """State (a stand-in of zeros), observations (n, k) and shares of the cost (n,)."""
        observations, shares, ctx.index = taped.step(actions.numpy())
        ctx.taped = taped
        seen, costs = (torch.tensor(x, dtype=torch.float64) for x in (observations, shares))
        return torch.zeros_like(state), seen, costs

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, state_bar: Tensor, observations_bar: Tensor, shares_bar: Tensor
    ) -> tuple[None, Tensor, Tensor]:
        """Cotangents of the state before the interval and of its actions (n, m)."""
        before, actions_bar = ctx.taped.pull(
            ctx.index, state_bar.numpy(), observations_bar.numpy(), shares_bar.numpy()
        )
        return None, torch.from_numpy(before), torch.from_numpy(actions_bar)
