"""Compiled polygon geometry against exact formulas."""

from __future__ import annotations

import numpy as np
import pytest

from hypemarl.meshing.polygons import (
    centroid,
    clearance,
    crosses_itself,
    curvature,
    signed_area,
    tangent_discs,
)


def ellipse(n: int, a: float = 2.0, b: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    angle = 2.0 * np.pi * np.arange(n) / n
    return angle, np.column_stack([a * np.cos(angle), b * np.sin(angle)])


def test_area_and_centroid() -> None:
    _, circle = ellipse(7, 1.0, 1.0)
    assert signed_area(circle) == pytest.approx(3.5 * np.sin(2.0 * np.pi / 7), rel=1e-14)
    assert signed_area(circle[::-1]) == pytest.approx(-signed_area(circle), rel=1e-14)
    triangle = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 6.0]])
    assert centroid(triangle) == pytest.approx([1.0, 2.0])


def test_curvature_of_an_ellipse_converges_with_order_two() -> None:
    errors = []
    for n in (100, 200, 400):
        angle, points = ellipse(n)
        exact = 1.0 / (4.0 * np.sin(angle) ** 2 + 0.25 * np.cos(angle) ** 2) ** 1.5
        errors.append(np.abs(curvature(points) - exact).max())
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (rates > 1.9).all()
    assert errors[-1] < 0.02 * 8.0  # the largest curvature is a / b^2 = 8


def test_curvature_of_a_circle_is_exact_in_any_spacing_and_signed() -> None:
    angle = np.sort(np.random.default_rng(1).uniform(0.0, 2.0 * np.pi, 50))
    points = 3.0 * np.column_stack([np.cos(angle), np.sin(angle)])
    assert curvature(points) == pytest.approx(1.0 / 3.0, rel=1e-6)
    assert curvature(points[::-1]) == pytest.approx(-1.0 / 3.0, rel=1e-6)


def test_tangent_discs_of_a_circle_and_a_flat_body() -> None:
    """A circle holds itself; the smallest disc in a stadium touches both sides; outside none."""
    _, circle = ellipse(64, 1.5, 1.5)
    assert tangent_discs(circle, True)[0] == pytest.approx(3.0, rel=1e-9)
    assert tangent_discs(circle, False)[0] > 1e9
    side = np.linspace(-2.0, 2.0, 81)[:-1]
    arc = np.linspace(-0.5, 0.5, 41)[:-1] * np.pi
    end = np.column_stack([2.0 + 0.3 * np.cos(arc), 0.3 * np.sin(arc)])
    half = np.concatenate([np.column_stack([side, np.full(80, -0.3)]), end])
    stadium = np.concatenate([half, -half])
    assert tangent_discs(stadium, True)[0] == pytest.approx(0.6, rel=1e-3)


def test_tangent_discs_of_an_ellipse_are_its_tightest_osculating_circle() -> None:
    _, points = ellipse(800)
    assert tangent_discs(points, True)[0] == pytest.approx(2.0 * 0.25 / 2.0, rel=2e-3)


def test_a_horseshoe_has_its_thickness_inside_and_its_gap_outside() -> None:
    """Radii 1 and 1.2, round ends of radius 0.1 that come as near as 0.15 to each other."""
    end = np.arcsin(0.175 / 1.1)
    arc = np.linspace(end, 2.0 * np.pi - end, 600)
    turn = np.linspace(0.0, np.pi, 60)[1:-1]

    def at(radius: float | np.ndarray, angle: np.ndarray) -> np.ndarray:
        return radius * np.column_stack([np.cos(angle), np.sin(angle)])

    last = at(1.1, arc[-1:]) + at(0.1, arc[-1] + turn)
    first = at(1.1, arc[:1]) + at(0.1, end + np.pi + turn)
    shoe = np.concatenate([at(1.2, arc), last, at(1.0, arc[::-1]), first])
    assert not crosses_itself(shoe)
    assert tangent_discs(shoe, True)[0] == pytest.approx(0.2, rel=2e-3)
    assert tangent_discs(shoe, False)[0] == pytest.approx(0.15, rel=2e-3)


def test_crossings() -> None:
    angle, circle = ellipse(60, 1.0, 1.0)
    assert not crosses_itself(circle)
    eight = np.column_stack([np.sin(angle + 0.01), np.sin(2.0 * angle + 0.02)])
    assert crosses_itself(eight)
    loop = circle * (1.0 + 2.0 * np.cos(angle))[:, None]  # a limacon with an inner loop
    assert crosses_itself(loop)


def test_clearance_is_the_distance_from_segments() -> None:
    points = np.array([[0.0, 0.0], [2.0, 0.5], [5.0, 0.0]])
    starts, ends = np.array([[1.0, 1.0], [6.0, 1.0]]), np.array([[3.0, 1.0], [7.0, 1.0]])
    assert clearance(points, starts, ends) == (0.5, 1, 0)
    assert clearance(points[2:], starts, ends)[0] == pytest.approx(np.sqrt(2.0))
