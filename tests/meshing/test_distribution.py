"""Distributed meshes hold what the serial one holds; faults reach every rank."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.mpi

SAME_MESH = """
    import sys
    from importlib.util import find_spec
    from hypemarl.config import MeshConfig
    from hypemarl.meshing import build, gather, mesh_summary, write
    from hypemarl.mpi import world
    import numpy as np
    from dolfinx import fem
    from mpi4py import MPI
    from ufl import Measure

    comm = world()
    for shape in ("interval", "square", "square-with-disc"):
        config = MeshConfig(shape=shape, element_size=0.2)
        mesh, serial = build(config, comm), build(config, MPI.COMM_SELF)
        assert mesh.content_hash == serial.content_hash
        assert mesh.tags == serial.tags
        summary = mesh_summary(mesh)
        assert summary == mesh_summary(serial)
        whole, reference = gather(mesh), gather(serial)
        if comm.rank == 0:
            np.testing.assert_array_equal(whole.points, reference.points)
            np.testing.assert_array_equal(whole.cells, reference.cells)
            assert whole.content_hash == reference.content_hash
        else:
            assert whole is None
        for suffix in ("msh", "xdmf" if find_spec("h5py") else "vtu"):
            path = write(mesh, sys.argv[1] + f"/{shape}.{suffix}")
            again = build(MeshConfig(file=str(path)), comm)
            assert again.tags == mesh.tags
            found = mesh_summary(again)
            for key in ("cells", *(f"measure_{name}" for name in mesh.tags)):
                np.testing.assert_allclose(found[key], summary[key], rtol=1e-12)
    # By quadrature: each owned facet counts once.
    ds = Measure("ds", mesh.mesh, subdomain_data=mesh.facet_tags)
    disc = fem.form(fem.Constant(mesh.mesh, 1.0) * ds(mesh.tags["disc"][1]))
    length = comm.allreduce(fem.assemble_scalar(disc))
    np.testing.assert_allclose(length, summary["measure_disc"], rtol=1e-12)
    print("same", flush=True)
"""

FAULTS = """
    from pathlib import Path
    from hypemarl.meshing import MeshError

    empty = Path(sys.argv[1]) / "empty.msh"
    if comm.rank == 0:
        empty.touch()
    comm.barrier()
    for config, message in [
        (MeshConfig(shape="interval", element_size=2.0), "1 cells cannot be shared by"),
        (MeshConfig(element_size=-1.0), "must be positive"),
        (MeshConfig(file="nowhere.msh"), "no such mesh file"),
        (MeshConfig(file=str(empty)), "is empty"),
    ]:
        try:
            build(config, comm)
        except MeshError as error:
            assert message in str(error), error
        else:
            raise AssertionError(f"rank {comm.rank}: {config} was accepted")
    try:
        write(MeshConfig(element_size=1.0), "mesh.unknown", comm)
    except MeshError:
        print("refused", flush=True)
"""


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_hold_the_serial_mesh_and_share_faults(
    mpirun: Any, ranks: int, tmp_path: Any
) -> None:
    """One launch for both: starting the ranks takes longer than what they do."""
    output = mpirun(ranks, SAME_MESH + FAULTS, str(tmp_path), timeout=120.0)
    assert output.count("same") == ranks
    assert output.count("refused") == ranks
