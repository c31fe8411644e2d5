"""The plant of a problem: its time steps, actuators, sensors and cost."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hypemarl.config import EnvConfig
from hypemarl.coupling.adjoint import PlantAdjoint
from hypemarl.coupling.local_model import LocalModel, seen_alike
from hypemarl.coupling.neighbourhood import Neighbourhood
from hypemarl.coupling.plant import Plant, StepCosts
from hypemarl.coupling.recent import Recent
from hypemarl.mpi import Comm
from hypemarl.seeding import numpy_generator
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.solvers.jit import contains
from hypemarl.solvers.time_step import TimeStep
from hypemarl.systems.problem import sensors
from hypemarl.systems.problem.attributes import require_sound
from hypemarl.systems.problem.calls import Parameters, call, member, place, refuse, where
from hypemarl.systems.problem.costs import Costs
from hypemarl.systems.problem.forms import Forms, Start
from hypemarl.systems.problem.functionals import Patches
from hypemarl.systems.problem.options import mesh_of, problem_of
from hypemarl.systems.problem.pictures import Pictures
from hypemarl.systems.problem.problem import Problem
from hypemarl.types import Row

STATE = "state"
"""Parameter in [0, 1) that decides all random numbers of an episode."""
KEPT = 256 * 1024**2
"""Memory on each rank for states after a spin-up."""


type Levels = tuple[np.ndarray, np.ndarray]
"""u^n and u^{n-1}, (n_local,) each"""


@dataclass(frozen=True)
class Snapshot:
    """State of an episode: u^n and u^{n-1} (n_local,), amplitudes, parameters, intervals so far."""

    u: np.ndarray
    older: np.ndarray
    actions: np.ndarray
    parameters: np.ndarray
    count: int


class ProblemPlant(Plant):
    """The plant of a :class:`~hypemarl.systems.problem.problem.Problem`.

    Parameters of an episode: those of the problem, then ``state``, a number in [0, 1) from which
    all random numbers of the episode follow, where it has any.

    Args:
        config: the environment's settings; problem: an instance; mesh: its mesh. Collective.

    Raises:
        ProblemError, LayoutError, MeshError: on every rank, with the line of the user's file.
    """

    kind = "problem"
    shown_uncontrolled = True

    def __init__(self, config: EnvConfig, problem: Problem, mesh: Any) -> None:
        require_sound(problem)
        self.config, self.problem = config, problem
        self.interval = config.control_interval
        self.dt = self.interval / problem.substeps
        self.forms = forms = Forms(problem, mesh, self.dt)
        self.comm = forms.comm
        with member(problem, "agents"):
            self.places = problem.agents.placed(forms.domain)
        self.positions, self.grid = self.places.positions, self.places.grid
        with member(problem, "actuators"):
            space = forms.control.function_space
            self.matrix = problem.actuators.matrix(space, forms.domain, self.places)
        self._make_steps()
        self.patches = Patches(forms.domain, self.places.owners, self.n_agents)
        parameters = list(forms.parameters.values())
        self.cost = Costs(
            self.patches, forms.costs, forms.u, forms.control, [forms.time], parameters
        )
        degree = int(forms.element.embedded_superdegree)
        constants = [forms.time, *parameters]
        common = (forms.domain, self.patches, forms.u, self.positions, degree, constants)
        with member(problem, "observe"):
            self.sensors = [sensors.make(item, *common) for item in forms.observed()]
        self.pictures = Pictures(forms)
        self._start = Start(forms)
        self._describe()
        #: amplitudes (n, m) of the last interval, within their bounds, without noise
        self.actions = np.zeros((self.n_agents, self.action_size))
        self._parameters = self.parameter_low.copy()
        self._noise = np.zeros((config.control_steps, *self.actions.shape))
        self._count = 0
        size = 2 * forms.u.x.array.nbytes
        self._starts: Recent[tuple[float, ...], Levels] = Recent(max(8, KEPT // size))
        #: called after every time step; an adjoint sets it
        self.record: Callable[[], None] | None = None

    def _make_steps(self) -> None:
        """The solvers of the first and of later time steps."""
        forms, problem = self.forms, self.problem

        def solver(residual: Any) -> TimeStep:
            return TimeStep(
                residual,
                forms.test,
                forms.u,
                [forms.u_old, forms.u_older],
                forms.control,
                times=[forms.time],
                parameters=list(forms.parameters.values()),
                conditions=forms.conditions.items,
                options=problem.solver,
                stated=where(problem, "solver"),
            )

        self.later = solver(forms.residual)
        first = forms.first_residual
        self.first = self.later if first is None else solver(first)
        self.two_steps = forms.two_steps

    def _describe(self) -> None:
        """The sizes, bounds and names that environments and agents read."""
        problem = self.problem
        self._near = Neighbourhood(self.places.stencil(self.config.observation_radius))
        features = len(self.sensors)
        self.observation_size = features * self._near.size
        middle = self._near.size // 2
        self.own_features = tuple(range(features * middle, features * (middle + 1)))
        self.action_low = np.full(problem.components, float(problem.bounds[0]))
        self.action_high = np.full(problem.components, float(problem.bounds[1]))
        self.cost_terms = self.cost.names
        ranges = list(problem.parameters.values())
        draws = type(problem).draw is not Problem.draw
        if draws:
            _require_repeatable(problem, self.comm)
        self._random = draws or bool(problem.noise)
        self.parameter_names = (*problem.parameters, STATE)
        last = float(np.nextafter(1.0, 0.0)) if self._random else 0.0
        self.parameter_low = np.array([float(low) for low, _ in ranges] + [0.0])
        self.parameter_high = np.array([float(high) for _, high in ranges] + [last])
        self._decide = np.array([*map(self._decides_start, self.forms.parameters.values()), True])

    def _decides_start(self, parameter: Any) -> bool:
        """Whether the state after the spin-up depends on a parameter."""
        forms, initial = self.forms, type(self.problem).initial
        if initial is not Problem.initial and "mu" in inspect.signature(initial).parameters:
            return True  # which of them it reads is not known
        return contains(forms.residual, parameter) or forms.conditions.holds(parameter)

    @property
    def count(self) -> int:
        """Control intervals since the episode's start."""
        return self._count

    @property
    def time(self) -> float:
        """Time since the episode's start."""
        return self._count * self.interval

    def stencil(self, radius: int) -> np.ndarray:
        """Near agents, along periodic axes on the other side too."""
        return self.places.stencil(radius)

    def context_columns(self, context: Any) -> np.ndarray:
        """Columns of mu: the problem's parameters by name, ``all`` for all of them. Local.

        Raises:
            ValueError: a name is not one of these.
        """
        names = list(self.problem.parameters)
        chosen = names if tuple(context) == ("all",) else list(context)
        if unknown := [name for name in chosen if name not in names]:
            raise ValueError(f"context: expected names out of {names or '[all]'}, got {unknown}")
        return np.array([k for k, name in enumerate(names) if name in chosen], int)

    def sample_parameters(self, generator: np.random.Generator) -> np.ndarray:
        """Parameters of a training episode: of its start, one out of ``states`` with a spin-up."""
        drawn = generator.uniform(self.parameter_low, self.parameter_high)
        if self.problem.spin_up and self._random:
            number = int(generator.integers(self.problem.states))
            start = numpy_generator(number, "training-start")
            fixed = start.uniform(self.parameter_low, self.parameter_high)
            drawn = np.where(self._decide, fixed, drawn)
        return drawn

    def reset(self, parameters: np.ndarray, seed: int | None = None) -> np.ndarray:
        """Start an episode; ``seed`` is accepted for the interface's sake. Collective.

        Raises:
            SolverDiverged: on every rank, when the spin-up fails.
        """
        values = self.checked(parameters)
        self._set_parameters(values)
        if self.problem.spin_up:
            start = self._starts.get(tuple(values[self._decide].tolist()), self._begin)
        else:
            start = self._begin()
        self._draw_noise()
        self.actions = np.zeros(self.actions.shape)
        self._set(start, 0, self.actions)
        return self._observe()

    def _draw_noise(self) -> None:
        if self.problem.noise:
            self._noise = self._generator("noise").standard_normal(self._noise.shape)

    def _set(self, levels: Levels, count: int, amplitudes: np.ndarray) -> None:
        """Stand at the beginning of interval ``count``."""
        forms = self.forms
        forms.u.x.array[:] = forms.u_old.x.array[:] = levels[0]
        forms.u_older.x.array[:] = levels[1]
        self._place(count)
        self.hold(amplitudes)
        forms.conditions.update()

    def _set_parameters(self, values: np.ndarray) -> None:
        self._parameters = values
        for constant, value in zip(self.forms.parameters.values(), values, strict=False):
            constant.value = value

    def _generator(self, use: str) -> np.random.Generator:
        bits = int(np.float64(self._parameters[-1]).view(np.uint64))
        return numpy_generator(bits, use)

    def _begin(self) -> Levels:
        """The initial state, after the spin-up. Collective."""
        forms, problem = self.forms, self.problem
        numbers = dict(zip(problem.parameters, self._parameters.tolist(), strict=False))
        drawn = call(problem.draw, {"rng": self._generator("draw")}) if self._random else None
        self._start(Parameters(numbers), drawn)
        levels = forms.u.x.array.copy(), forms.u.x.array.copy()
        self._set(levels, 0, np.zeros(self.actions.shape))
        self.first.begin()
        self.later.begin()
        steps = round(problem.spin_up / self.dt)
        for k in range(steps):
            self._advance(self.first if k == 0 else self.later, k + 1 - steps)
            self._shift()
        return forms.u.x.array.copy(), forms.u_older.x.array.copy()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, Row]:
        """One control interval under constant amplitudes (n, m). Collective.

        Raises:
            ActionError: wrong shape or NaN; SolverDiverged: a step has no solution, or the cost is
            not finite.
        """
        self.actions = self.agreed(actions)
        self.hold(self.noisy(self._count))
        trapezoid, steps = self.problem.quadrature == "trapezoid", self.problem.substeps
        self.cost.begin()
        if trapezoid:
            self.cost.add(0.5)
        self.first.begin()
        self.later.begin()
        for k in range(steps):
            solver = self.first if self.begins(self._count, k) else self.later
            self._advance(solver, self._count * steps + k + 1)
            self.cost.add(0.5 if trapezoid and k + 1 == steps else 1.0)
            if self.record is not None:
                self.record()
            self._shift()
        terms = self.cost.finish(self.dt, self.interval)
        self._require_finite(terms)
        self._place(self._count + 1)
        totals = dict(zip(self.cost.names, terms.sum(axis=1).tolist(), strict=True))
        costs = StepCosts(totals, terms.sum(axis=0))
        return self._observe(), -costs.shares, {"costs": costs}

    def begins(self, count: int, k: int) -> bool:
        """Whether time step ``k`` of interval ``count`` is the first one of all. Local."""
        return count == 0 and k == 0 and not self.problem.spin_up

    def noisy(self, count: int) -> np.ndarray:
        """Amplitudes (n, m) of interval ``count``: the present actions, with its noise. Local."""
        noise = self.problem.noise
        if not noise:
            return self.actions
        names = list(self.problem.parameters)
        size = self._parameters[names.index(noise)] if isinstance(noise, str) else noise
        return np.asarray(self.actions + size * self._noise[count % len(self._noise)])

    def hold(self, amplitudes: np.ndarray) -> None:
        """Set the control, and what of the boundary depends on it. Local."""
        acting = self.problem.actuators.acting(amplitudes)
        self.forms.control.x.array[:] = self.matrix @ acting.ravel()
        if self.forms.conditions.controlled:
            self.forms.conditions.update()

    def _place(self, count: int) -> None:
        """Set the count of intervals and the time."""
        self._count = count
        self.forms.time.value = count * self.interval

    def _advance(self, solver: TimeStep, step: int) -> None:
        """Solve for the state after time step ``step``, counted from the episode's start."""
        forms = self.forms
        forms.time.value = step * self.dt
        if forms.conditions.timed:
            forms.conditions.update()
        try:
            solver.advance()
        except SolverDiverged as error:
            raise SolverDiverged(f"time {step * self.dt:g}: {error}") from error

    def _shift(self) -> None:
        """Make the new state the old one."""
        forms = self.forms
        if self.two_steps:
            forms.u_older.x.array[:] = forms.u_old.x.array
        forms.u_old.x.array[:] = forms.u.x.array

    def _require_finite(self, terms: np.ndarray) -> None:
        wrong = ~np.isfinite(terms).all(axis=1)
        if wrong.any():
            name = self.cost.names[int(np.argmax(wrong))]
            raise SolverDiverged(f"{place(self.problem.cost)}: term {name!r} is not finite")

    def snapshot(self) -> Snapshot:
        """A copy of the episode's state. Local."""
        forms = self.forms
        u, older = forms.u.x.array.copy(), forms.u_older.x.array.copy()
        return Snapshot(u, older, self.actions.copy(), self._parameters.copy(), self._count)

    def restore(self, state: Snapshot) -> np.ndarray:
        """Return to a snapshot of this plant; returns its observations (n, k). Collective."""
        self._set_parameters(state.parameters)
        self._draw_noise()
        self.actions = state.actions.copy()
        self._set((state.u, state.older), state.count, self.actions)
        return self._observe()

    def _observe(self) -> np.ndarray:
        own = np.stack([sensor() for sensor in self.sensors], axis=1)
        return self._near.gather(own).reshape(self.n_agents, -1)

    def pull_observations(self, bars: np.ndarray, state_bar: np.ndarray) -> None:
        """Add the transpose of sensing, of ``bars`` (n, k), to ``state_bar`` (n_owned,).

        At the present state. Collective.
        """
        own = self._near.scatter_add(bars.reshape(self.n_agents, self._near.size, -1))
        for sensor, bar in zip(self.sensors, own.T, strict=True):
            sensor.pull(bar, state_bar)

    def fields(self) -> dict[str, np.ndarray] | None:
        """points (N, gdim), cells (M, gdim + 1), the shown fields (N,), actions. Collective."""
        fields = self.pictures()
        return None if fields is None else fields | {"actions": self.actions.copy()}

    def adjoint(self) -> PlantAdjoint:
        """The transpose of a control interval. Collective."""
        from hypemarl.systems.problem.adjoint import ProblemAdjoint

        return ProblemAdjoint(self)

    def local_model(self) -> LocalModel:
        """Own quantities as states, their changes learned. Collective."""
        return seen_alike(self._near.near, self.observation_size)


def _require_repeatable(problem: Problem, comm: Comm) -> None:
    """Refuse random numbers of another source than ``rng``: no episode could be run again.

    Collective.
    """
    twice = [call(problem.draw, {"rng": numpy_generator(0, "draw")}) for _ in range(2)]
    try:
        first, second = map(pickle.dumps, twice)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise refuse(
            problem.draw, f"expected numbers or arrays, got {twice[0]!r:.80} ({error})"
        ) from error
    if any(each != (first, first) for each in comm.allgather((first, second))):
        raise refuse(
            problem.draw,
            "expected random numbers from `rng` alone, as rng.normal(), got others in a second "
            "call with the same rng, or on another rank; episodes could not be run again",
        )


def make(config: EnvConfig, comm: Comm) -> ProblemPlant:
    """The plant of ``config`` on a mesh of its own. Collective."""
    problem = problem_of(config)
    return ProblemPlant(config, problem, mesh_of(problem, config, comm))
