"""Outlines, parametrisations, extension into the mesh, and cell quality."""

from __future__ import annotations

from dataclasses import replace

import meshio
import numpy as np
import pytest
import pyvista
import ufl
from dolfinx import fem
from morph_case import OBSTACLES, case, harmonic_extension, least_area, mesh
from mpi4py import MPI
from scipy.interpolate import BSpline
from scipy.sparse.linalg import spsolve

from hypemarl.meshing import MeshError, distribute
from hypemarl.meshing.distribute import quality as mean_ratio
from hypemarl.meshing.morphing import (
    KINDS,
    Outline,
    Parametrisation,
    ShapeSpace,
    default_bounds,
    follow,
    outline_of,
)
from hypemarl.meshing.morphing.extension import POISSON_RATIO, elastic_extension
from hypemarl.meshing.morphing.motion import boundary_nodes
from hypemarl.meshing.morphing.outlines import loop_of, ordered_loop
from hypemarl.meshing.morphing.parametrisation import bsplines, harmonics
from hypemarl.meshing.morphing.quality import radius_ratios, worst_cell
from hypemarl.meshing.polygons import signed_area
from hypemarl.meshing.raw import RawMesh, measures

RNG = np.random.default_rng(7)


def circle_outline(n: int = 48) -> Outline:
    angle = 2.0 * np.pi * np.arange(n) / n
    return Outline(np.column_stack([np.cos(angle), np.sin(angle)]))


def test_the_outline_goes_through_its_nodes_and_converges_between_them() -> None:
    errors = []
    for n in (24, 48, 96):
        outline = circle_outline(n)
        assert outline.points(outline.places) == pytest.approx(
            np.column_stack([np.cos(a := 2 * np.pi * np.arange(n) / n), np.sin(a)]), abs=1e-12
        )
        errors.append(np.abs(np.linalg.norm(outline.points(outline.dense), axis=1) - 1.0).max())
        normals = outline.normals(outline.dense)
        assert normals == pytest.approx(outline.points(outline.dense), abs=20.0 / n**3)
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4.0, abs=0.2)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(4.0, abs=0.2)


@pytest.mark.parametrize("name", OBSTACLES)
def test_the_obstacle_of_a_mesh_in_order(name: str) -> None:
    raw = mesh(name)
    order = loop_of(raw, "obstacle")
    pairs = {frozenset(pair) for pair in raw.members("obstacle").tolist()}
    assert {
        frozenset(p) for p in zip(order.tolist(), np.roll(order, -1).tolist(), strict=True)
    } == pairs
    hole = (
        np.ptp(raw.points[:, 0]) * np.ptp(raw.points[:, 1]) - measures(raw.points, raw.cells).sum()
    )
    assert signed_area(raw.points[order]) == pytest.approx(hole, rel=1e-9)


def test_agents_of_a_symmetric_obstacle_stand_symmetrically() -> None:
    for name in ("circle", "rounded-square"):
        outline = outline_of(mesh(name))
        places = Parametrisation(outline, "radial-bspline", 12).positions - outline.centre
        mirrored = places[(-np.arange(12)) % 12] * [1.0, -1.0]
        assert places == pytest.approx(mirrored, abs=2e-3 * outline.radius), name


def test_what_is_no_closed_curve_is_refused() -> None:
    ring = np.array([[0, 1], [1, 2], [2, 3], [3, 0]])
    assert ordered_loop(ring, "x").tolist() in ([0, 1, 2, 3], [0, 3, 2, 1])
    with pytest.raises(MeshError, match="ends or forks at node 0"):
        ordered_loop(ring[:-1], "x")
    with pytest.raises(MeshError, match="several curves"):
        ordered_loop(np.concatenate([ring, ring + 4]), "x")
    with pytest.raises(
        MeshError, match="expected a triangle mesh whose obstacle has the tag 'disc'"
    ):
        outline_of(mesh("circle"), "disc")


