from __future__ import annotations

import numpy as np
import pytest
from flow_case import flow_space

from hypemarl.coupling.layout import LayoutError
from hypemarl.coupling.probes import PointProbes
from hypemarl.solvers.taylor_hood import TaylorHood
from hypemarl.systems.flow.arcs import arc_layout


@pytest.fixture(scope="module")
def space() -> TaylorHood:
    return flow_space()


def quadratic(points: np.ndarray) -> np.ndarray:
    x, y = points.T
    return np.stack([x**2 - 3.0 * x * y + 1.0, y**2 + x])


def linear(points: np.ndarray) -> np.ndarray:
    return 2.0 * points[:, 0] - points[:, 1] + 0.5


def test_values_are_exact_for_quadratics(space: TaylorHood) -> None:
    inside = np.random.default_rng(0).uniform([0.3, 0.01], [0.99, 0.4], (40, 2))
    vertices = space.velocity_points[::37]
    # the circle lies outside the polygon that bounds the fluid, hence in the fluid
    circle = arc_layout(space, 7).positions
    points = np.concatenate([inside, vertices, circle])
    probes = PointProbes(space, points)
    values = probes.evaluate(quadratic(space.velocity_points), linear(space.pressure_points))
    exact = np.stack([*quadratic(points), linear(points)], axis=1)
    assert values == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("point", [(0.2, 0.2), (1.2, 0.1), (-0.001, 0.2), (0.16, 0.19)])
def test_a_probe_outside_the_fluid_is_named(space: TaylorHood, point: tuple) -> None:
    points = np.array([(0.5, 0.2), point])
    with pytest.raises(LayoutError, match=r"agent 1: far probe at \[.*lies outside the fluid"):
        PointProbes(space, points, ["agent 0: near probe", "agent 1: far probe"])
