"""The channel with a disc: measures, grading, tags, refusal of numbers that make no sense."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mpi4py import MPI

from hypemarl.config import MeshConfig
from hypemarl.meshing import MeshError, build, exact_measures, gather, mesh_summary
from hypemarl.meshing.distribute import edge_lengths
from hypemarl.meshing.raw import RawMesh
from hypemarl.meshing.shapes import TAGS

CHANNEL = MeshConfig(
    shape="channel-with-disc", disc_radius=0.05, element_size=0.04, disc_element_size=0.007
)
FINE = replace(CHANNEL, element_size=0.0209, disc_element_size=0.0034)


def raw_mesh(config: MeshConfig) -> RawMesh:
    raw = gather(build(config, MPI.COMM_SELF))
    assert raw is not None
    return raw


def test_measures_are_those_of_the_shape() -> None:
    exact, summary = exact_measures(CHANNEL), mesh_summary(build(CHANNEL, MPI.COMM_SELF))
    assert summary["tags"] == sorted(TAGS["channel-with-disc"])
    for name in ("inflow", "outflow", "bottom", "top"):
        assert summary[f"measure_{name}"] == pytest.approx(exact[name], rel=1e-12)
    # the disc's polygon lies in the circle
    assert 0.0 < summary["measure_domain"] - exact["domain"] < 1e-4
    assert 0.0 < exact["disc"] - summary["measure_disc"] < 1e-3


def test_tags_lie_where_their_names_say() -> None:
    raw = raw_mesh(CHANNEL)
    places = {"inflow": (0, 0.0), "outflow": (0, 2.2), "bottom": (1, 0.0), "top": (1, 0.41)}
    for name, (axis, place) in places.items():
        assert raw.points[raw.members(name)][..., axis] == pytest.approx(place)
    assert np.linalg.norm(raw.points[raw.members("disc")] - 0.2, axis=-1) == pytest.approx(0.05)


def test_triangles_are_fine_at_the_disc_and_in_its_wake() -> None:
    raw = raw_mesh(CHANNEL)
    size = edge_lengths(raw).mean(axis=1)
    middle = raw.points[raw.cells].mean(axis=1)
    from_disc = np.linalg.norm(middle - 0.2, axis=1) - 0.05
    assert size[from_disc < 0.007].mean() == pytest.approx(0.007, rel=0.2)
    far = middle[:, 0] > 1.3
    assert size[far].mean() == pytest.approx(0.04, rel=0.2)
    wake = (np.abs(middle[:, 1] - 0.2) < 0.08) & (middle[:, 0] > 0.5) & (middle[:, 0] < 0.75)
    assert size[wake].mean() == pytest.approx(0.6 * 0.04, rel=0.2)


def test_size_changes_smoothly_and_triangles_are_good() -> None:
    raw, summary = raw_mesh(CHANNEL), mesh_summary(build(CHANNEL, MPI.COMM_SELF))
    assert summary["min_quality"] > 0.6
    assert summary["mean_quality"] > 0.96
    edges = edge_lengths(raw)
    assert (edges.max(axis=1) / edges.min(axis=1)).max() < 2.0


def test_the_mesh_of_the_published_benchmark() -> None:
    """About 7,500 triangles: what the solvers are validated and timed on."""
    summary = mesh_summary(build(FINE, MPI.COMM_SELF))
    assert 7350 < summary["cells"] < 7600
    assert len(raw_mesh(FINE).members("disc")) == pytest.approx(96, abs=2)


def test_null_takes_a_third_of_the_element_size() -> None:
    automatic = replace(CHANNEL, element_size=0.03, disc_element_size=None)
    given = replace(automatic, disc_element_size=0.01)
    hashes = [build(c, MPI.COMM_SELF).content_hash for c in (automatic, given)]
    assert hashes[0] == hashes[1]


def test_coarse_disc_stays_round() -> None:
    coarse = replace(CHANNEL, element_size=0.2, disc_element_size=0.2)
    assert len(raw_mesh(coarse).members("disc")) >= 15


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"disc_radius": 0.2}, r"disc_radius=0.2 at env.mesh.disc_centre=\[0.2, 0.2\] touches"),
        ({"disc_centre": (2.19, 0.2)}, "touches or leaves.*env.mesh.length=2.2"),
        ({"disc_centre": (0.2, 1.0)}, "touches or leaves.*env.mesh.height=0.41"),
        ({"disc_centre": (0.2,)}, "env.mesh.disc_centre=.*needs two numbers"),
        ({"disc_radius": 0.0}, "env.mesh.disc_radius=0.0 must be a positive"),
        ({"length": float("nan")}, "length=nan must be a positive"),
        (
            {"element_size": 0.5},
            "element_size=0.5: expected 0 < disc_element_size <=",
        ),
        ({"disc_element_size": 0.05}, "env.mesh.disc_element_size=0.05, env.mesh.element_size"),
        ({"disc_element_size": -0.01}, "disc_element_size=-0.01, .*expected 0 < disc_element_size"),
    ],
)
def test_bad_channels_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(MeshError, match=message):
        build(replace(CHANNEL, **changes), MPI.COMM_SELF)
