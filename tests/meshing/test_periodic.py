"""Periodic meshes on one rank: sizes, dofs, a Poisson problem, tags, and what is refused."""

from __future__ import annotations

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import mesh
from mpi4py import MPI
from periodic_case import ONE, interval, n_dofs, poisson, rectangle, sums, total

from hypemarl.config import MeshConfig
from hypemarl.meshing import MeshError, build
from hypemarl.meshing.periodic import carry_tags, periodic

SELF = MPI.COMM_SELF


@pytest.mark.parametrize("cells", ["triangle", "quadrilateral"])
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (1, 0)])
def test_sizes_and_dofs_of_a_rectangle(cells: str, axes: tuple[int, ...]) -> None:
    whole = periodic(rectangle(SELF, 3, cells), axes)
    inner = 4.0 if axes == (0,) else 2.0 if axes == (1,) else 0.0
    assert total(SELF, ONE * ufl.dx(whole)) == pytest.approx(2.0, rel=1e-13)
    assert total(SELF, ONE * ufl.ds(whole)) == pytest.approx(inner, rel=1e-13)
    for degree in (1, 2):
        along = [degree * n + (axis not in axes) for axis, n in ((0, 3), (1, 4))]
        assert n_dofs(whole, degree) == along[0] * along[1]


def test_lines_and_boxes() -> None:
    line = periodic(interval(SELF, 3), [0])
    assert n_dofs(line, 2) == 6
    assert total(SELF, ONE * ufl.ds(line)) == 0.0
    for cells in (mesh.CellType.tetrahedron, mesh.CellType.hexahedron):
        box = mesh.create_box(SELF, [(0, 0, 0), (1, 1, 1)], [3, 4, 3], cells)
        size, exterior, interior, load, _, *dofs = sums(box, (0, 2))
        np.testing.assert_allclose([size, exterior, load], [1.0, 2.0, 1.0], rtol=1e-12)
        assert dofs == [3 * 5 * 3, 6 * 9 * 6, 9 * 13 * 9]
        once = mesh.exterior_facet_indices(periodic(box, [0]).topology)
        per_side = 2 if cells == mesh.CellType.tetrahedron else 1
        assert len(once) == 2 * per_side * (3 * 3 + 3 * 4)
        assert interior > 3.0


@pytest.mark.parametrize("axes", [(0,), (0, 1)])
def test_poisson_in_the_plane(axes: tuple[int, ...]) -> None:
    errors = [poisson(rectangle(SELF, n), axes, "petsc")[0] for n in (6, 12, 24)]
    assert np.log2(errors[0] / errors[1]) > 2.75
    assert np.log2(errors[1] / errors[2]) > 2.85


def test_poisson_on_a_line_and_in_space() -> None:
    errors = [poisson(interval(SELF, n), (0,), "petsc")[0] for n in (6, 12, 24)]
    assert np.log2(np.array(errors[:-1]) / errors[1:]).min() > 2.9
    box = mesh.create_box(SELF, [(0, 0, 0), (2, 1, 1)], [6, 6, 6])
    assert poisson(box, (0, 1, 2), "petsc")[0] < 0.1


def test_the_given_mesh_stays_as_it_is() -> None:
    given = rectangle(SELF, 3)
    whole = periodic(given, [0])
    given.geometry.x[:] *= 2.0
    assert total(SELF, ONE * ufl.dx(whole)) == pytest.approx(2.0)
    assert total(SELF, ONE * ufl.dx(given)) == pytest.approx(8.0)
    assert total(SELF, ONE * ufl.ds(given)) == pytest.approx(12.0)


def test_boundary_that_remains() -> None:
    whole = periodic(rectangle(SELF, 4), [0])
    top = mesh.locate_entities_boundary(whole, 1, lambda x: np.isclose(x[1], 1.0))
    tags = mesh.meshtags(whole, 1, np.sort(top), 7)
    ds = ufl.Measure("ds", whole, subdomain_data=tags)
    assert len(top) == 4
    assert total(SELF, ONE * ds(7)) == pytest.approx(2.0)
    x = ufl.SpatialCoordinate(whole)
    assert total(SELF, x[1] * ds(7)) == pytest.approx(2.0)


