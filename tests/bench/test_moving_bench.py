from __future__ import annotations

import pytest

from hypemarl.bench import BENCHES


@pytest.mark.slow
def test_a_moving_step_takes_less_than_three_fixed_ones() -> None:
    found = BENCHES["moving-step"]()
    assert found["cells"] > 7000
    assert found["ratio"] < 3.0
    assert found["ms_move"] < 0.5 * found["ms_moving"]
    assert found["ms_pressure"] < found["ms_factorise"]
