from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem
from flow_case import flow_space

from hypemarl.config import MeshConfig
from hypemarl.coupling.actuators import smoothstep
from hypemarl.coupling.layout import LayoutError
from hypemarl.solvers.taylor_hood import TaylorHood
from hypemarl.systems.flow.arc_actuation import ArcActuators, ArcCost, profiles
from hypemarl.systems.flow.arcs import ArcLayout, arc_layout, slot_layout


@pytest.fixture(scope="module")
def space() -> TaylorHood:
    return flow_space()


@pytest.fixture(scope="module")
def ring(space: TaylorHood) -> ArcLayout:
    return arc_layout(space, 6)


@pytest.fixture(scope="module")
def front(space: TaylorHood) -> ArcLayout:
    return arc_layout(space, 4, 90.0, 270.0)


def test_agents_sit_in_the_middle_of_their_arcs(ring: ArcLayout, front: ArcLayout) -> None:
    assert ring.disc.centre == pytest.approx([0.2, 0.2], abs=1e-12)
    assert ring.disc.radius == pytest.approx(0.05, rel=1e-12)
    angles = np.degrees(ring.disc.angles(ring.positions))
    assert angles == pytest.approx([30, 90, 150, 210, 270, 330])
    assert np.degrees(front.disc.angles(front.positions)) == pytest.approx(
        [112.5, 157.5, 202.5, 247.5]
    )
    assert ring.spacing == pytest.approx(2 * np.pi * 0.05 / 6)
    assert (ring.grid, front.grid) == (None, (4,))
    assert ring.normals[1] == pytest.approx([0.0, 1.0], abs=1e-12)
    assert ring.tangents[1] == pytest.approx([-1.0, 0.0], abs=1e-12)


def test_a_ring_is_closed_and_an_open_arc_ends(ring: ArcLayout, front: ArcLayout) -> None:
    assert ring.stencil(1)[[0, 5]].tolist() == [[5, 0, 1], [4, 5, 0]]
    assert front.stencil(1)[[0, 3]].tolist() == [[-1, 0, 1], [2, 3, -1]]


@pytest.mark.parametrize("radius", [2, 3, 4, 7])
def test_a_stencil_holds_nobody_twice(ring: ArcLayout, radius: int) -> None:
    near = ring.stencil(radius)
    assert near.shape == (6, 2 * radius + 1)
    assert near[:, radius].tolist() == list(range(6))
    for row in near:
        present = row[row >= 0]
        assert len(set(present.tolist())) == len(present) == min(2 * radius + 1, 6)


