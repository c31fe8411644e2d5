from __future__ import annotations

import pytest

from hypemarl.bench import BENCHES


@pytest.mark.slow
def test_moving_a_mesh_is_far_below_a_millisecond() -> None:
    found = BENCHES["morph"]()
    assert 4500 < found["cells"] < 5500
    assert found["ms_move"] < 0.2
    assert found["ms_move"] < found["ms_whole_operator"]
    assert found["ms_quality"] < 0.5
    assert found["ratio"] > 4.0
