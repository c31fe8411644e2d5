"""The distributed mesh moves as the whole one does, on any number of ranks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from morph_case import COARSE, OBSTACLES
from mpi4py import MPI

from hypemarl.meshing import MeshError, gather, mesh_summary
from hypemarl.meshing.morphing import MovingMesh
from hypemarl.meshing.raw import measures

SCRIPT = """
from dataclasses import replace
import numpy as np
from hypemarl.config import MeshConfig
from hypemarl.meshing import MeshError, mesh_summary
from hypemarl.meshing.morphing import MovingMesh
from hypemarl.mpi import world
comm = world()
config = MeshConfig(
    shape="channel-with-obstacle", element_size=0.08, disc_element_size=0.01,
    obstacle="rounded-square",
)
signs = np.sign(np.random.default_rng(5).uniform(-1, 1, 16))
for remeshes in (False, True):
    mesh = MovingMesh(
        config, "radial-fourier", 16, comm, remeshes=remeshes,
        bounds=lambda b: replace(b, min_quality=0.5),
    )
    bound = mesh.feasible.bounds.amplitude
    mine = bound * signs * (1.0 if comm.rank == 0 else np.nan)
    new = mesh.move(mine)
    found = mesh_summary(mesh.tagged)
    if comm.rank == 0:
        print(new, found["cells"], f"{found['area']:.12f} {found['measure_obstacle']:.9f}")
try:
    mesh.move(np.full(16, 2.0 * bound))
except MeshError as error:
    print("refused", error)
"""


def test_two_ranks_move_the_mesh_of_one(mpirun) -> None:  # type: ignore[no-untyped-def]
    one, two = (mpirun(ranks, SCRIPT).splitlines() for ranks in (1, 2))
    assert one[:2] == two[:2]
    assert one[0].startswith("False")
    assert one[1].startswith("True")
    refusals = [line for line in two if "entry 0 is" in line and "at most" in line]
    assert len(refusals) == 2


def test_coordinates_come_from_the_reference_and_the_shape_alone() -> None:
    mesh = MovingMesh(COARSE, "normal-bspline", 8, MPI.COMM_SELF)
    start = mesh.tagged.mesh.geometry.x.copy()
    bound = mesh.feasible.bounds.amplitude
    rng = np.random.default_rng(4)
    for _ in range(20):
        assert not mesh.move(bound * rng.uniform(-1, 1, 8))
    raw = gather(mesh.tagged)
    assert raw is not None
    assert mesh.shape is not None
    assert raw.points == pytest.approx(mesh.motion.points(mesh.shape.q), abs=1e-15)
    mesh.move(np.zeros(8))
    assert np.abs(mesh.tagged.mesh.geometry.x - start).max() < 1e-15


def test_areas_stay_over_shapes_and_remeshes() -> None:
    mesh = MovingMesh(
        OBSTACLES["rounded-square"],
        "radial-fourier",
        16,
        MPI.COMM_SELF,
        remeshes=True,
        bounds=lambda b: replace(b, min_quality=0.5),
    )
    area = mesh_summary(mesh.tagged)["area"]
    rng = np.random.default_rng(5)
    renewals = 0
    for _ in range(6):
        signs = np.sign(rng.uniform(-1, 1, 16))
        renewals += mesh.move(mesh.feasible.bounds.amplitude * signs)
        assert not mesh.move(mesh.feasible.bounds.amplitude * signs)  # good for this shape now
        raw = gather(mesh.tagged)
        assert raw is not None
        assert measures(raw.points, raw.cells).sum() == pytest.approx(area, rel=1e-12)
        assert mesh_summary(mesh.tagged)["min_quality"] > 0.5
    assert renewals > 0


def test_an_obstacle_is_needed() -> None:
    with pytest.raises(MeshError, match="whose obstacle has the tag 'obstacle'"):
        MovingMesh(replace(COARSE, shape="square"), "radial-bspline", 8, MPI.COMM_SELF)