def test_bsplines_are_those_of_scipy_and_sum_to_one() -> None:
    s = np.linspace(0.0, 1.0, 101)
    found = bsplines(s, 8)
    assert found.sum(axis=1) == pytest.approx(1.0, abs=1e-14)
    element = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)
    whole = np.arange(-16, 17, 8)
    for i in range(8):
        expected = np.nan_to_num(element(8 * s[:, None] - i + whole)).sum(axis=1)
        assert found[:, i] == pytest.approx(expected, abs=1e-14)


def test_harmonics_are_the_least_squares_fit() -> None:
    agents = np.arange(16) / 16
    values = RNG.normal(size=16)

    def columns(s: np.ndarray) -> np.ndarray:
        waves = [f(2 * np.pi * k * s) for k in (1, 2, 3, 4) for f in (np.cos, np.sin)]
        return np.stack([np.ones_like(s), *waves], axis=1)

    fit = np.linalg.lstsq(columns(agents), values, rcond=None)[0]
    s = np.linspace(0.0, 1.0, 37)
    assert harmonics(s, 16, 4) @ values == pytest.approx(columns(s) @ fit, abs=1e-13)
    assert harmonics(np.arange(5) / 5, 5, 4) == pytest.approx(np.eye(5), abs=1e-14)  # 2 modes only


@pytest.mark.parametrize("kind", KINDS)
def test_displacements_are_smooth_around_the_outline(kind: str) -> None:
    """Slopes agree where the parameter begins again, and jumps of the second one vanish."""
    parametrisation = Parametrisation(circle_outline(), kind)  # type: ignore[arg-type]
    a = RNG.normal(size=16 * parametrisation.components)
    h = 1e-4
    s = np.arange(-3, 4) * h
    values = parametrisation.basis(s) @ a
    third = np.diff(values, 3, axis=0) / h**2
    scale = np.abs(np.diff(values, 2, axis=0) / h**2).max()
    assert np.abs(third).max() < 0.02 * max(scale, 1.0)


def test_radial_and_normal_go_where_they_say() -> None:
    s = np.linspace(0.0, 1.0, 50)
    outline = outline_of(mesh("ellipse"))
    ones = np.ones(16)
    arms = outline.points(s) - outline.centre
    radial = Parametrisation(outline, "radial-bspline").basis(s) @ ones
    assert radial == pytest.approx(arms / np.linalg.norm(arms, axis=1, keepdims=True))
    normal = Parametrisation(outline, "normal-fourier").basis(s) @ ones
    assert normal == pytest.approx(outline.normals(s))
    tangent = (outline.points(s + 1e-6) - outline.points(s - 1e-6)) / 2e-6
    assert np.abs((normal * tangent).sum(axis=1)).max() < 1e-6 * np.abs(tangent).max()


def test_a_free_form_box_reproduces_affine_maps() -> None:
    """Control points that move affinely move the outline by the same map."""
    outline = outline_of(mesh("rounded-square"))
    box = Parametrisation(outline, "free-form", 12, lattice=(4, 3))
    matrix, shift = RNG.normal(size=(2, 2)), RNG.normal(size=2)
    s = np.linspace(0.0, 1.0, 40)
    moved = box.basis(s) @ (box.positions @ matrix.T + shift).ravel()
    assert moved == pytest.approx(outline.points(s) @ matrix.T + shift, abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("radial", 16), "parametrisation 'radial' is unknown"),
        (("radial-bspline", 3), "expected at least 4 agents, got 3"),
        (("normal-fourier", 16, 0), "expected at least 1 mode, got 0"),
        (("free-form", 16, 4, (4, 3)), "one per agent, got .4, 3. for 16 agents"),
    ],
)
def test_bad_parametrisations_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(MeshError, match=message):
        Parametrisation(circle_outline(), *arguments)


