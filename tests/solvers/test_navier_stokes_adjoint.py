"""Transposes of the unsteady flow solver's parts against central differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mpi4py import MPI

from hypemarl.config import MeshConfig
from hypemarl.meshing import build
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.solvers.functionals import FlowFunctionals
from hypemarl.solvers.navier_stokes import FlowState, UnsteadyFlow
from hypemarl.solvers.navier_stokes_adjoint import FlowCotangent, FlowStep, UnsteadyFlowAdjoint

CHANNEL = MeshConfig(
    shape="channel-with-disc",
    length=1.2,
    height=0.41,
    disc_centre=(0.3, 0.2),
    disc_radius=0.05,
    element_size=0.1,
    disc_element_size=0.03,
)
SLIP = {"inflow": (0, 1), "disc": (0, 1), "bottom": (1,), "top": (1,)}
ENCLOSED = dict.fromkeys(("inflow", "outflow", "disc", "bottom", "top"), (0, 1))
NAMES = ("velocity", "old_velocity", "rate", "pressure", "increment", "old_increment")
EXACT = 1e-12


def small_flow(dirichlet: dict[str, tuple[int, ...]]) -> UnsteadyFlow:
    return UnsteadyFlow(
        build(CHANNEL, MPI.COMM_SELF),
        dirichlet=dirichlet,
        time_step=4e-3,
        viscosity=5e-3,
        bodies=("disc",),
        rtol=EXACT,
        cfl_limit=100.0,
    )


@pytest.fixture(scope="module", params=[SLIP, ENCLOSED], ids=["slip", "enclosed"])
def flow(request: pytest.FixtureRequest) -> UnsteadyFlow:
    return small_flow(request.param)


def random_state(flow: UnsteadyFlow, seed: int, history: int) -> FlowState:
    """Rough fields, so that fluid leaves and enters through the open end, whatever is given."""
    generator = np.random.default_rng(seed)
    state = flow.snapshot()
    values = {name: generator.normal(size=getattr(state, name).shape) for name in NAMES}
    values["boundary"] = generator.normal(size=state.boundary.shape)
    return replace(state, **values, history=history, time=0.0, steps=0)


def moved(state: FlowState, direction: FlowState, distance: float) -> FlowState:
    values = {
        name: getattr(state, name) + distance * getattr(direction, name)
        for name in (*NAMES, "boundary")
    }
    return replace(state, **values)


def step_from(flow: UnsteadyFlow, state: FlowState) -> FlowState:
    flow.restore(state)
    flow.step()
    return flow.snapshot()


def product(bar: FlowCotangent, state: FlowState) -> float:
    return sum(float((getattr(bar, name) * getattr(state, name)).sum()) for name in NAMES)


def fill(bar: FlowCotangent, generator: np.random.Generator) -> None:
    bar.assign(generator.normal(size=bar.size))


@pytest.mark.parametrize("history", [0, 5])
def test_step_transposed(flow: UnsteadyFlow, history: int) -> None:
    state, direction = random_state(flow, 1, history), random_state(flow, 2, history)
    distance = 1e-5
    ahead = step_from(flow, moved(state, direction, distance))
    behind = step_from(flow, moved(state, direction, -distance))
    new = step_from(flow, state)
    adjoint, bar = UnsteadyFlowAdjoint(flow, EXACT), FlowCotangent(flow)
    fill(bar, np.random.default_rng(3))
    expected = (product(bar, ahead) - product(bar, behind)) / (2.0 * distance)
    record = FlowStep(
        state.old_velocity, state.velocity, new.velocity, flow.dt, flow.viscosity, history == 0
    )
    boundary_bar = adjoint.pull(record, bar)
    given = flow.fixed.T
    assert not boundary_bar[~given].any()
    found = product(bar, direction) + float((boundary_bar * direction.boundary).sum())
    assert found == pytest.approx(expected, rel=1e-6)


def test_several_steps_guess_and_forget(flow: UnsteadyFlow) -> None:
    """Guesses change how fast an adjoint velocity is found, not what it is."""
    states = [replace(random_state(flow, 4, 5), velocity=flow.snapshot().velocity)]
    for _ in range(5):
        states.append(step_from(flow, states[-1]))
    found = []
    for guessing in (True, False):
        adjoint, bar = UnsteadyFlowAdjoint(flow, EXACT), FlowCotangent(flow)
        fill(bar, np.random.default_rng(5))
        for before, after in zip(states[-2::-1], states[:0:-1], strict=True):
            if not guessing:
                adjoint.forget()
            record = (before.old_velocity, before.velocity, after.velocity)
            adjoint.pull(FlowStep(*record, flow.dt, flow.viscosity), bar)
        found.append(bar.flat())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-7, atol=1e-9 * np.abs(found[1]).max())


def test_wall_forces_transposed(flow: UnsteadyFlow) -> None:
    state, direction = random_state(flow, 6, 5), random_state(flow, 7, 5)
    n, nu, distance = flow.space.n_velocity_local, flow.viscosity, 1e-5
    disc = flow.space.nodes("disc")
    forces_bar = np.zeros((n, 2))
    forces_bar[disc] = np.random.default_rng(8).normal(size=(len(disc), 2))
    values = []
    for sign in (1.0, -1.0):
        at = moved(state, direction, sign * distance)
        forces = flow.walls.evaluate(at.rate, at.velocity, at.pressure, nu)
        values.append(float((forces_bar * forces).sum()))
    expected = (values[0] - values[1]) / (2.0 * distance)
    bar = FlowCotangent(flow)
    flow.walls.pull(forces_bar, state.velocity, nu, (bar.rate, bar.velocity, bar.pressure))
    assert product(bar, direction) == pytest.approx(expected, rel=1e-7)
    assert bar.rate.any()
    assert bar.pressure.any()


def test_gradient_squares_transposed(flow: UnsteadyFlow) -> None:
    functionals = FlowFunctionals(flow.space)
    generator = np.random.default_rng(9)
    n = flow.space.n_velocity_local
    velocity, direction = generator.normal(size=(2, n, 2))
    factors = generator.normal(size=len(flow.space.volumes))
    ahead, behind = (
        factors @ functionals.gradient_squares((velocity + sign * direction).T)
        for sign in (1.0, -1.0)
    )
    bar = np.zeros((n, 2))
    functionals.pull_gradient_squares(factors, velocity, bar)
    assert float((bar * direction).sum()) == pytest.approx(0.5 * (ahead - behind), rel=1e-10)


def test_cotangents_flat_and_back(flow: UnsteadyFlow) -> None:
    bar = FlowCotangent(flow)
    values = np.random.default_rng(10).normal(size=bar.size)
    bar.assign(values)
    np.testing.assert_array_equal(bar.flat(), values)


def test_a_failed_solve_is_said(flow: UnsteadyFlow) -> None:
    state = random_state(flow, 11, 5)
    adjoint, bar = UnsteadyFlowAdjoint(flow), FlowCotangent(flow)
    bar.assign(np.full(bar.size, np.nan))
    with pytest.raises(SolverDiverged, match="adjoint: the linear solver"):
        adjoint.pull(
            FlowStep(state.old_velocity, state.velocity, state.velocity, flow.dt, flow.viscosity),
            bar,
        )
