"""Meshes that move with their shape, and what remeshes keep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from morph_case import COARSE, OBSTACLES
from mpi4py import MPI

from hypemarl.meshing import MeshError, gather, mesh_summary
from hypemarl.meshing.morphing import MovingMesh
from hypemarl.meshing.raw import measures


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
