from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ufl import dx, grad, inner

from hypemarl.verification import CASES
from hypemarl.verification.problems import (
    BURGERS,
    HEAT,
    KURAMOTO,
    REACTION,
    burgers,
    heat_3d,
    kuramoto_sivashinsky,
    problems,
    reaction_diffusion,
)
from hypemarl.verification.report import Report


def small(name: str) -> Report:
    report = Report(name)
    if name == "kuramoto-sivashinsky":
        kuramoto_sivashinsky(report, modes=(2, 4), steps=(40, 80, 160))
    elif name == "burgers":
        burgers(report, cells=(32, 64), steps=(8, 16, 32))
    elif name == "reaction-diffusion":
        reaction_diffusion(report, cells=(10, 20), steps=(10, 20, 40))
    else:
        heat_3d(report, cells=(6, 12), steps=(32, 64, 128))
    return report


def failed(report: Report) -> list[str]:
    return [row.name for row in report.rows if not row.ok and "L2 error" not in row.name]


NAMES = ("kuramoto-sivashinsky", "burgers", "reaction-diffusion", "heat-3d")


@pytest.mark.parametrize("name", NAMES)
def test_a_problem_agrees_with_its_exact_solution(name: str) -> None:
    report = small(name)
    assert failed(report) == [], report.rows
    assert len(report.rows) >= 3
    assert CASES["problems"] is problems


def broken(monkeypatch: pytest.MonkeyPatch, cls: Any, extra: Callable[..., Any]) -> None:
    """Add a term to the residual of a problem's time step."""
    right = cls.residual
    if "u_older" in right.__code__.co_varnames:

        def residual(self, u, u_old, u_older, v, control, dt):  # type: ignore[no-untyped-def]
            return right(self, u, u_old, u_older, v, control, dt) + extra(u, u_old, v)
    else:

        def residual(self, u, u_old, v, control, dt):  # type: ignore[no-untyped-def]
            return right(self, u, u_old, v, control, dt) + extra(u, u_old, v)

    monkeypatch.setattr(cls, "residual", residual)


WRONG: dict[str, tuple[Any, Callable[..., Any]]] = {
    "kuramoto-sivashinsky": (KURAMOTO, lambda u, old, v: 0.01 * u[0] * v[0] * dx),
    "burgers": (BURGERS, lambda u, old, v: 0.01 * old * old.dx(0) * v * dx),
    "reaction-diffusion": (REACTION, lambda u, old, v: 0.1 * u[1] * v[0] * dx),
    "heat-3d": (HEAT, lambda u, old, v: 0.01 * inner(grad(u), grad(v)) * dx),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_term_is_noticed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    broken(monkeypatch, *WRONG[name])
    assert failed(small(name))


@pytest.mark.slow
def test_all_problems_at_full_size() -> None:
    report = problems()
    assert report.passed, report.rows
