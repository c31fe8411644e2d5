"""Cases of ``hypemarl validate`` pass on several ranks."""

from __future__ import annotations

import pytest
from mpi4py import MPI

from hypemarl.verification import CASES, moving_mesh
from hypemarl.verification.fokker_planck import mass
from hypemarl.verification.report import Report


def test_mass(comm: MPI.Intracomm) -> None:
    assert mass(steps=100).passed


@pytest.mark.slow
@pytest.mark.parametrize("case", ["poiseuille", "taylor-green", "dfg-2d-1", "dfg-2d-2"])
def test_flows(comm: MPI.Intracomm, case: str) -> None:
    report = CASES[case]()
    assert report.passed, report.rows


@pytest.mark.slow
def test_meshes_that_move(comm: MPI.Intracomm) -> None:
    report = Report("ranks")
    moving_mesh.uniform_flow(report, element_size=0.1, steps=20)
    moving_mesh.moving_vortices(report)
    moving_mesh.morphed_drag(report, element_size=0.06, count=1)
    assert report.passed, report.rows
