"""Shapes: exact measures, quality, the Delaunay property, refusal of numbers that make no sense."""

from __future__ import annotations

from dataclasses import replace

import gmsh
import numpy as np
import pytest
from mpi4py import MPI

from hypemarl.config import MeshConfig
from hypemarl.meshing import MeshError, build, exact_measures, gather, mesh_summary
from hypemarl.meshing.shapes import TAGS, generate, session

INTERVAL = MeshConfig(shape="interval", element_size=0.1)
SQUARE = MeshConfig(shape="square", element_size=0.1)
DISC = MeshConfig(shape="square-with-disc", element_size=0.1)


def measured(config: MeshConfig) -> dict[str, float]:
    """Measures of the mesh's tags."""
    summary = mesh_summary(build(config, MPI.COMM_SELF))
    return {name: summary[f"measure_{name}"] for name in summary["tags"]}


@pytest.mark.parametrize(
    "config",
    [INTERVAL, SQUARE, replace(INTERVAL, lower=0.3, upper=2.0), replace(SQUARE, lower=-3.0)],
    ids=["interval", "square", "shifted interval", "large square"],
)
def test_measures_of_polygons_are_exact(config: MeshConfig) -> None:
    assert measured(config) == pytest.approx(exact_measures(config), rel=1e-12)


def test_disc_converges_with_second_order() -> None:
    errors = []
    for size in (0.05, 0.025, 0.0125):
        config = replace(DISC, element_size=size, lower=-0.5, upper=0.5)
        exact, found = exact_measures(config), measured(config)
        assert found.keys() == exact.keys()
        # The polygon lies in the circle: too much area, too little length.
        errors.append([found["domain"] - exact["domain"], exact["disc"] - found["disc"]])
    rates = np.log2(np.divide(errors[:-1], errors[1:]))
    assert (np.array(errors) > 0.0).all()
    assert errors[-1] == pytest.approx([0.0, 0.0], abs=6e-4)
    assert rates == pytest.approx(np.full((2, 2), 2.0), abs=0.25)


def test_coarse_disc_stays_round() -> None:
    mesh = build(replace(DISC, element_size=1.0), MPI.COMM_SELF)
    assert len(mesh.entities("disc")) >= 16


def test_interval_has_equal_cells_that_fit_the_domain() -> None:
    raw = gather(build(replace(INTERVAL, element_size=0.3), MPI.COMM_SELF))
    assert raw is not None
    assert len(raw.cells) == 7
    assert np.diff(np.sort(raw.points[:, 0])) == pytest.approx(np.full(7, 2.0 / 7.0), abs=1e-10)
    assert raw.points[raw.members("left")].ravel() == pytest.approx([-1.0])
    assert raw.points[raw.members("right")].ravel() == pytest.approx([1.0])


@pytest.mark.parametrize("size", [0.5, 0.13, 0.05, 0.025])
@pytest.mark.parametrize("config", [SQUARE, DISC], ids=["square", "disc"])
def test_triangles_are_delaunay(config: MeshConfig, size: float) -> None:
    """No positive off-diagonal entry in the stiffness matrix: what non-negative schemes need."""
    # Imported after hypemarl, which loads the MPI of dolfinx's wheel.
    from dolfinx import fem
    from ufl import TestFunction, TrialFunction, dx, grad, inner

    mesh = build(replace(config, element_size=size), MPI.COMM_SELF).mesh
    space = fem.functionspace(mesh, ("Lagrange", 1))
    form = fem.form(inner(grad(TrialFunction(space)), grad(TestFunction(space))) * dx)
    stiffness = fem.assemble_matrix(form).to_scipy().tocoo()
    assert stiffness.data[stiffness.row != stiffness.col].max() <= 1e-12


@pytest.mark.parametrize("config", [SQUARE, DISC], ids=["square", "disc"])
def test_triangles_are_good(config: MeshConfig) -> None:
    summary = mesh_summary(build(replace(config, element_size=0.05), MPI.COMM_SELF))
    assert summary["min_quality"] > 0.7
    assert summary["mean_quality"] > 0.98
    assert summary["max_edge"] < 1.5 * 0.05


def test_tags_lie_where_their_names_say() -> None:
    raw = gather(build(DISC, MPI.COMM_SELF))
    assert raw is not None
    assert raw.tags == TAGS["square-with-disc"]
    for name, axis, place in [("left", 0, -1), ("right", 0, 1), ("bottom", 1, -1), ("top", 1, 1)]:
        assert raw.points[raw.members(name)][..., axis] == pytest.approx(place)
    radii = np.linalg.norm(raw.points[raw.members("disc")], axis=-1)
    assert radii == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"element_size": 0.0}, "element_size=0.0 must be positive"),
        ({"element_size": -0.1}, "must be positive"),
        ({"element_size": 2.5}, "at most the length of the domain, 2.0"),
        ({"element_size": float("nan")}, "must be a finite number"),
        ({"upper": -1.0}, "upper=-1.0 must be above env.mesh.lower=-1.0"),
        ({"disc_radius": 1.0}, "does not fit"),
        ({"disc_radius": 0.0}, "does not fit"),
        ({"lower": 0.2}, "does not fit"),
        ({"shape": "torus"}, "'torus' is unknown"),
    ],
)
def test_bad_shapes_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(MeshError, match=message):
        build(replace(DISC, **changes), MPI.COMM_SELF)


def test_gmsh_session_of_the_caller_is_left_alone() -> None:
    assert not gmsh.isInitialized()
    gmsh.initialize(interruptible=False)
    try:
        gmsh.model.add("mine")
        gmsh.option.setNumber("Mesh.Algorithm", 5)
        build(SQUARE, MPI.COMM_SELF)
        assert gmsh.model.getCurrent() == "mine"
        assert gmsh.option.getNumber("Mesh.Algorithm") == 5
    finally:
        gmsh.finalize()


def test_gmsh_is_finalised_after_an_error() -> None:
    with pytest.raises(RuntimeError, match="inside"), session():
        raise RuntimeError("inside")
    assert not gmsh.isInitialized()


@pytest.mark.parametrize(
    "wrong",
    [
        MeshConfig(shape="interval", upper=1e9, element_size=0.01),
        MeshConfig(shape="square", element_size=1e-9),
        MeshConfig(shape="channel-with-disc", length=1e9),
    ],
)
def test_a_mesh_that_no_machine_holds_is_refused_at_once(wrong: MeshConfig) -> None:
    with pytest.raises(MeshError, match=r"about .*cells of this .* at most 1e\+08"):
        generate(wrong)
