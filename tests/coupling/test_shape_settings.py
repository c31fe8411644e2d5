"""Shape plants whose settings, obstacles or bounds cannot be, and another area."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shape_case import MESH, PARAMETERS, shape_config, shape_plant

from hypemarl import config as configuration
from hypemarl.config import ConfigError
from hypemarl.envs import make
from hypemarl.meshing import MeshError

ACTIONS = np.random.default_rng(3).uniform(-1.0, 1.0, (4, 8, 1))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (["env.mesh.shape=square"], "no obstacle"),
        (["env.shape.inflow=oblique"], "inflow=uniform"),
        (["env.agents=[4, 4]"], "one number"),
        (["env.agents=[3]"], "at least 4"),
        (["env.shape.displacement=free-form"], "square lattice"),
        (["env.shape.u_max=0.5"], "env.shape.amplitude"),
        (["env.shape.reynolds_low=50"], "reynolds_high"),
        (["env.shape.angle_low=1"], "angle_high"),
        (["env.shape.linear_solver=iterative"], "factorisation"),
        (["env.shape.lag=0"], "lag"),
        (["env.shape.lag=1.5"], "lag"),
    ],
)
def test_settings_that_do_not_fit(override: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configuration.load("shape-morphing", override)


def curve(kind: str, path: Path) -> Path:
    """A file with the points of a circle that is not closed, or crosses itself."""
    t = 2.0 * np.pi * np.arange(40) / 40
    points = np.column_stack([np.cos(t), np.sin(2.0 * t) if kind == "crossing" else np.sin(t)])
    if kind == "crossing":
        points = np.concatenate([points, points[:1]])
    np.savetxt(path, points)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"obstacle_length": 3.3}, "touches or leaves the channel"),
        ({"disc_centre": (1.0, 0.2)}, "touches or leaves the channel"),
        ({"obstacle": "points", "obstacle_file": "open"}, "curve is open"),
        ({"obstacle": "points", "obstacle_file": "crossing"}, "crosses itself"),
        ({"obstacle": "points", "obstacle_file": "missing"}, "no such curve file"),
    ],
)
def test_obstacles_that_cannot_be(changes: dict, message: str, tmp_path: Path) -> None:
    name = changes.get("obstacle_file")
    if name in ("open", "crossing"):
        changes = changes | {"obstacle_file": str(curve(name, tmp_path / name))}
    config = replace(shape_config(), mesh=replace(MESH, **changes))
    with pytest.raises(MeshError, match=message):
        make(config)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"area": 40.0}, "no shape|breaks the bound"),
        ({"area": 1e-4}, "no shape|breaks the bound"),
        ({"max_curvature": 0.5}, "curvature"),
        ({"min_thickness": 5.0}, "thickness"),
        ({"min_quality": 0.99}, "quality"),
    ],
)
def test_bounds_that_no_shape_can_meet(shape: dict, message: str) -> None:
    with pytest.raises(MeshError, match=message):
        shape_plant(shape_config(**shape))


def test_another_area_than_the_references() -> None:
    tested = shape_plant(shape_config(area=1.05))
    area = tested.moving.feasible.space.area
    tested.reset(PARAMETERS)
    nothing = area(np.zeros(len(tested.shape.q)))
    assert area(tested.shape.q) == pytest.approx(1.05 * nothing, rel=1e-12)
    tested.step(ACTIONS[0])
    assert area(tested.shape.q) == pytest.approx(1.05 * nothing, rel=1e-12)
