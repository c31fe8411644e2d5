"""Distributed meshes hold what the serial one holds and move like it; faults reach every rank."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from dolfinx import fem
from morph_case import OBSTACLES
from mpi4py import MPI
from together import from_rank_0, raised
from ufl import Measure

from hypemarl.config import MeshConfig
from hypemarl.meshing import MeshError, build, gather, mesh_summary, write
from hypemarl.meshing.morphing import MovingMesh

BOTH = pytest.mark.parametrize("comm", [2, 3], indirect=True)


@BOTH
@pytest.mark.parametrize("shape", ["interval", "square", "square-with-disc"])
def test_ranks_hold_the_serial_mesh(comm: MPI.Intracomm, shape: str, folder: Path) -> None:
    config = MeshConfig(shape=shape, element_size=0.2)
    mesh, serial = build(config, comm), build(config, MPI.COMM_SELF)
    assert mesh.content_hash == serial.content_hash
    assert mesh.tags == serial.tags
    summary = mesh_summary(mesh)
    assert summary == mesh_summary(serial)
    whole, reference = gather(mesh), gather(serial)
    assert (whole is None) == (comm.rank > 0)
    if whole is not None and reference is not None:
        np.testing.assert_array_equal(whole.points, reference.points)
        np.testing.assert_array_equal(whole.cells, reference.cells)
        assert whole.content_hash == reference.content_hash
    for suffix in ("msh", "xdmf" if find_spec("h5py") else "vtu"):
        path = write(mesh, folder / f"{shape}.{suffix}")
        again = build(MeshConfig(file=str(path)), comm)
        assert again.tags == mesh.tags
        found = mesh_summary(again)
        for key in ("cells", *(f"measure_{name}" for name in mesh.tags)):
            np.testing.assert_allclose(found[key], summary[key], rtol=1e-12)


@BOTH
def test_an_owned_facet_counts_once(comm: MPI.Intracomm) -> None:
    mesh = build(MeshConfig(shape="square-with-disc", element_size=0.2), comm)
    ds = Measure("ds", mesh.mesh, subdomain_data=mesh.facet_tags)
    disc = fem.form(fem.Constant(mesh.mesh, 1.0) * ds(mesh.tags["disc"][1]))
    length = comm.allreduce(fem.assemble_scalar(disc))
    np.testing.assert_allclose(length, mesh_summary(mesh)["measure_disc"], rtol=1e-12)


@BOTH
def test_ranks_share_faults(comm: MPI.Intracomm, folder: Path) -> None:
    empty = folder / "empty.msh"
    if comm.rank == 0:
        empty.touch()
    comm.barrier()
    for config, message in [
        (MeshConfig(shape="interval", element_size=2.0), "1 cells cannot be shared by"),
        (MeshConfig(element_size=-1.0), "must be positive"),
        (MeshConfig(file="nowhere.msh"), "no such mesh file"),
        (MeshConfig(file=str(empty)), "is empty"),
    ]:
        texts = raised(comm, MeshError, lambda config=config: build(config, comm))
        assert all(message in text for text in texts)
    coarse = MeshConfig(element_size=1.0)
    raised(comm, MeshError, lambda: write(coarse, folder / "mesh.unknown", comm))


@pytest.mark.parametrize("comm", [2], indirect=True)
def test_ranks_move_the_mesh_of_one(comm: MPI.Intracomm) -> None:
    """With a remesh and without; rank 0's amplitudes count."""
    signs = np.sign(np.random.default_rng(5).uniform(-1, 1, 16))

    def moved(comm: MPI.Intracomm) -> tuple[MovingMesh, list[tuple]]:
        states = []
        for remeshes in (False, True):
            mesh = MovingMesh(
                OBSTACLES["rounded-square"],
                "radial-fourier",
                16,
                comm,
                remeshes=remeshes,
                bounds=lambda b: replace(b, min_quality=0.5),
            )
            amplitudes = mesh.feasible.bounds.amplitude * signs
            new = mesh.move(amplitudes * (1.0 if comm.rank == 0 else np.nan))
            found = mesh_summary(mesh.tagged)
            sizes = (f"{found['area']:.12f}", f"{found['measure_obstacle']:.9f}")
            states.append((new, found["cells"], *sizes))
        return mesh, states

    mesh, several = moved(comm)
    assert several == from_rank_0(comm, lambda: moved(MPI.COMM_SELF)[1])
    assert [state[0] for state in several] == [False, True]
    bound = mesh.feasible.bounds.amplitude
    texts = raised(comm, MeshError, lambda: mesh.move(np.full(16, 2.0 * bound)))
    assert all("entry 0 is" in text and "at most" in text for text in texts)
