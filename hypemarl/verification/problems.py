"""The problems of the package against exact solutions: growth rates, waves, sources, modes.

Each case is a subclass of the problem without control and noise that starts from an exact solution
and, where this needs them, has other sides or a source; the equation is the problem's own.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import log
from typing import Any

import numpy as np
import ufl
from dolfinx import fem

from hypemarl.config import EnvConfig
from hypemarl.config.problems import problem_of
from hypemarl.mpi import sum_over_ranks, world
from hypemarl.systems.problem.options import ProblemOptions
from hypemarl.systems.problem.plant import ProblemPlant
from hypemarl.systems.problem.problem import Dirichlet
from hypemarl.verification.report import Report

KURAMOTO: Any = problem_of("kuramoto-sivashinsky")
BURGERS: Any = problem_of("burgers")
REACTION: Any = problem_of("reaction-diffusion")
HEAT: Any = problem_of("heat-3d")
IN_SPACE, IN_TIME = 1.8, 1.9
"""Orders that are asked for."""


class Exact:
    """Base of the cases, before the problem that they inherit from; ``exact`` is the solution."""

    noise = spin_up = 0.0
    exact: Any

    def draw(self, rng: Any) -> None:
        """Nothing is random."""

    def initial(self, x: Any) -> Any:
        """The exact solution at t = 0."""
        return self.exact(x, 0.0, np)


class GrowingMode(Exact, KURAMOTO):
    """A mode cos(q x) so small that the equation is linear."""

    mode = 1

    def exact(self, x: Any, t: Any, m: Any) -> Any:
        """y and w = y_xx."""
        q = 2 * np.pi * self.mode / self.length
        y = 1e-6 * np.exp((q**2 - q**4) * t) * m.cos(q * x[0])
        return y, -(q**2) * y


class LargeWaves(GrowingMode):
    """A start at which the equation is not linear."""

    def exact(self, x: Any, t: Any, m: Any) -> Any:
        """At t = 0; later it is not known."""
        q = 2 * np.pi / self.length
        return m.cos(q * x[0]) + m.sin(2 * q * x[0]), None


class TravellingWave(Exact, BURGERS):
    """u = c - a tanh(a (x - c t - s) / (2 nu)) on (0, 1) between values that follow it."""

    speed, height, start, viscosity = 0.5, 0.4, 0.35, 0.05
    periodic = ()

    def exact(self, x: Any, t: Any, m: Any) -> Any:
        """The wave."""
        phase = self.height * (x[0] - self.speed * t - self.start) / (2 * self.viscosity)
        return self.speed - self.height * m.tanh(phase)

    def boundary(self, x: Any, t: Any) -> Any:
        """Its values at both ends."""
        return [Dirichlet(self.exact(x, t, ufl))]


class Manufactured(Exact, REACTION):
    """u = U cos t and w = U sin t with U = cos(k x) sin(k y), by a source."""

    def exact(self, x: Any, t: Any, m: Any) -> Any:
        """u and w."""
        k = 2 * np.pi / self.side
        shape = m.cos(k * x[0]) * m.sin(k * x[1])
        return shape * m.cos(t), shape * m.sin(t)

    def residual(
        self, u: Any, u_old: Any, u_older: Any, v: Any, control: Any, dt: Any, x: Any, t: Any
    ) -> Any:
        """The problem's own, minus the source."""
        return super().residual(u, u_old, u_older, v, control, dt) - self.source(v, x, t)

    def first_residual(
        self, u: Any, u_old: Any, v: Any, control: Any, dt: Any, x: Any, t: Any
    ) -> Any:
        """Likewise."""
        return super().first_residual(u, u_old, v, control, dt) - self.source(v, x, t)

    def source(self, v: Any, x: Any, t: Any) -> Any:
        """Residual of the equations at the manufactured solution."""
        (u, w), (p, q) = self.exact(x, t, ufl), v
        spread = 2 * (2 * np.pi / self.side) ** 2 * u
        first = -w + spread - (u - u**3 / 3 - w + self.current)
        second = u - self.epsilon * (u + self.beta - self.gamma * w)
        return (first * p + second * q) * ufl.dx(degree=4)


class DecayingMode(Exact, HEAT):
    """A product of cosines, which decays."""

    def exact(self, x: Any, t: Any, m: Any) -> Any:
        """exp((r - 3 kappa pi^2) t) cos(pi x) cos(pi y) cos(pi z)."""
        rate = self.growth - 3 * self.diffusivity * np.pi**2
        return m.exp(rate * t) * m.cos(np.pi * x[0]) * m.cos(np.pi * x[1]) * m.cos(np.pi * x[2])


