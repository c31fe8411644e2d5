"""Rayleigh-Benard convection against its onset, published Nusselt numbers and a heated cavity.

The scheme is that of the problem ``rayleigh-benard``; its steady states do not depend on dt.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi, sqrt
from typing import Any

import dolfinx
import numpy as np
from ufl import dx

from hypemarl import Dirichlet, Grid, Hats
from hypemarl.config import EnvConfig
from hypemarl.mpi import Comm, world
from hypemarl.systems.problem.library.rayleigh_benard import RayleighBenard
from hypemarl.systems.problem.plant import ProblemPlant
from hypemarl.verification.report import Report

# Marginal Rayleigh numbers of rigid boundaries by wave number, the first one the critical one:
# Chandrasekhar, Hydrodynamic and Hydromagnetic Stability, Oxford 1961, ch. II.
MARGINAL = {3.117: 1707.76, 2.0: 2177.41, 4.0: 1879.26}
# Nu of steady rolls at Pr 0.71, wave number 3.117: Clever and Busse, J. Fluid Mech. 65 (1974) 625.
ROLLS = {2000: 1.212, 5000: 2.116, 10000: 2.661, 20000: 3.258}
# Mean Nu at Pr 0.71: de Vahl Davis, Int. J. Numer. Meth. Fluids 3 (1983) 249.
CAVITY = {1000: 1.118, 10000: 2.243, 100000: 4.519}
# Median Nu without control, Ra 8e4, Pr 0.7, width pi: Becktepe et al., arXiv 2601.15015, see
# docs/rayleigh_benard.md.
UNCONTROLLED = 4.896
STEADY = 1e-6  # relative change of Nu - 1 in a unit of time at which a state counts as steady
LONGEST = 600  # units of time


class Rolls(RayleighBenard):
    """One pair of rolls of wave number ``wave``, from a perturbation of size ``size``."""

    prandtl, size, spin_up, substeps = 0.71, 0.1, 0.0, 20
    agents = Grid(2, 1)

    def __init__(self, wave: float = 3.117) -> None:
        self.wave, self.width = wave, 2.0 * pi / wave
        self.actuators = Hats(width=self.width / 2, part="bottom", axes=(0,), mean_free=True)

    def mesh(self, comm: Comm) -> Any:
        """``cells`` are those of the one wave."""
        corners = [(0.0, 0.0), (self.width, 1.0)]
        return _graded(comm, corners, self.cells, axes=(1,))

    def draw(self, rng: np.random.Generator) -> Any:
        """Nothing is random."""

    def initial(self, x: np.ndarray, draw: Any) -> Any:  # type: ignore[override]
        """Conduction and one wave."""
        wave = np.cos(self.wave * x[0]) * np.sin(pi * x[1])
        return None, None, 1.0 - x[1] + self.size * wave


class Cavity(RayleighBenard):
    """A square with a hot left and a cold right side, insulated at the bottom and the top."""

    prandtl, width, cells, spin_up, substeps = 0.71, 1.0, (20, 20), 0.0, 20
    periodic, agents = (), Grid(1, 2)
    actuators = Hats(width=0.5, part="left", axes=(1,), mean_free=True)

    def mesh(self, comm: Comm) -> Any:
        """Finer at all sides."""
        return _graded(comm, [(0.0, 0.0), (1.0, 1.0)], self.cells, axes=(0, 1))

    def parts(self) -> Any:
        """The two sides."""
        return {"left": lambda x: np.isclose(x[0], 0.0), "right": lambda x: np.isclose(x[0], 1.0)}

    def boundary(self, control: Any) -> Any:  # type: ignore[override]
        """No slip everywhere."""
        hot = Dirichlet(1.0 + control, "left", field=2)
        return [Dirichlet((0.0, 0.0), field=0), hot, Dirichlet(0.0, "right", field=2)]

    def cost(self, u: Any, control: Any) -> Any:
        """Nu - 1 of the horizontal transport."""
        return {"convection": sqrt(self.rayleigh * self.prandtl) * u[0][0] * u[2] * dx}

    def initial(self, x: np.ndarray, draw: Any) -> Any:  # type: ignore[override]
        """Conduction, out of balance at once."""
        return None, None, 1.0 - x[0]


def rayleigh_benard(
    onset_cells: tuple[int, int] = (16, 12),
    waves: Sequence[float] = tuple(MARGINAL),
    rolls: Sequence[int] = tuple(ROLLS),
    cavity: Sequence[int] = tuple(CAVITY),
    developed: bool = True,
) -> Report:
    """Onset of convection, heat transport of steady rolls and of a cavity heated from its side."""
    report = Report("Rayleigh-Benard convection: onset, steady rolls, heated cavity")
    for wave in waves:
        name = f"marginal Ra at wave number {wave:g}"
        _within_one_percent(report, name, marginal(wave, onset_cells), MARGINAL[wave])
    for number in rolls:
        name = f"Nu of steady rolls at Ra {number}"
        _within_one_percent(report, name, steady(Rolls(), number), ROLLS[number])
    for number in cavity:
        name = f"Nu of the heated cavity at Ra {number}"
        _within_one_percent(report, name, steady(Cavity(), number), CAVITY[number])
    if developed:
        name = "Nu of the problem rayleigh-benard without control"
        _within_one_percent(report, name, steady(RayleighBenard(), 8e4), UNCONTROLLED)
    return report


def marginal(wave: float, cells: tuple[int, int] = (16, 12), apart: float = 0.03) -> float:
    """Ra at which a wave neither grows nor decays, between two that are ``apart``. Collective."""
    below, above = MARGINAL[wave] * (1.0 - apart), MARGINAL[wave] * (1.0 + apart)
    low, high = growth_rate(wave, below, cells), growth_rate(wave, above, cells)
    return below + (above - below) * low / (low - high)


def growth_rate(wave: float, rayleigh: float, cells: tuple[int, int]) -> float:
    """Growth rate of the leading mode of a wave number on the state of conduction. Collective."""
    problem = Rolls(wave)
    problem.cells, problem.size, problem.substeps = cells, 1e-3, 10
    transports = _transports(problem, rayleigh, steps=25)
    return 0.5 * log(transports[-1] / transports[-2])  # it is quadratic in the mode


def steady(problem: RayleighBenard, rayleigh: float) -> float:
    """Nu without control, once it does not change any more. Collective."""
    transports = _transports(problem, rayleigh, LONGEST)
    return 1.0 + transports[-1]


def _transports(problem: RayleighBenard, rayleigh: float, steps: int) -> list[float]:
    """Nu - 1, its means over units of time until it is steady."""
    problem.rayleigh = float(rayleigh)
    config = EnvConfig(
        system="problem", horizon=float(steps), control_steps=steps, agents=problem.agents.counts
    )
    plant = ProblemPlant(config, problem, problem.mesh(world()))
    plant.reset(plant.parameter_low)
    rest, values = np.zeros((plant.n_agents, 1)), list[float]()
    for _ in range(steps):
        _, rewards, _ = plant.step(rest)
        values.append(-float(rewards.sum()))
        if len(values) > 20 and abs(values[-1] - values[-2]) < STEADY * abs(values[-1]):
            break
    return values


def _graded(comm: Comm, corners: list, cells: Sequence[int], axes: Sequence[int]) -> Any:
    mesh = dolfinx.mesh.create_rectangle(comm, corners, list(cells))
    for axis in axes:
        x = mesh.geometry.x[:, axis]
        mesh.geometry.x[:, axis] = 0.3 * x + 0.35 * (1.0 - np.cos(pi * x))
    return mesh


def _within_one_percent(report: Report, name: str, measured: float, published: float) -> None:
    report.within(name, measured, 0.99 * published, 1.01 * published)
