"""The bench of growing numbers of agents: what it counts, and that memory is that of a case."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from hypemarl.bench import scaling_agents
from hypemarl.bench.agent_update import square_spec

NAMES = ("mlp", "chunked", "nops")


def check(result: dict[str, float]) -> None:
    assert {key.rpartition("_")[2] for key in result} == {"ms", "mib", "parameters", "saving"}
    assert all(value > 0 for key, value in result.items() if not key.endswith("mib"))
    assert result["nops_64_parameters"] == 16 * result["nops_4_parameters"]
    assert result["mlp_64_parameters"] == result["mlp_4_parameters"]  # no number of agents in it
    for agents in (4, 64):
        assert result[f"chunked_{agents}_saving"] > 5


def test_the_bench_is_flat_and_counts_what_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    def here(workers: int, context: Any, **options: Any) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(workers)  # no time to load torch anew

    monkeypatch.setattr(scaling_agents, "ProcessPoolExecutor", here)
    check(scaling_agents.run(sides=(2, 8), names=NAMES, repeats=1))


@pytest.mark.slow
def test_every_case_has_a_process_and_memory_of_its_own() -> None:
    result = scaling_agents.run(sides=(2, 8), names=NAMES, repeats=1)
    check(result)
    assert result["mlp_64_mib"] > 1  # the batch alone, with what critics see, holds more


@pytest.mark.parametrize("side", [2, 8])
def test_agents_fill_the_square(side: int) -> None:
    spec = square_spec((side, side))
    assert spec.n_agents == side * side
    gaps = np.unique(np.round(np.diff(np.unique(spec.positions[:, 0])), 12))
    np.testing.assert_allclose(gaps, spec.spacing)
    assert spec.positions.max() + spec.spacing / 2 == 1.0
