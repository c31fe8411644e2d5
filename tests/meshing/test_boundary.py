"""Boundaries against a problem's roles: conditions of what fits, and names of what does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hypemarl.config import MeshConfig
from hypemarl.meshing import RawMesh
from hypemarl.meshing.boundary import BoundaryRoles, Role, examine_boundary, interior_tags
from hypemarl.meshing.shapes import generate

TAGS: dict[str, Role] = {"inflow": "inflow", "outflow": "outflow", "bottom": "slip", "top": "slip"}
SLIP = BoundaryRoles("the flow", TAGS | {"disc": "body"}, profiled=True)
STICK = replace(SLIP, tags=SLIP.tags | {"bottom": "no-slip", "top": "no-slip"})
CHANNEL = MeshConfig(
    shape="channel-with-disc",
    length=1.0,
    height=0.4,
    disc_radius=0.05,
    element_size=0.2,
    disc_element_size=0.02,
)


@pytest.fixture(scope="module")
def raw() -> RawMesh:
    return generate(CHANNEL)


def turned(raw: RawMesh, degrees: float) -> RawMesh:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return replace(raw, points=raw.points @ np.array([[cos, sin], [-sin, cos]]))


def texts(raw: RawMesh, roles: BoundaryRoles = STICK) -> str:
    return " | ".join(fault.text for fault in examine_boundary(raw, roles)[1])


def retagged(raw: RawMesh, chosen: np.ndarray, name: str, value: int = 77) -> RawMesh:
    """The facets ``chosen`` (K,) with another tag."""
    values = np.where(chosen, np.int32(value), raw.facet_values)
    return replace(raw, facet_values=values, tags=raw.tags | {name: (1, value)})


def half_of_disc(raw: RawMesh) -> np.ndarray:
    downstream = raw.points[raw.facets].mean(axis=1)[:, 0] > 0.2
    return (raw.facet_values == raw.tags["disc"][1]) & downstream


@pytest.mark.parametrize(
    ("degrees", "stream", "across"),
    [(0.0, (1, 0), 1), (90.0, (0, 1), 0), (180.0, (-1, 0), 1), (-90.0, (0, -1), 0)],
)
def test_conditions_follow_the_way_that_the_channel_lies(
    raw: RawMesh, degrees: float, stream: tuple[int, int], across: int
) -> None:
    boundary, faults = examine_boundary(turned(raw, degrees), SLIP)
    assert faults == []
    assert boundary.stream == stream  # to the last bit: shipped flows stay what they were
    both = dict.fromkeys(("inflow", "disc"), (0, 1))
    assert boundary.dirichlet == both | dict.fromkeys(("bottom", "top"), (across,))
    assert boundary.angle == pytest.approx(np.radians(degrees))


def test_swapped_ends_turn_the_stream(raw: RawMesh) -> None:
    ends = {"inflow": raw.tags["outflow"], "outflow": raw.tags["inflow"]}
    boundary, faults = examine_boundary(replace(raw, tags=raw.tags | ends), STICK)
    assert faults == []
    assert boundary.stream == (-1.0, 0.0)


def test_slanted_channels_need_walls_that_fluid_sticks_to(raw: RawMesh) -> None:
    boundary, faults = examine_boundary(turned(raw, 30.0), STICK)
    assert faults == []
    np.testing.assert_allclose(boundary.stream, (np.sqrt(0.75), 0.5), atol=1e-12)
    assert "tag 'top': the fluid slips along it" in texts(turned(raw, 30.0), SLIP)


def test_facets_without_a_role_are_counted_and_placed(raw: RawMesh) -> None:
    half = half_of_disc(raw)
    some = replace(raw, facets=raw.facets[~half], facet_values=raw.facet_values[~half])
    count = int(half.sum())
    found = texts(some)
    assert f"{count} of {len(raw.facets)} exterior facets have no tag, the first one at (" in found
    assert "beside disc: no boundary condition of the flow covers them" in found
    assert "tag 'disc' is a body: expected a closed curve" in found
    bare = examine_boundary(some, STICK)[1][0].facets
    assert bare is not None
    np.testing.assert_array_equal(
        np.unique(np.sort(bare, axis=1), axis=0),
        np.unique(np.sort(raw.facets[half], axis=1), axis=0),
    )


def test_a_missing_part_is_named_with_its_facets(raw: RawMesh) -> None:
    top = raw.facet_values == raw.tags["top"][1]
    tags = {name: tag for name, tag in raw.tags.items() if name != "top"}
    some = replace(raw, facets=raw.facets[~top], facet_values=raw.facet_values[~top], tags=tags)
    assert "the mesh lacks top (dim 1)" in texts(some)
    assert f"{top.sum()} of {len(raw.facets)} exterior facets have no tag" in texts(some)


def test_further_closed_curves_are_bodies_and_open_ones_are_refused(raw: RawMesh) -> None:
    disc = raw.facet_values == raw.tags["disc"][1]
    second = replace(STICK, tags={t: r for t, r in STICK.tags.items() if t != "disc"})
    boundary, faults = examine_boundary(retagged(raw, disc, "rod"), second)
    assert faults == []
    assert boundary.bodies == ("rod",)
    assert boundary.dirichlet["rod"] == (0, 1)
    found = texts(retagged(raw, half_of_disc(raw), "rear"))
    assert "tag 'rear' is no part that the flow knows, nor a body: expected a closed curve" in found


def test_tags_inside_the_mesh_are_refused_where_they_would_be_walls(raw: RawMesh) -> None:
    edges = np.sort(raw.cells[:, :2], axis=1)
    known = {tuple(row) for row in np.sort(raw.facets, axis=1).tolist()}
    inner = np.array([row for row in edges.tolist() if tuple(row) not in known][:2])
    values = np.concatenate([raw.facet_values, np.full(2, 77, dtype=np.int32)])
    lined = replace(
        raw,
        facets=np.concatenate([raw.facets, inner]),
        facet_values=values,
        tags=raw.tags | {"line": (1, 77)},
    )
    assert "2 of 2 facets of tag 'line' have cells on both sides, the first one at" in texts(lined)
    assert interior_tags(lined) == {"line": 2}
    assert examine_boundary(lined, BoundaryRoles("a density"))[1] == []


def test_tagged_lines_that_are_no_edges_of_cells_are_refused(raw: RawMesh) -> None:
    stray = raw.facets.copy()
    stray[0] = (raw.facets[0, 0], raw.cells[~np.isin(raw.cells, raw.facets[0]).any(axis=1)][-1, 0])
    found = texts(replace(raw, facets=stray))
    assert "1 tagged facets are no facets of a cell, the first one at" in found


def test_parts_that_share_no_facet_are_refused(raw: RawMesh) -> None:
    count = len(raw.points)
    twice = replace(
        raw,
        points=np.concatenate([raw.points, raw.points + [2.0, 0.0]]),
        cells=np.concatenate([raw.cells, raw.cells + count]),
        cell_values=np.tile(raw.cell_values, 2),
        facets=np.concatenate([raw.facets, raw.facets + count]),
        facet_values=np.tile(raw.facet_values, 2),
    )
    for roles in (STICK, BoundaryRoles("a density")):
        assert "the mesh has 2 parts that share no facets" in texts(twice, roles)


def test_one_group_may_be_two_walls_and_not_wall_and_body(raw: RawMesh) -> None:
    both = np.isin(raw.facet_values, [raw.tags[tag][1] for tag in ("bottom", "top")])
    walls = retagged(raw, both, "bottom")
    walls = replace(walls, tags=walls.tags | {"top": walls.tags["bottom"]})
    assert examine_boundary(walls, SLIP)[1] == []
    mixed = replace(walls, tags=walls.tags | {"outflow": walls.tags["bottom"]})
    assert "outflow and bottom name the same facets" in texts(mixed)


def test_a_profile_needs_one_straight_inflow(raw: RawMesh) -> None:
    corner = raw.facet_values == raw.tags["bottom"][1]
    assert "laid along one straight line" in texts(
        replace(raw, facet_values=np.where(corner, raw.tags["inflow"][1], raw.facet_values))
    )
    middle = raw.points[raw.facets].mean(axis=1)
    pieces = (raw.facet_values == raw.tags["inflow"][1]) & (np.abs(middle[:, 1] - 0.2) < 0.11)
    wall = np.where(pieces, raw.tags["top"][1], raw.facet_values)
    few = replace(raw, facet_values=wall.astype(np.int32))
    fine = replace(STICK, profiled=False)
    if len(few.members("inflow")) > 1:
        assert "pieces, with ends at" in texts(few)
        assert texts(few, fine) == ""


@pytest.mark.parametrize("shape", ["interval", "square", "square-with-disc"])
def test_one_natural_condition_needs_no_tags(shape: str) -> None:
    plain = generate(MeshConfig(shape=shape, element_size=0.5))
    bare = replace(plain, facets=plain.facets[:0], facet_values=plain.facet_values[:0])
    assert texts(bare, BoundaryRoles("a density")) == ""