def test_owners_follow_the_angle(space: TaylorHood, ring: ArcLayout, front: ArcLayout) -> None:
    angles = np.degrees(ring.disc.angles(space.velocity_points[ring.nodes]))
    assert ring.node_owners.tolist() == ((angles + 1e-6) % 360 // 60).astype(int).tolist()
    # beyond an open arc the nearest agent owns: 0 above the axis, 3 below
    angles = np.degrees(front.disc.angles(space.velocity_points[front.nodes]))
    downstream = ((angles > 1.0) & (angles < 89.0)) | ((angles > 271.0) & (angles < 359.0))
    expected = np.where(angles < 90.0, 0, 3)[downstream]
    assert front.node_owners[downstream].tolist() == expected.tolist()
    distance = np.linalg.norm(space.midpoints[:, None] - ring.positions, axis=2)
    own = distance[np.arange(len(distance)), ring.cell_owners]
    assert own == pytest.approx(distance.min(axis=1))


def test_profiles_are_a_partition_and_fade_at_the_ends(ring: ArcLayout, front: ArcLayout) -> None:
    angles = np.linspace(0.0, 2.0 * np.pi, 721)
    psi = profiles(ring, angles)
    assert psi.sum(axis=1) == pytest.approx(1.0)
    middles = ring.arcs.mean(axis=1)
    assert profiles(ring, middles) == pytest.approx(np.eye(6))
    psi = profiles(front, angles)
    outside = (angles <= np.pi / 2) | (angles >= 3 * np.pi / 2)
    assert np.abs(psi[outside]).max() == pytest.approx(0.0, abs=1e-12)
    inside = (angles > np.radians(112.5)) & (angles < np.radians(247.5))
    assert psi[inside].sum(axis=1) == pytest.approx(1.0)
    # C1: the slope of the finest difference is bounded and vanishes at the ends
    slopes = np.diff(psi, axis=0) / np.diff(angles)[:, None]
    assert np.abs(np.diff(slopes, axis=0)).max() < 0.5
    assert smoothstep(np.array([-1.0, 0.5, 2.0])).tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("components", [1, 2])
@pytest.mark.parametrize("which", ["ring", "front"])
def test_no_net_mass_flux(
    space: TaylorHood, which: str, components: int, request: pytest.FixtureRequest
) -> None:
    layout = request.getfixturevalue(which)
    actuators = ArcActuators(space, layout, components)
    amplitudes = np.random.default_rng(1).uniform(-1, 1, actuators.shape)
    given = abs(actuators.fluxes @ amplitudes.ravel())
    assert given > 1e-3
    assert abs(actuators.net_flux(amplitudes)) < 1e-15
    # a projection: nothing changes the second time, and only along the fluxes the first time
    projected = actuators.project(amplitudes)
    assert actuators.project(projected) == pytest.approx(projected, abs=1e-15)
    change = (amplitudes - projected).ravel()
    assert abs(change @ actuators.fluxes) == pytest.approx(
        np.linalg.norm(change) * np.linalg.norm(actuators.fluxes)
    )


def test_amplitudes_that_act_keep_the_limit(space: TaylorHood, ring: ArcLayout) -> None:
    """Amplitudes of up to the limit exceed it where the projection shifts them; the transpose of
    what keeps it is that of differences."""
    actuators = ArcActuators(space, ring, 2, limit=1.0)
    amplitudes = np.full(actuators.shape, 0.9)
    amplitudes[0] = -1.0
    assert np.abs(actuators.project(amplitudes)).max() > 1.2
    acting = actuators.acting(amplitudes)
    assert np.abs(acting).max() == pytest.approx(1.0, abs=1e-15)
    assert abs(actuators.net_flux(amplitudes)) < 1e-15
    small = 0.1 * amplitudes
    assert actuators.acting(small) == pytest.approx(actuators.project(small), abs=1e-16)
    bar, direction = np.random.default_rng(4).normal(size=(2, *actuators.shape))
    slope = (actuators.pull_acting(amplitudes, bar) * direction).sum()
    ends = [(bar * actuators.acting(amplitudes + s * direction)).sum() for s in (1e-6, -1e-6)]
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6)


def test_jets_of_slots(space: TaylorHood) -> None:
    """Parabolas; an agent's first slot blows, its other one sucks; two agents are balanced."""
    one = slot_layout(space, [[90.0, 270.0]], 25.0)
    assert one.n_agents == 1
    assert one.positions[0] == pytest.approx([0.2, 0.25], abs=1e-3)
    assert not one.facet_owners.any()
    angles = np.radians([65.0, 90.0, 102.5, 180.0, 270.0, 282.5])
    assert profiles(one, angles)[:, 0] == pytest.approx([0, 1, 0.75, 0, -1, -0.75], abs=1e-12)
    alone = ArcActuators(space, one)
    assert abs(alone.fluxes[0]) < 1e-12
    assert alone.acting(np.array([[0.7]])) == pytest.approx(0.7)
    two = ArcActuators(space, slot_layout(space, [[90.0], [270.0]], 25.0))
    assert two.acting(np.array([[0.6], [0.0]])).ravel() == pytest.approx([0.3, -0.3], rel=1e-3)
    assert np.abs(two.field(np.array([[0.6], [0.0]]))).max() == pytest.approx(0.3, rel=1e-2)


def test_one_agent_turns_the_disc(space: TaylorHood) -> None:
    layout = arc_layout(space, 1, alone=True)
    field = ArcActuators(space, layout, ["tangential"]).field(np.array([[0.5]]))
    offsets = (space.velocity_points[layout.nodes] - layout.disc.centre) / layout.disc.radius
    assert field == pytest.approx(0.5 * np.stack([-offsets[:, 1], offsets[:, 0]]), abs=1e-2)


@pytest.mark.parametrize(
    ("slots", "half_width", "message"),
    [
        ([[90.0, 100.0]], 10.0, "slots 20 degrees apart or more.*two that are 10 apart"),
        ([[90.0, 270.0]], 8.0, "3 facets of the disc or more in a slot, got [12] at 90 degrees"),
        ([[90.0]], 25.0, "slots that oppose each other"),
    ],
)
def test_slots_that_cannot_be(
    space: TaylorHood, slots: list[list[float]], half_width: float, message: str
) -> None:
    with pytest.raises(LayoutError, match=message):
        slot_layout(space, slots, half_width)


