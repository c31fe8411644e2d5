"""Transport at working resolution: numbers of docs/fokker_planck.md, at two mesh sizes."""

import pytest

from hypemarl.verification.rotation import rotation


def test_errors_are_those_of_the_docs() -> None:
    report = rotation((0.1, 0.05))
    assert report.passed
    found = {row.name: row.measured for row in report.rows}
    assert found["bump, h = 0.05: L1 error, share of the mass"] == pytest.approx(0.18, abs=0.01)
    assert found["disc, h = 0.05: L1 error, share of the mass"] == pytest.approx(0.57, abs=0.02)
    assert found["disc, h = 0.05: largest density, of 1"] == pytest.approx(1.40, abs=0.05)
    assert found["bump, h = 0.1: L1 error, share of the mass"] > 0.3
