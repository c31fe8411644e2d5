"""Parts of every learner: the one optimiser step, kept episodes, and states by attribute names."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hypemarl.agents.learning import Episodes, Stateful, descend


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


def episode(number: float) -> dict[str, Tensor]:
    return {"mu": torch.full((2,), number), "costs": torch.full((3,), 10 * number)}


def test_kept_episodes_are_drawn_without_repeats_and_the_oldest_go_first() -> None:
    kept = Episodes(maxlen=4)
    kept.extend(episode(k) for k in range(6))
    batch = kept.draw(torch.Generator().manual_seed(0), 3)
    assert batch["mu"].shape == (3, 2)
    assert len({*batch["mu"][:, 0].tolist()} & {2.0, 3.0, 4.0, 5.0}) == 3
    torch.testing.assert_close(batch["costs"][:, 0], 10 * batch["mu"][:, 0])
    assert len(kept.draw(torch.Generator().manual_seed(0), 9)["mu"]) == 4
    copied = copy.deepcopy(kept)
    copied.append(episode(6))
    assert (len(copied), len(kept)) == (4, 4)


class Learner(Stateful):
    STATE = ("network", "generator", "shuffle", "kept", "updates")

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.network = nn.Linear(2, 1)
        self.generator = torch.Generator().manual_seed(seed)
        self.shuffle = np.random.default_rng(seed)
        self.kept, self.updates = Episodes(), seed


def test_states_hold_every_named_part() -> None:
    learner, other = Learner(1), Learner(2)
    learner.kept.append(episode(1))
    stream = io.BytesIO()
    torch.save(learner.state_dict(), stream)
    stream.seek(0)
    other.load_state_dict(torch.load(stream, weights_only=True))
    torch.testing.assert_close(other.network.weight, learner.network.weight)
    assert other.updates == 1
    assert len(other.kept) == 1
    assert other.shuffle.random() == learner.shuffle.random()
    draws = [torch.rand(3, generator=one.generator) for one in (learner, other)]
    torch.testing.assert_close(*draws)
