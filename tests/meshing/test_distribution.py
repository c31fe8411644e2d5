"""Distributed meshes hold what the serial one holds; faults reach every rank."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.mpi

SAME_MESH = """
    import sys
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
        # Measures by quadrature over the distributed mesh: each owned entity counts once.
        ds = Measure("ds", mesh.mesh, subdomain_data=mesh.facet_tags)
        dx = Measure("dx", mesh.mesh, subdomain_data=mesh.cell_tags)
        for name, (dim, tag) in mesh.tags.items():
            measure = dx if dim == mesh.mesh.topology.dim else ds
            one = fem.Constant(mesh.mesh, 1.0)
            part = fem.assemble_scalar(fem.form(one * measure(tag)))
            np.testing.assert_allclose(
                comm.allreduce(part), summary[f"measure_{name}"], rtol=1e-12
            )
        whole, reference = gather(mesh), gather(serial)
        if comm.rank == 0:
            np.testing.assert_array_equal(whole.points, reference.points)
            np.testing.assert_array_equal(whole.cells, reference.cells)
            assert whole.content_hash == reference.content_hash
        else:
            assert whole is None
        path = write(mesh, sys.argv[1] + f"/{shape}.msh")
        again = mesh_summary(build(MeshConfig(file=str(path)), comm))
        assert again["cells"] == summary["cells"] and again["tags"] == summary["tags"]
    print("same", flush=True)
"""

FAULTS = """
    from pathlib import Path
    import sys
    from hypemarl.config import MeshConfig
    from hypemarl.meshing import MeshError, build, write
    from hypemarl.mpi import world

    comm = world()
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
def test_distributed_mesh_equals_serial(mpirun: Any, ranks: int, tmp_path: Any) -> None:
    assert mpirun(ranks, SAME_MESH, str(tmp_path)).count("same") == ranks


@pytest.mark.parametrize("ranks", [2, 3])
def test_faults_reach_every_rank(mpirun: Any, ranks: int, tmp_path: Any) -> None:
    assert mpirun(ranks, FAULTS, str(tmp_path)).count("refused") == ranks
