from __future__ import annotations

from hypemarl.bench import BENCHES
from hypemarl.bench.adjoint import adjoint


def test_a_gradient_costs_a_few_forward_runs() -> None:
    result = adjoint(("density-1d",))
    assert set(result) == {"density-1d_ms", "density-1d_ratio"}
    assert 1.0 < result["density-1d_ratio"] < 6.0  # 2.0 on an idle machine
    assert "adjoint" in BENCHES
