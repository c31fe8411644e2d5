"""Gradients of a user's problem are exact for its discrete scheme."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES, Problem, actions, parameters, plant
from ufl import dx

from hypemarl import Dirichlet, Grid, Hats
from hypemarl.optimal.trajectory import EpisodeAdjoint
from hypemarl.systems.problem.quadratic import Quadratic

SIZES = 0.5 ** np.arange(2, 7)


@pytest.mark.parametrize("cls", CASES)
def test_taylor_remainders_are_of_second_order(cls: type[Problem]) -> None:
    made = plant(cls)
    episode, at, base = EpisodeAdjoint(made.adjoint()), parameters(made), actions(made)
    result = episode.gradient(at, base)
    direction = actions(made, seed=1)
    slope = float((result.gradient * direction).sum())
    rests = [abs(episode.cost(at, base + h * direction) - result.cost - h * slope) for h in SIZES]
    assert abs(slope) > 1e-6
    order = np.polyfit(np.log(SIZES), np.log(rests), 1)[0]
    assert order == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("cls", CASES)
def test_observations_and_the_start_are_differentiated_too(cls: type[Problem]) -> None:
    """A functional of the observations after two intervals, by the transposes in turn."""
    made = plant(cls)
    adjoint, at, base = made.adjoint(), parameters(made), actions(made, steps=2)
    weights = np.random.default_rng(2).normal(size=(made.n_agents, made.observation_size))
    nothing = np.zeros(made.n_agents)

    def value(rows: np.ndarray) -> float:
        made.reset(at)
        for row in rows:
            seen = made.step(row)[0]
        return float((weights * seen).sum())

    made.reset(at)
    tapes = [adjoint.step(row)[3] for row in base]
    bar, bars = np.zeros(adjoint.state_size), np.zeros_like(base)
    for k, seen_bar in ((1, weights), (0, None)):
        bar, bars[k] = adjoint.pull(tapes[k], bar, seen_bar, nothing)
    direction = actions(made, seed=3, steps=2)
    h = 1e-4
    difference = (value(base + h * direction) - value(base - h * direction)) / (2 * h)
    assert difference == pytest.approx(float((bars * direction).sum()), rel=2e-5, abs=1e-9)


@pytest.mark.parametrize(
    ("number", "linear", "constant"),
    [(0, True, True), (2, False, False), (3, True, False), (4, True, True)],
)
def test_the_form_decides_how_a_step_is_solved(number: int, linear: bool, constant: bool) -> None:
    cls = CASES[number]
    made = plant(cls)
    assert (made.later.is_linear, made.later.is_constant) == (linear, constant)


@pytest.mark.parametrize("cls", CASES)
def test_snapshots_return_to_the_same_numbers(cls: type[Problem]) -> None:
    made = plant(cls)
    base = actions(made)
    made.reset(parameters(made))
    made.step(base[0])
    state = made.snapshot()
    first = made.step(base[1])
    made.step(base[0])
    seen = made.restore(state)
    again = made.step(base[1])
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert seen.shape == first[0].shape


@pytest.mark.parametrize("first", [True, False])
def test_where_conditions_overlap_the_last_one_holds(first: bool) -> None:
    """A lid that is the control meets fixed walls in two corners."""

    class Lid(CASES[0]):  # type: ignore[misc]
        agents, actuators = Grid(2, 1), Hats(width=0.6, axes=(0,))
        periodic = ()

        def parts(self):
            return {
                "lid": lambda x: np.isclose(x[1], 1.0),
                "wall": lambda x: np.isclose(x[0], 0.0) | np.isclose(x[0], 1.0),
            }

        def boundary(self, control):
            both = [Dirichlet(control, "lid"), Dirichlet(0.1, "wall")]
            return both if first else both[::-1]

    made = plant(Lid)
    episode, at, base = EpisodeAdjoint(made.adjoint()), parameters(made), actions(made)
    result, direction, h = episode.gradient(at, base), actions(made, seed=1), 1e-4
    costs = [episode.cost(at, base + s * h * direction) for s in (1.0, -1.0)]
    slope = float((result.gradient * direction).sum())
    assert slope == pytest.approx((costs[0] - costs[1]) / (2.0 * h), rel=1e-6)


def test_products_give_the_costs_of_assembly_by_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """With mu in the quadratic, the linear and the constant part of a term."""

    class Tracking(CASES[0]):  # type: ignore[misc]
        parameters = {"kappa": (0.01, 0.1), "level": (0.0, 1.0)}

        def cost(self, u, mu):
            return {
                "state": mu.kappa * (u - mu.level) ** 2 * dx,
                "shifted": (u + mu.level) ** 2 * dx,
            }

    products = plant(Tracking)
    monkeypatch.setattr(Quadratic, "fits", staticmethod(lambda *_: False))
    by_cell = plant(Tracking)
    for share in (0.2, 0.7, 0.7, 0.4):
        at = by_cell.parameter_low + share * (by_cell.parameter_high - by_cell.parameter_low)
        ours, other = (
            EpisodeAdjoint(made.adjoint()).gradient(at, actions(made))
            for made in (products, by_cell)
        )
        assert ours.cost == pytest.approx(other.cost, rel=1e-12)
        np.testing.assert_allclose(ours.gradient, other.gradient, rtol=1e-9, atol=1e-13)
