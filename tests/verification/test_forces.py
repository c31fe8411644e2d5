"""Forces and power of jets against balances, on the mesh of training; slow: on the finer one."""

import pytest

from hypemarl.solvers.functionals import WallForces
from hypemarl.verification.forces import forces

COARSE = (
    "env.flow.develop_time=1",
    "env.flow.reynolds_low=100",
    "env.flow.reynolds_high=100",
    "env.flow.cfl_limit=3",
)
BOUNDS = {"drag": 4e-3, "lift": 4e-3, "energy": 2e-2, "opposite": 1e-3}


def test_balances_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a mesh three times as coarse; with half the jets' momentum they do not."""
    rows = [row for row in forces(COARSE, 3).rows if row.expected != "-"]
    for row in rows:
        kind = next(name for name in BOUNDS if name in row.name)
        assert row.measured <= BOUNDS[kind], row
    whole = WallForces.momentum
    monkeypatch.setattr(WallForces, "momentum", lambda walls, v: 0.5 * whole(walls, v))
    rows = forces(COARSE, 3).rows
    assert max(row.measured for row in rows if "drag against" in row.name) > 1e-2


@pytest.mark.slow
def test_validation_passes() -> None:
    assert forces().passed