def test_tags_are_carried() -> None:
    """Those of the seam go, also where a triangle at a corner has a facet in both."""
    tagged = build(MeshConfig(shape="square", element_size=0.4), SELF)
    whole = periodic(tagged.mesh, [0])
    facets, cells = carry_tags(tagged.facet_tags, whole), carry_tags(tagged.cell_tags, whole)
    ds = ufl.Measure("ds", whole, subdomain_data=facets)
    dx = ufl.Measure("dx", whole, subdomain_data=cells)
    y = ufl.SpatialCoordinate(whole)[1]
    assert set(facets.values) == {tagged.tags[name][1] for name in ("bottom", "top")}
    for name, place in (("bottom", -1.0), ("top", 1.0)):
        assert total(SELF, y * ds(tagged.tags[name][1])) == pytest.approx(2.0 * place)
    assert total(SELF, ONE * dx(tagged.tags["domain"][1])) == pytest.approx(4.0)
    assert facets.name == "facet_tags"


def test_tags_of_another_mesh_are_refused() -> None:
    tagged = build(MeshConfig(shape="square", element_size=0.4), SELF)
    with pytest.raises(MeshError, match="on the cells of another mesh"):
        carry_tags(tagged.facet_tags, periodic(rectangle(SELF, 3), [0]))
    points = mesh.meshtags(tagged.mesh, 0, np.arange(2, dtype=np.int32), 1)
    with pytest.raises(MeshError, match="expected tags of dimension 1 or 2.*of dimension 0"):
        carry_tags(points, periodic(tagged.mesh, [0]))


@pytest.mark.parametrize("cells", ["triangle", "quadrilateral"])
@pytest.mark.parametrize("n", [1, 2])
def test_too_few_cells_are_refused(cells: str, n: int) -> None:
    with pytest.raises(MeshError, match=r"fewer than 3 cells between the sides along axes \[0\]"):
        periodic(rectangle(SELF, n, cells), [0])
    if n == 2:  # and 3 along the other one, which is not blamed
        with pytest.raises(MeshError, match=r"along axes \[0\]"):
            periodic(rectangle(SELF, n, cells), [1, 0])
    with pytest.raises(MeshError, match="fewer than 3 cells"):
        periodic(interval(SELF, n), [0])


def test_sides_that_do_not_match_are_refused() -> None:
    given = rectangle(SELF, 3)
    x = given.geometry.x
    moved = np.isclose(x[:, 0], 2.0) & np.isclose(x[:, 1], 0.25)
    x[moved, 1] = 0.3
    with pytest.raises(MeshError, match=r"2 of 10 nodes have no partner .* at \(0, 0.25\)"):
        periodic(given, [0])
    assert n_dofs(periodic(given, [1]), 1) == 16


def test_facets_that_do_not_match_are_refused() -> None:
    """Squares of opposite sides are cut along different diagonals."""
    box = mesh.create_box(SELF, [(0, 0, 0), (1, 1, 1)], [4, 4, 4])
    cells, x = box.geometry.dofmaps[0].astype(np.int64), box.geometry.x
    right = x[cells].mean(axis=1)[:, 0] > 0.5  # these are turned over in y
    place = {tuple(point): index for index, point in enumerate(x.round(12))}
    mirror = np.array([place[tuple(point)] for point in (x * [1, -1, 1] + [0, 1, 0]).round(12)])
    cells[right] = mirror[cells[right]]
    twisted = mesh.create_mesh(SELF, cells, ufl.Mesh(box.ufl_domain().ufl_coordinate_element()), x)
    with pytest.raises(MeshError, match="not the same facets: 64 facets have no partner"):
        periodic(twisted, [0])
    assert n_dofs(periodic(box, [0]), 1) == 4 * 25


@pytest.mark.parametrize("axes", [[2], [-1], [], [0, 0], [0, 2]])
def test_axes_that_the_mesh_has_not_are_refused(axes: list[int]) -> None:
    with pytest.raises(MeshError, match=r"different axes among \[0, 1\]"):
        periodic(rectangle(SELF, 3), axes)


def test_other_geometries_are_refused() -> None:
    curved = mesh.create_mesh(
        SELF,
        np.array([[0, 1, 2, 3, 4, 5]]),
        ufl.Mesh(basix.ufl.element("Lagrange", "triangle", 2, shape=(2,))),
        np.array([[0, 0], [1, 0], [0, 1], [0.5, 0.5], [0, 0.5], [0.5, 0]], dtype=float),
    )
    with pytest.raises(MeshError, match="degree 1, got triangle of degree 2"):
        periodic(curved, [0])
    with pytest.raises(MeshError, match="20 nodes, got 16 vertices: this mesh is periodic already"):
        periodic(periodic(rectangle(SELF, 3), [1]), [0])
