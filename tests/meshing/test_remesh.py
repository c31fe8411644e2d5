"""Remeshing a shape, and a density's way from the old mesh to the new one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from morph_case import COARSE, OBSTACLES, case, least_area, mesh

from hypemarl.meshing import MeshError
from hypemarl.meshing.morphing import (
    CellGrid,
    DensityTransfer,
    FeasibleMap,
    MeshMotion,
    Parametrisation,
    ShapeSpace,
    default_bounds,
    follow,
    outline_of,
    remesh,
    renewed,
)
from hypemarl.meshing.morphing.quality import worst_cell
from hypemarl.meshing.morphing.remesh import _nodal_sizes
from hypemarl.meshing.raw import RawMesh, measures
from hypemarl.meshing.shapes import generate

Field = Callable[[np.ndarray], np.ndarray]


@cache
def remeshed(name: str, refinement: int = 1) -> tuple[MeshMotion, np.ndarray, MeshMotion]:
    """A motion, a shape far from the reference, and the motion of its new mesh."""
    if refinement == 1:
        space, motion = case(name, "radial-fourier")
    else:
        config = OBSTACLES[name]
        fine = replace(
            config,
            element_size=config.element_size / refinement,
            disc_element_size=(config.disc_element_size or 1.0) / refinement,
        )
        raw = generate(fine)
        space = ShapeSpace(Parametrisation(outline_of(raw), "radial-fourier"))
        motion = follow(raw, space)
    bounds = default_bounds(space, motion)
    feasible = FeasibleMap(space, bounds, motion, limit_quality=False)
    amplitudes = bounds.amplitude * np.cos(2.0 * np.pi * 3.0 * (np.arange(16) + 0.5) / 16)
    q = feasible(0.7 * amplitudes).q
    return motion, q, remesh(motion, q)


@pytest.mark.parametrize("name", OBSTACLES)
def test_a_remesh_keeps_the_boundary_and_renews_the_inside(name: str) -> None:
    motion, q, new = remeshed(name)
    old = motion.moved(q)
    assert new.worst_cell(q)[0] > max(0.5, motion.worst_cell(q)[0] - 0.05)
    assert least_area(new.raw.points, new.raw.cells) > 0.0
    assert new.raw.tags == old.tags
    for tag in ("inflow", "outflow", "bottom", "top", "obstacle"):
        ends = [
            np.sort(raw.points[raw.members(tag)].reshape(-1, 4), axis=0) for raw in (old, new.raw)
        ]
        assert len(ends[0]) == len(ends[1])
        nodes = [
            np.unique(np.round(raw.points[raw.members(tag)].reshape(-1, 2), 12), axis=0)
            for raw in (old, new.raw)
        ]
        assert nodes[0] == pytest.approx(nodes[1], abs=1e-12)
    areas = [measures(raw.points, raw.cells).sum() for raw in (old, new.raw)]
    assert areas[0] == pytest.approx(areas[1], rel=1e-13)
    assert len(new.raw.cells) == pytest.approx(len(old.cells), rel=0.25)


def test_the_new_mesh_follows_the_same_shapes() -> None:
    motion, q, new = remeshed("circle")
    assert np.array_equal(new.points(q), new.raw.points)
    rest = np.zeros_like(q)
    boundary, again = motion.points(rest)[motion.loop], new.points(rest)[new.loop]
    order, order_again = np.argsort(motion.places), np.argsort(new.places)
    assert boundary[order] == pytest.approx(again[order_again], abs=1e-12)
    assert new.worst_cell(rest)[0] > 0.2


def test_sizes_do_not_drift_over_remeshes() -> None:
    motion, q, new = remeshed("circle")
    counts = []
    for turn in range(4):
        new = remesh(new, q if turn % 2 else 0.0 * q)
        counts.append(len(new.raw.cells))
        assert new.root is motion
    assert counts[0] == pytest.approx(counts[2], rel=0.005)
    assert counts[1] == pytest.approx(counts[3], rel=0.005)
    sizes = [_nodal_sizes(m.raw).mean() for m in (motion, new)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.15)


def test_a_mesh_is_renewed_below_the_bound_only() -> None:
    motion, q, new = remeshed("circle")
    worst = motion.worst_cell(q)[0]
    assert renewed(motion, q, 0.9 * worst) is motion
    found = renewed(motion, q, worst + 1e-3)
    assert found is not motion
    assert np.array_equal(found.raw.cells, new.raw.cells)
    rest = np.zeros_like(q)  # the first mesh is best for its own shape
    assert renewed(found, rest, new.worst_cell(rest)[0] + 1e-3) is motion
    with pytest.raises(MeshError, match="of the new mesh has quality .*, below min_quality=0.99"):
        renewed(motion, q, 0.99)


def test_what_cannot_be_remeshed_is_refused() -> None:
    motion, q, _ = remeshed("circle")
    tags = motion.raw.tags | {"left part": (2, 9)}
    with pytest.raises(MeshError, match="expected one tag of cells, got"):
        remesh(replace(motion, raw=replace(motion.raw, tags=tags)), q)
    with pytest.raises(MeshError, match="the outline crosses itself"):
        remesh(motion, 30.0 * q)  # no feasible map gives it


def test_points_are_located_in_their_cells() -> None:
    motion, q, _ = remeshed("aerofoil")
    raw = motion.moved(q) if motion.worst_cell(q)[0] > 0 else motion.raw
    corners = raw.points[raw.cells]
    rng = np.random.default_rng(2)
    weights = rng.dirichlet(np.ones(3), len(corners))
    points = np.einsum("nk,nkc->nc", weights, corners)
    cells, places = CellGrid(corners).locate(points)
    assert np.array_equal(cells, np.arange(len(corners)))
    assert places == pytest.approx(weights, abs=1e-9)
    circle = mesh("circle")
    with pytest.raises(ValueError, match=r"the point \[0.2, 0.2\] lies outside the mesh"):
        CellGrid(circle.points[circle.cells]).locate(np.array([[0.2, 0.2]]))  # in the hole


def test_cuts_integrate_what_both_meshes_hold_exactly() -> None:
    """Linear functions are in both spaces: their products over cuts are known."""
    motion, q, new = remeshed("ellipse")
    old = motion.moved(q)
    mixed = CellGrid(old.points[old.cells]).mixed_mass(new.raw.points, new.raw.cells, old.cells)
    corners = new.raw.points[new.raw.cells]
    areas = measures(new.raw.points, new.raw.cells)
    middle = corners[:, [0, 1, 2]] + corners[:, [1, 2, 0]]
    for i, j in ((0, 0), (0, 1), (1, 1)):
        exact = (areas[:, None] / 3.0 * 0.25 * middle[..., i] * middle[..., j]).sum()
        found = new.raw.points[:, i] @ mixed @ old.points[:, j]
        assert found == pytest.approx(exact, rel=1e-12)


def integral(raw: RawMesh, field: np.ndarray) -> float:
    return float((measures(raw.points, raw.cells) * field[raw.cells].mean(axis=1)).sum())


def error(raw: RawMesh, field: np.ndarray, exact: Field) -> float:
    """L2 distance by the midpoints of the sides."""
    corners, values = raw.points[raw.cells], field[raw.cells]
    total = 0.0
    for a, b in ((0, 1), (1, 2), (2, 0)):
        miss = 0.5 * (values[:, a] + values[:, b]) - exact(0.5 * (corners[:, a] + corners[:, b]))
        total += (measures(raw.points, raw.cells) * miss**2).sum() / 3.0
    return float(np.sqrt(total))


def smooth(points: np.ndarray) -> np.ndarray:
    return 1.0 + np.sin(6.0 * points[:, 0]) * np.cos(9.0 * points[:, 1])


def jump(points: np.ndarray) -> np.ndarray:
    return np.where(points[:, 0] > 0.3, 1.0, 0.0)


def test_a_smooth_density_is_transferred_with_order_two_and_all_its_mass() -> None:
    errors = []
    for refinement in (1, 2):
        motion, q, new = remeshed("circle", refinement)
        old = motion.moved(q)
        transfer = DensityTransfer(old, new.raw)
        field = smooth(old.points)
        found = transfer(field)
        assert integral(new.raw, found) == pytest.approx(integral(old, field), rel=1e-13)
        assert transfer.mass(found) == pytest.approx(integral(old, field), rel=1e-13)
        errors.append(error(new.raw, found, smooth))
        # hardly worse than the best that either mesh can hold
        assert errors[-1] < 1.2 * error(old, field, smooth)
    assert np.log2(errors[0] / errors[1]) > 1.7


def test_a_layer_stays_between_its_values() -> None:
    motion, q, new = remeshed("circle")
    old = motion.moved(q)
    found = DensityTransfer(old, new.raw)(jump(old.points))
    assert found.min() >= -1e-14
    assert found.max() <= 1.0 + 1e-13
    assert integral(new.raw, found) == pytest.approx(integral(old, jump(old.points)), rel=1e-13)
    # the limiter works, and does not flatten: the layer is as sharp as a nodal jump
    assert error(new.raw, found, jump) < 1.1 * error(new.raw, jump(new.raw.points), jump)


def test_constants_and_no_change_of_mesh() -> None:
    motion, q, new = remeshed("circle")
    old = motion.moved(q)
    ones = DensityTransfer(old, new.raw)(np.full(len(old.points), 3.0))
    assert ones == pytest.approx(3.0, rel=1e-11)
    field = smooth(old.points)
    assert DensityTransfer(old, old)(field) == pytest.approx(field, abs=1e-9)


def test_meshes_of_different_polygons_are_refused() -> None:
    motion, _, new = remeshed("circle")
    with pytest.raises(MeshError, match="expected two meshes of the same polygon"):
        DensityTransfer(motion.raw, new.raw)
    assert COARSE.shape == "channel-with-obstacle"
    assert worst_cell(mesh("circle").points, motion.raw.cells)[0] > 0.5
