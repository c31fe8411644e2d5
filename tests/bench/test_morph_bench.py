from __future__ import annotations

import pytest

from hypemarl.bench import BENCHES


@pytest.mark.slow
def test_a_new_shape_costs_far_less_than_a_new_mesh_and_solver() -> None:
    """About a quarter on an idle core."""
    found = BENCHES["morph-step"]()
    assert 1500 < found["cells"] < 2500
    assert found["ratio"] > 3.0
    assert found["factorisations"] < 2.0
    assert found["ms_remesh_transfer"] > found["ms_velocity"] > 0.0
    assert 0.1 < found["MB_remesh_transfer"] < 10.0


@pytest.mark.slow
def test_moving_a_mesh_is_far_below_a_millisecond() -> None:
    found = BENCHES["morph"]()
    assert 4500 < found["cells"] < 5500
    assert found["ms_move"] < 0.2
    assert found["ms_move"] < found["ms_whole_operator"]
    assert found["ms_quality"] < 0.5
    assert found["ratio"] > 4.0
