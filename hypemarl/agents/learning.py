"""Parts of every learner: an optimiser's step, state for checkpoints, and kept episodes."""

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hypemarl.seeding import generator_state, set_generator_state
from hypemarl.types import Row

Generator = np.random.Generator | torch.Generator


class Stateful:
    """Base of what a checkpoint restores: the attributes whose names stand in ``STATE``."""

    STATE: ClassVar[tuple[str, ...]] = ()

    def state_dict(self) -> Row:
        """All that decides how learning goes on; loads with ``torch.load(weights_only=True)``."""
        return {name: _stored(getattr(self, name)) for name in self.STATE}

    def load_state_dict(self, state: Row) -> None:
        """Put back a :meth:`state_dict`. Raises ``RuntimeError`` where networks differ in shape."""
        for name in self.STATE:
            part = getattr(self, name)
            if hasattr(part, "load_state_dict"):
                part.load_state_dict(state[name])
            elif isinstance(part, Generator):
                set_generator_state(part, state[name])
            else:
                setattr(self, name, state[name])


def _stored(part: Any) -> object:
    if isinstance(part, Generator):
        return generator_state(part)
    return part.state_dict() if hasattr(part, "state_dict") else part


class Episodes(deque[dict[str, Tensor]]):
    """Tensors of episodes by name; with ``maxlen`` of the latest ones."""

    def draw(self, generator: torch.Generator, count: int) -> dict[str, Tensor]:
        """A batch of ``count`` distinct episodes, or of all if there are fewer, on its device."""
        device = generator.device
        order = torch.randperm(len(self), generator=generator, device=device)[:count].tolist()
        return {n: torch.stack([self[k][n] for k in order]).to(device) for n in self[0]}

    def state_dict(self) -> list[dict[str, Tensor]]:
        """The episodes, the oldest first."""
        return [dict(entry) for entry in self]

    def load_state_dict(self, state: Iterable[dict[str, Tensor]]) -> None:
        """Put back a :meth:`state_dict`."""
        self.clear()
        self.extend(dict(entry) for entry in state)


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
