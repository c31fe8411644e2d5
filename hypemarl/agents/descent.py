"""One step of an optimiser, the same for all that is learned."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


def descend(
    optimiser: torch.optim.Optimizer,
    loss: Tensor | None,
    clip: float,
    fault: Callable[[float], str] | None = None,
) -> Tensor:
    """One step along the gradient of ``loss``; returns the gradient's norm before clipping.

    Args:
        loss: differentiated anew; None where the gradient is in the parameters already.
        clip: largest norm of the gradient, a larger one is scaled down; 0 leaves it as it is.
        fault: makes the message for a gradient whose norm is not finite; None checks nothing.

    Raises:
        FloatingPointError: the gradient is not finite; nothing was changed.
    """
    if loss is not None:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    norm = nn.utils.clip_grad_norm_(parameters, clip or math.inf)
    if fault is not None and not torch.isfinite(norm):
        raise FloatingPointError(fault(float(norm)))
    optimiser.step()
    return norm
