"""The bench of the agents' update compares like with like."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hypemarl.bench.agent_update import per_sample, run
from hypemarl.coupling.spec import AgentSpec


def test_per_sample_batches_hold_the_same_samples(spec: AgentSpec, fill: Callable) -> None:
    batch = fill(spec, (4, 3)).sample(2, 0)
    split = per_sample(batch)
    assert split.observations.shape == (8, 12, 1, 5)
    for e in range(2):
        for t in range(4):
            row = 4 * e + t
            np.testing.assert_array_equal(split.actions[row, :, 0], batch.actions[e, :, t])
            np.testing.assert_array_equal(split.rewards[row, :, 0], batch.rewards[e, :, t])
            np.testing.assert_array_equal(split.mu[row], batch.mu[e])
            assert split.mask[row, 0] == batch.mask[e, t]


def test_the_bench_is_flat_and_weights_per_context_are_faster() -> None:
    result = run(repeats=2, repeats_per_sample=1, episodes=1, steps=16)
    assert set(result) == {"ms", "ms_per_sample", "ratio", "max_gradient_difference"}
    assert result["ratio"] > 1  # loosely, as other work may share the machine
    assert result["max_gradient_difference"] <= 1e-4