class Run:
    """A problem after so many time steps without control. Collective.

    Args:
        cls: of the problem; steps, duration: number of time steps, and time at their end.
        attributes: of the problem, in place of the class's.
    """

    def __init__(self, cls: Any, steps: int, duration: float, **attributes: Any) -> None:
        self.problem = problem = cls()
        vars(problem).update(attributes, substeps=steps)
        options, agents = ProblemOptions(cls.name), problem.agents.counts
        config = EnvConfig(
            system="problem", options=options, agents=agents, horizon=duration, control_steps=1
        )
        plant = ProblemPlant(config, problem, problem.mesh(world()))
        plant.reset(plant.parameter_low)
        plant.step(np.zeros((plant.n_agents, plant.action_size)))
        self.u, self.duration, self._comm = plant.forms.u, duration, plant.comm

    def norm(self, other: Any = 0.0) -> float:
        """L2 norm of u minus a number, or a function of this mesh or one like it. Collective."""
        if isinstance(other, Run):
            function = fem.Function(self.u.function_space)
            function.x.array[:] = other.u.x.array
            other = function
        gap = self.u - other if other else self.u
        square = fem.form(ufl.inner(gap, gap) * ufl.dx(degree=6))
        return float(
            np.sqrt(sum_over_ranks(self._comm, np.array([fem.assemble_scalar(square)]))[0])
        )

    def error(self) -> float:
        """L2 norm of the error. Collective."""
        x = ufl.SpatialCoordinate(self.u.function_space.mesh)
        exact = self.problem.exact(x, fem.Constant(self.u.function_space.mesh, self.duration), ufl)
        return self.norm(ufl.as_vector(exact) if isinstance(exact, tuple) else exact)


def problems() -> Report:
    """Each problem of the package against an exact solution; about a minute. Collective."""
    report = Report("Problems of the package against exact solutions")
    kuramoto_sivashinsky(report)
    burgers(report)
    reaction_diffusion(report)
    heat_3d(report)
    return report


def kuramoto_sivashinsky(
    report: Report, modes: Sequence[int] = (1, 2, 3, 4), steps: Sequence[int] = (100, 200, 400)
) -> None:
    """Small modes grow at the rates q^2 - q^4; order in time. Collective.

    (Cvitanovic, Davidchack and Siminos, SIAM J. Appl. Dyn. Syst. 9 (2010) 1.)
    """
    for mode in modes:
        q = 2 * np.pi * mode / KURAMOTO.length
        half, whole = (Run(GrowingMode, n, 0.025 * n, mode=mode).norm() for n in (40, 80))
        off = abs(log(whole / half) / (q**2 - q**4) - 1.0)
        report.at_most(f"kuramoto-sivashinsky: rate of mode {mode}, relative error", off, 0.01)
    _in_time(report, "kuramoto-sivashinsky", LargeWaves, steps, 5.0)


def burgers(
    report: Report, cells: Sequence[int] = (32, 64, 128), steps: Sequence[int] = (8, 16, 32)
) -> None:
    """A travelling wave, order in h and in time. Collective.

    (Whitham, Linear and Nonlinear Waves, 1974, chapter 4.)
    """
    runs = [Run(TravellingWave, 200, 0.5, cells=n) for n in cells]
    _in_space(report, "burgers", cells, runs, 1e-3)
    _in_time(report, "burgers", TravellingWave, steps, 0.5)


def reaction_diffusion(
    report: Report, cells: Sequence[int] = (12, 24, 48), steps: Sequence[int] = (10, 20, 40)
) -> None:
    """A manufactured solution, order in h and in time. Collective."""
    runs = [Run(Manufactured, 100, 1.0, cells=n) for n in cells]
    _in_space(report, "reaction-diffusion", cells, runs, 0.1)
    _in_time(report, "reaction-diffusion", Manufactured, steps, 2.0)


def heat_3d(
    report: Report, cells: Sequence[int] = (6, 12, 18), steps: Sequence[int] = (32, 64, 128)
) -> None:
    """The decay of a mode, order in h and in time. Collective."""
    runs = [Run(DecayingMode, 20, 1.0, cells=n) for n in cells]
    _in_space(report, "heat-3d", cells, runs, 0.01)
    _in_time(report, "heat-3d", DecayingMode, steps, 2.0, cells=8)


def _in_space(
    report: Report, name: str, cells: Sequence[int], runs: Sequence[Run], bound: float
) -> None:
    errors = [run.error() for run in runs]
    for (n, before), (m, after) in pairwise(zip(cells, errors, strict=True)):
        order = log(before / after) / log(m / n)
        report.at_least(f"{name}: order in h from {n} to {m} cells per side", order, IN_SPACE)
    report.at_most(f"{name}: L2 error at {cells[-1]} cells per side", errors[-1], bound)


def _in_time(
    report: Report, name: str, cls: Any, steps: Sequence[int], duration: float, **attributes: Any
) -> None:
    """Orders from how far runs differ whose steps are halved."""
    runs = [Run(cls, n, duration, **attributes) for n in steps]
    gaps = [one.norm(other) for one, other in pairwise(runs)]
    for n, (before, after) in zip(steps, pairwise(gaps), strict=False):
        order = log(before / after) / log(2)
        report.at_least(f"{name}: order in time, steps {duration / n:g} and halves", order, IN_TIME)
