"""Flows: the body and its jets, colours that stay, forces over time, film and stills."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pytest
from mpi4py import MPI

from hypemarl.config import MeshConfig
from hypemarl.meshing import build, gather
from hypemarl.meshing.morphing.motion import boundary_edges
from hypemarl.meshing.morphing.outlines import closed_loops
from hypemarl.visualisation import fields, forces, render, style
from hypemarl.visualisation.fields import check_trajectory
from hypemarl.visualisation.flow_fields import FlowScene, find_body, jets_of, vorticity_bound

CENTRE, RADIUS = np.array([0.2, 0.2]), 0.05
ANGLES = np.arange(8) * np.pi / 4


@pytest.fixture(scope="module")
def mesh() -> Any:
    config = MeshConfig(shape="channel-with-disc", element_size=0.1, disc_radius=RADIUS)
    raw = gather(build(config, MPI.COMM_SELF))
    assert raw is not None
    return raw


def flow(mesh: Any, frames: int = 3, scheme: str = "hypemarl") -> dict[str, Any]:
    """Vorticity of one sign above the axis and of the other below; the front half blows."""
    normals = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
    push = -np.cos(ANGLES)[:, None]
    steps = np.linspace(0.0, 2.0, 101)[1:]
    return {
        "kind": "flow",
        "points": mesh.points,
        "cells": mesh.cells,
        "times": np.linspace(0.0, 2.0, frames),
        "velocity": np.zeros((frames, len(mesh.points), 2)),
        "vorticity": np.array([(mesh.points[:, 1] - 0.2) * (k + 1) for k in range(frames)]),
        "positions": CENTRE + RADIUS * normals,
        "actions": np.array([push * k for k in range(frames)]),
        "costs": np.r_[0.0, np.full(frames - 1, 0.25)],
        "drag": 3.0 + steps,
        "lift": np.sin(steps),
        "scheme": scheme,
    }


def test_the_body_is_the_hole_of_the_mesh(mesh: Any) -> None:
    assert len(list(closed_loops(boundary_edges(mesh.cells)))) == 2
    outline = find_body(mesh.points, mesh.cells)
    np.testing.assert_allclose(np.linalg.norm(outline - CENTRE, axis=1), RADIUS, rtol=1e-6)
    gaps = np.linalg.norm(outline - np.roll(outline, 1, axis=0), axis=1)
    assert gaps.max() < 0.5 * RADIUS  # neighbours follow each other
    with pytest.raises(ValueError, match="no hole"):
        find_body(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([[0, 1, 2]]))


def test_jets_leave_the_body_and_suction_ends_at_it(mesh: Any) -> None:
    data = flow(mesh)
    jets = jets_of(find_body(mesh.points, mesh.cells), data)
    tails, vectors = jets.arrows(2)
    assert jets.largest == pytest.approx(2.0)
    # Longest: half a diameter. Downstream, at angle 0, suction ends on the disc.
    np.testing.assert_allclose(vectors[0], [-RADIUS, 0.0], atol=1e-6)
    np.testing.assert_allclose(tails[0] + vectors[0], data["positions"][0], atol=1e-6)
    # Upstream, at 180 degrees, the jet begins on the disc and blows against the flow.
    np.testing.assert_allclose(tails[4], data["positions"][4], atol=1e-6)
    np.testing.assert_allclose(vectors[4], [-RADIUS, 0.0], atol=1e-6)


def test_tangential_jets_go_anticlockwise(mesh: Any) -> None:
    actions = np.tile([0.0, 1.0], (1, 8, 1))
    jets = jets_of(find_body(mesh.points, mesh.cells), flow(mesh) | {"actions": actions})
    tails, vectors = jets.arrows(0)
    np.testing.assert_allclose(vectors[2], [-RADIUS, 0.0], atol=1e-6)  # at the top
    np.testing.assert_allclose(tails, flow(mesh)["positions"])


def test_jets_stand_where_the_slots_are(mesh: Any) -> None:
    """Not where their agent does; velocities that never change are stored once."""
    places = CENTRE + RADIUS * np.array([[0.0, 1.0], [0.0, -1.0]])
    data = flow(mesh) | {"jets": places, "jet_velocity": np.array([[0.0, 0.5]] * 2)}
    tails, vectors = jets_of(find_body(mesh.points, mesh.cells), data).arrows(1)
    np.testing.assert_allclose(vectors, [[0.0, RADIUS]] * 2, atol=1e-6)
    np.testing.assert_allclose(tails, [places[0], places[1] - [0.0, RADIUS]], atol=1e-6)


def test_colours_clip_a_thin_layer_and_not_the_rest(mesh: Any) -> None:
    data = flow(mesh)
    data["vorticity"] = np.ones((1, len(mesh.points)))
    near = np.linalg.norm(mesh.points - CENTRE, axis=1) < RADIUS + 1e-6
    data["vorticity"][0, near] = -500.0
    assert near.mean() > 0.04  # twice the share of the nodes that is clipped of the area
    assert vorticity_bound([data]) == 1.0


def test_film_stills_and_forces(mesh: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "FILM_SECONDS", 1.0)
    paths = render(flow(mesh), tmp_path, reference=flow(mesh, scheme="uncontrolled"))
    names = ["film.mp4", "still-000.png", "still-050.png", "still-100.png", "forces.png"]
    assert [path.name for path in paths] == names
    stills = [imageio.imread(path).astype(int) for path in paths[1:4]]
    with imageio.get_reader(paths[0]) as film:
        assert film.get_meta_data()["size"] == stills[0].shape[1::-1]  # not scaled
    assert np.abs(stills[0] - stills[2]).max() > 100


def test_the_controlled_flow_stands_above_upright(mesh: Any) -> None:
    """Positive vorticity is red and above the axis; the reference has the opposite sign.

    The reference ended early: it keeps its last frame.
    """
    reference = flow(mesh, frames=2, scheme="uncontrolled")
    reference["vorticity"] *= -1.0
    scene = FlowScene(check_trajectory(flow(mesh)), check_trajectory(reference))
    picture = scene.draw(2, "").astype(int)
    scene.close()
    panels = [axes.get_window_extent() for axes in scene._panels]
    assert [axes.get_title()[:4] for axes in scene._panels] == ["Hype", "unco"]
    reddish = []
    for panel in panels:
        for share in (0.9, 0.1):
            row = len(picture) - int(panel.y0 + share * panel.height)
            colour = picture[row, int(panel.x0 + 0.6 * panel.width)]
            reddish.append(bool(colour[0] > colour[2]))
    assert panels[0].y0 > panels[1].y1
    assert reddish == [True, False, False, True]
    assert "C_D$ = 5.000" in scene._panels[1].get_title()


def test_a_title_tells_the_forces_of_its_frame(mesh: Any) -> None:
    data = flow(mesh)
    assert forces.describe(data, 1) == "HypeMARL,  $C_D$ = 4.000,  $C_L$ = 0.841"
    assert forces.describe(data, 2) == "HypeMARL,  $C_D$ = 5.000,  $C_L$ = 0.909"


def test_forces_are_drawn_over_their_times(
    mesh: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = []
    monkeypatch.setattr(style, "save", lambda figure, path: figures.append(figure) or path)
    both = [flow(mesh), flow(mesh, scheme="uncontrolled")]
    forces.draw_forces(both, tmp_path / "forces.png")
    drag, lift = figures[0].axes
    np.testing.assert_allclose(drag.get_lines()[0].get_xdata(), np.linspace(0.02, 2.0, 100))
    np.testing.assert_allclose(lift.get_lines()[1].get_ydata(), both[1]["lift"])
    assert [line.get_label() for line in drag.get_lines()] == ["HypeMARL", "uncontrolled"]
    del both[1]["drag"], both[1]["lift"]
    with pytest.raises(ValueError, match="no series to draw"):
        forces.draw_forces(both, tmp_path / "forces.png")


def test_flows_that_do_not_fit_are_refused(mesh: Any, tmp_path: Path) -> None:
    data = flow(mesh)
    other = data | {"points": data["points"] + 1.0}
    with pytest.raises(ValueError, match="another mesh"):
        render(data, tmp_path, reference=other)
    with pytest.raises(ValueError, match=r"vorticity has shape \(3, 2\)"):
        render(data | {"vorticity": np.zeros((3, 2))}, tmp_path)