def test_flux_is_that_of_the_finite_element_field(space: TaylorHood, ring: ArcLayout) -> None:
    actuators = ArcActuators(space, ring, 2)
    amplitudes = np.random.default_rng(2).uniform(-1, 1, actuators.shape)
    u = _function(space, actuators, actuators.matrix @ amplitudes.ravel())
    ds = _measure(space)
    flux = fem.assemble_scalar(fem.form(ufl.inner(u, ufl.FacetNormal(space.mesh)) * ds))
    assert actuators.fluxes @ amplitudes.ravel() == pytest.approx(flux, rel=1e-12)


def test_normal_blowing_points_outwards(space: TaylorHood, front: ArcLayout) -> None:
    actuators = ArcActuators(space, front, 1)
    field = actuators.field(np.array([[1.0], [1.0], [-1.0], [-1.0]]))
    points = space.velocity_points[actuators.nodes] - front.disc.centre
    radial = (field * points.T).sum(axis=0)
    assert radial[points[:, 1] > 1e-3].max() > 0.04
    assert radial[points[:, 1] > 1e-3].min() >= -1e-12
    assert np.abs(field[:, points[:, 0] > 1e-9]).max() == pytest.approx(0.0, abs=1e-12)


def test_transposed_operator(space: TaylorHood, front: ArcLayout) -> None:
    actuators = ArcActuators(space, front, 2)
    generator = np.random.default_rng(3)
    amplitudes = generator.uniform(-1, 1, actuators.shape)
    values = generator.uniform(-1, 1, (2, len(actuators.nodes)))
    left = (values * actuators.field(amplitudes)).sum()
    assert left == pytest.approx((actuators.transposed(values) * amplitudes).sum(), rel=1e-12)


def test_cost_on_the_arc_is_exact(space: TaylorHood, ring: ArcLayout) -> None:
    actuators = ArcActuators(space, ring, 2)
    amplitudes = np.random.default_rng(4).uniform(-1, 1, actuators.shape)
    field = actuators.field(amplitudes)
    shares = ArcCost(ring).shares(field)
    assert shares.shape == (2, 6)
    assert (shares > 0).all()
    u, ds = _function(space, actuators, field.ravel()), _measure(space)
    normal = ufl.FacetNormal(space.mesh)
    along = ufl.grad(u) * ufl.as_vector([-normal[1], normal[0]])
    for part, integrand in zip(shares, (u, along), strict=True):
        exact = fem.assemble_scalar(fem.form(0.5 * ufl.inner(integrand, integrand) * ds))
        assert part.sum() == pytest.approx(exact, rel=1e-12)


def _measure(space: TaylorHood) -> ufl.Measure:
    tag = space.tagged.tags["disc"][1]
    return ufl.Measure("ds", space.mesh, subdomain_data=space.tagged.facet_tags)(tag)


def _function(space: TaylorHood, actuators: ArcActuators, values: np.ndarray) -> fem.Function:
    u = fem.Function(fem.functionspace(space.mesh, ("Lagrange", 2, (2,))))
    u.x.array.reshape(-1, 2)[actuators.nodes] = values.reshape(2, -1).T
    return u


@pytest.mark.parametrize(
    ("agents", "options", "message"),
    [
        (2, {"arcs": [(0, 100), (90, 200)]}, r"arcs overlap: agent 0 .* agent 1"),
        (2, {"arcs": [(0, 100), (200, 370)]}, r"arcs overlap: agent 1 .* agent 0"),
        (2, {"arcs": [(0, 100), (100, 90)]}, "arc of agent 1: expected its last angle above"),
        (3, {"arcs": [(0, 100), (100, 190)]}, "one for each of 3 agents, got 2"),
        (2, {"arcs": [(10.0, 10.5), (100, 190)]}, r"agents \[0\] miss the boundary"),
        (6, {"arc_high": 400.0}, "span of 400"),
        (6, {"arc_low": 90.0, "arc_high": 90.0}, "span of 0"),
        (200, {}, "miss the boundary"),
        (1, {}, "expected 2 or more"),
    ],
)
def test_bad_arcs_are_refused(space: TaylorHood, agents: int, options: dict, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        arc_layout(space, agents, **options)


def test_a_mesh_without_a_disc_is_refused() -> None:
    square = flow_space(MeshConfig(shape="square", element_size=0.5))
    with pytest.raises(LayoutError, match="boundary tag 'disc'"):
        arc_layout(square, 4)
