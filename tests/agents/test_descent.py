"""The one optimiser step."""

from __future__ import annotations

import pytest
import torch

from hypemarl.agents.learning import descend


def parameter() -> tuple[torch.nn.Parameter, torch.optim.SGD]:
    values = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    return values, torch.optim.SGD([values], lr=1.0)


@pytest.mark.parametrize(("clip", "share"), [(0.0, 0.0), (2.5, 0.5), (100.0, 0.0)])
def test_a_step_follows_the_clipped_gradient(clip: float, share: float) -> None:
    values, optimiser = parameter()
    for _ in range(2):  # gradients of the step before do not add up
        with torch.no_grad():
            values.copy_(torch.tensor([3.0, 4.0]))
        norm = descend(optimiser, 0.5 * values.square().sum(), clip)
        assert float(norm) == 5.0  # before clipping
        torch.testing.assert_close(values.detach(), share * torch.tensor([3.0, 4.0]))


def test_a_gradient_may_be_there_already() -> None:
    values, optimiser = parameter()
    values.grad = torch.tensor([1.0, 0.0])
    descend(optimiser, None, 0.0)
    torch.testing.assert_close(values.detach(), torch.tensor([2.0, 4.0]))


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    values, optimiser = parameter()
    with pytest.raises(FloatingPointError, match="the gradient is nan"):
        descend(optimiser, values.sum() * float("nan"), 0.0, lambda norm: f"the gradient is {norm}")
    torch.testing.assert_close(values.detach(), torch.tensor([3.0, 4.0]))