@pytest.mark.parametrize("kind", KINDS)
def test_area_and_size_of_a_shape_are_exact_in_its_modes(kind: str) -> None:
    space = ShapeSpace(Parametrisation(outline_of(mesh("ellipse")), kind))  # type: ignore[arg-type]
    q = 0.01 * RNG.normal(size=space.size)
    corners = space.points(q)[:: len(space.reference) // len(space.parametrisation.outline.places)]
    assert space.area(q) == pytest.approx(signed_area(corners), rel=1e-13)
    step = 1e-6 * RNG.normal(size=space.size)
    change = space.area(q + step) - space.area(q - step)
    assert change == pytest.approx(2.0 * space.area_slope(q) @ step, rel=1e-7)
    gaps = np.linalg.norm(np.roll(space.reference, -1, 0) - space.reference, axis=1)
    weights = 0.5 * (gaps + np.roll(gaps, 1)) / gaps.sum()
    moved = ((space.points(q) - space.reference) ** 2).sum(axis=1)
    assert q @ q == pytest.approx(weights @ moved, rel=1e-12)
    outline = space.parametrisation.outline
    assert space.displacement(q, outline.dense) == pytest.approx(
        space.points(q) - space.reference, abs=1e-13
    )


def all_inside(raw: RawMesh) -> tuple[np.ndarray, np.ndarray]:
    return boundary_nodes(raw.cells), np.empty(0, dtype=np.int64)


def test_extensions_reproduce_what_is_in_equilibrium() -> None:
    """Linear displacements of an even body; with stiff small cells, rigid ones."""
    raw = mesh("circle")
    moved, fixed = all_inside(raw)
    linear = raw.points @ RNG.normal(size=(2, 2)) + RNG.normal(size=2)
    rigid = raw.points @ np.array([[0.0, 0.7], [-0.7, 0.0]]) + RNG.normal(size=2)
    plain = elastic_extension(raw.points, raw.cells, moved, fixed, stiffening=0.0)
    stiff = elastic_extension(raw.points, raw.cells, moved, fixed)
    harmonic = harmonic_extension(raw.points, raw.cells, moved, fixed)
    for operator, field in ((plain, linear), (harmonic, linear), (stiff, rigid)):
        found = (operator @ field[moved].ravel()).reshape(-1, 2)
        assert found == pytest.approx(field, abs=1e-10)
    assert np.abs((stiff @ linear[moved].ravel()).reshape(-1, 2) - linear).max() > 1e-3


def test_the_elastic_extension_is_the_one_that_dolfinx_assembles() -> None:
    raw = mesh("ellipse")
    loop = loop_of(raw, "obstacle")
    outer = np.setdiff1d(boundary_nodes(raw.cells), loop)
    d = RNG.normal(size=(len(loop), 2))
    found = (elastic_extension(raw.points, raw.cells, loop, outer) @ d.ravel()).reshape(-1, 2)

    domain = distribute(raw, MPI.COMM_SELF).mesh
    space = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u, v = ufl.TrialFunction(space), ufl.TestFunction(space)
    young, nu = 1.0 / ufl.CellVolume(domain), POISSON_RATIO
    strain = ufl.sym(ufl.grad(u))
    stress = young / (1 + nu) * (strain + nu / (1 - 2 * nu) * ufl.tr(strain) * ufl.Identity(2))
    matrix = (
        fem.assemble_matrix(fem.form(ufl.inner(stress, ufl.grad(v)) * ufl.dx)).to_scipy().tocsr()
    )
    order = np.empty(len(raw.points), dtype=np.int64)
    order[space.dofmap.list.ravel()] = domain.geometry.input_global_indices[
        domain.geometry.dofmaps[0].ravel()
    ]
    given = np.zeros((len(raw.points), 2))
    given[loop] = d
    free = np.isin(order, np.concatenate([loop, outer]), invert=True).repeat(2)
    values = given[order].ravel()
    values[free] = spsolve(matrix[free][:, free].tocsc(), -(matrix[free][:, ~free] @ values[~free]))
    assert found[order].ravel() == pytest.approx(values, abs=1e-9)


def test_harmonic_extension_inverts_cells_where_elasticity_does_not() -> None:
    """Four lobes of 0.55 radii: one boundary, two insides."""
    raw = mesh("circle")
    space, motion = case("circle", "normal-bspline")
    radius = space.parametrisation.outline.radius
    q = space.to_modes @ (0.55 * radius * np.cos(0.5 * np.pi * np.arange(16)))
    harmonic = harmonic_extension(
        raw.points, raw.cells, motion.loop, np.setdiff1d(boundary_nodes(raw.cells), motion.loop)
    )
    moved = raw.points + (harmonic @ space.displacement(q, motion.places).ravel()).reshape(-1, 2)
    assert worst_cell(moved, raw.cells)[0] < 0.0
    assert motion.worst_cell(q)[0] > 0.1
    assert least_area(moved, raw.cells) < 0.0 < least_area(motion.points(q), raw.cells)
    assert moved[motion.loop] == pytest.approx(motion.points(q)[motion.loop], abs=1e-14)


@pytest.mark.parametrize("name", OBSTACLES)
def test_a_mesh_follows_its_outline_and_nothing_else_moves(name: str) -> None:
    raw = mesh(name)
    space, motion = case(name, "radial-fourier")
    q = space.to_modes @ (0.1 * default_bounds(space, motion).amplitude * RNG.uniform(-1, 1, 16))
    points = motion.points(q)
    outline = space.parametrisation.outline
    expected = outline.points(motion.places) + space.displacement(q, motion.places)
    assert points[motion.loop] == pytest.approx(expected, abs=1e-12)
    outer = np.setdiff1d(boundary_nodes(raw.cells), motion.loop)
    assert np.array_equal(points[outer], raw.points[outer])
    assert np.array_equal(motion.points(np.zeros(space.size)), raw.points)
    motion.points(10.0 * q)  # nothing is kept from call to call
    assert np.array_equal(motion.points(q), points)
    assert motion.velocity(q) == pytest.approx(points - raw.points, abs=1e-14)


def test_meshes_of_another_shape_or_with_a_touching_obstacle_are_refused() -> None:
    raw = mesh("circle")
    space, motion = case("circle", "radial-bspline")
    shifted = replace(raw, points=raw.points * 1.01)
    with pytest.raises(MeshError, match="not this shape of the outline"):
        follow(shifted, space)
    with pytest.raises(MeshError, match="touches a fixed boundary"):
        elastic_extension(raw.points, raw.cells, motion.loop, motion.loop[:1])
    with pytest.raises(MeshError, match="expected anticlockwise cells"):
        elastic_extension(raw.points, raw.cells[:, ::-1], motion.loop, motion.loop[:0])


def test_cells_listed_clockwise_are_turned() -> None:
    raw = mesh("circle")
    cells = raw.cells.copy()
    cells[::3] = cells[::3, [1, 0, 2]]
    space, motion = case("circle", "radial-bspline")
    again = follow(replace(raw, cells=cells), space)
    rest = np.zeros(space.size)
    assert again.worst_cell(rest)[0] == pytest.approx(motion.worst_cell(rest)[0], rel=1e-12)


def test_quality_is_that_of_pyvista() -> None:
    """VTK's radius ratio is the inverse of ours and knows no orientation."""
    space, motion = case("rounded-square", "radial-fourier")
    q = space.to_modes @ (0.01 * RNG.uniform(-1, 1, 16))
    points, cells = motion.points(q), motion.raw.cells
    grid = pyvista.from_meshio(
        meshio.Mesh(np.column_stack([points, np.zeros(len(points))]), {"triangle": cells})
    )
    measured = grid.cell_quality(["radius_ratio", "area"])
    ours = radius_ratios(points, cells)
    assert ours == pytest.approx(1.0 / np.asarray(measured["radius_ratio"]), rel=1e-9)
    assert worst_cell(points, cells) == (ours.min(), ours.argmin())
    assert least_area(points, cells) == pytest.approx(np.asarray(measured["area"]).min(), rel=1e-12)
    # another measure: the mean ratio is at least the radius ratio, both are 1 at best
    assert (mean_ratio(motion.moved(q)) >= ours - 1e-12).all()


def test_quality_of_known_triangles() -> None:
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)], [0.0, 1.0], [2.0, 0.0]])
    cells = np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4], [1, 0, 3]])
    right = 2.0 * (np.sqrt(2.0) - 1.0)
    assert radius_ratios(points, cells) == pytest.approx([1.0, right, 0.0, -right], abs=1e-12)
    assert least_area(points, cells) == -0.5
    assert worst_cell(points * np.nan, cells)[0] == 0.0  # what is no number holds no bound
