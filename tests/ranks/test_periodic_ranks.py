"""Periodic meshes on several ranks give what they give on one; faults reach every rank."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import ufl
from dolfinx import mesh
from mpi4py import MPI
from periodic_case import ONE, interval, poisson, rectangle, sums, total
from together import from_rank_0, raised

from hypemarl.config import MeshConfig
from hypemarl.meshing import MeshError, build
from hypemarl.meshing.periodic import carry_tags, periodic

BOTH = pytest.mark.parametrize("comm", [2, 3], indirect=True)
SELF = MPI.COMM_SELF


def box(comm: MPI.Intracomm, n: int) -> mesh.Mesh:
    return mesh.create_box(comm, [(0, 0, 0), (2, 1, 1)], [n, n, n])


def unshared(comm: MPI.Intracomm, n: int) -> mesh.Mesh:
    """Without ghost cells."""
    return mesh.create_rectangle(comm, [(0, 0), (2, 1)], [n, n], ghost_mode=mesh.GhostMode.none)


@BOTH
@pytest.mark.parametrize(
    ("make", "n", "axes"),
    [
        (interval, 3, (0,)),
        (interval, 11, (0,)),
        (rectangle, 3, (0, 1)),
        (rectangle, 8, (0,)),
        (rectangle, 8, (1,)),
        (rectangle, 8, (0, 1)),
        (unshared, 7, (0, 1)),
        (box, 3, (0, 1, 2)),
        (box, 4, (2,)),
    ],
)
def test_sizes_dofs_and_scatters(comm: MPI.Intracomm, make: Any, n: int, axes: Any) -> None:
    alone = from_rank_0(comm, lambda: sums(make(SELF, n), axes))
    np.testing.assert_allclose(sums(make(comm, n), axes), alone, rtol=1e-12, atol=1e-14)


@BOTH
@pytest.mark.parametrize(
    ("make", "n", "axes"), [(interval, 9, (0,)), (rectangle, 8, (0, 1)), (box, 4, (0, 1))]
)
def test_poisson(comm: MPI.Intracomm, make: Any, n: int, axes: Any) -> None:
    """With MUMPS; with jumps of the slope at the facets between ranks and at the seam."""
    alone = from_rank_0(comm, lambda: poisson(make(SELF, n), axes, "petsc"))
    found = poisson(make(comm, n), axes, "mumps")
    np.testing.assert_allclose(found, alone, rtol=1e-10)
    assert found.min() > 1e-6


@BOTH
def test_boundary_and_tags(comm: MPI.Intracomm) -> None:
    tagged = build(MeshConfig(shape="square-with-disc", element_size=0.3, disc_radius=0.3), comm)
    whole = periodic(tagged.mesh, [0])
    facets, cells = carry_tags(tagged.facet_tags, whole), carry_tags(tagged.cell_tags, whole)
    sets = comm.allgather(set(facets.values))
    assert set.union(*sets) == {tagged.tags[name][1] for name in ("bottom", "top", "disc")}
    dx = ufl.Measure("dx", whole, subdomain_data=cells)
    before = ufl.Measure("ds", tagged.mesh, subdomain_data=tagged.facet_tags)
    after = ufl.Measure("ds", whole, subdomain_data=facets)
    for name in ("bottom", "top", "disc"):
        tag = tagged.tags[name][1]
        size = total(comm, ONE * before(tag))
        assert total(comm, ONE * after(tag)) == pytest.approx(size, rel=1e-12)
    everywhere = total(comm, ONE * ufl.dx(tagged.mesh))
    assert total(comm, ONE * dx(tagged.tags["domain"][1])) == pytest.approx(everywhere, rel=1e-12)
    top = mesh.locate_entities_boundary(whole, 1, lambda x: np.isclose(x[1], 1.0))
    ds = ufl.Measure("ds", whole, subdomain_data=mesh.meshtags(whole, 1, np.sort(top), 1))
    assert total(comm, ONE * ds(1)) == pytest.approx(2.0, rel=1e-12)


@BOTH
def test_refusals_reach_every_rank(comm: MPI.Intracomm) -> None:
    texts = raised(comm, MeshError, lambda: periodic(rectangle(comm, 2), [0]))
    assert all("fewer than 3 cells between the sides along axes [0]" in text for text in texts)
    given = rectangle(comm, 6)
    x = given.geometry.x
    x[np.isclose(x[:, 0], 2.0) & np.isclose(x[:, 1], 3 / 7), 1] += 0.01
    texts = raised(comm, MeshError, lambda: periodic(given, [0]))
    assert all("2 of 16 nodes have no partner" in text for text in texts)
    tags = mesh.meshtags(given, 0, np.arange(2, dtype=np.int32), 1)
    raised(comm, MeshError, lambda: carry_tags(tags, periodic(given, [1])))
    raised(comm, MeshError, lambda: periodic(given, [2]))
    x[:, 0] *= 1.0 + 0.1 * x[:, 1]
    raised(comm, MeshError, lambda: periodic(given, [0]))
