"""Exact gradients: Taylor's remainder on every environment, and one gradient on two ranks."""

import json
import sys
from collections.abc import Sequence

import numpy as np

from hypemarl import config as configuration
from hypemarl import envs, seeding
from hypemarl.config.problems import PROBLEMS, SYSTEM
from hypemarl.coupling.adjoint import require_adjoint
from hypemarl.envs.array_env import plant_of
from hypemarl.optimal.trajectory import EpisodeAdjoint, EpisodeGradient
from hypemarl.verification.report import Report

SCENARIOS: tuple[str, ...] = ("density-1d", "density-vacuum", "density-fluid")
SCENARIOS += ("flow-cylinder", "cylinder-jets", "flow-dissipation", "shape-morphing")
# More intervals take too long.
INTERVALS = {"density": 20, "density-fluid": 15, "flow": 3, "shape": 3, SYSTEM: 5}
# Small steps cross fewer kinks of the limiter; a flow's must stand out of its solvers' tolerance.
SIZES = dict.fromkeys(("density", "density-fluid"), 0.5 ** np.arange(6, 14))
SIZES |= {"flow": 0.5 ** np.arange(0, 5), "shape": 0.5 ** np.arange(2, 8)}
SIZES |= {SYSTEM: 0.5 ** np.arange(7, 13)}
ORDER = 1.95
DIRECTIONS = 3


def covered() -> tuple[str, ...]:
    """The scenarios, and every registered problem."""
    return (*SCENARIOS, *PROBLEMS.names())


def adjoint(scenarios: Sequence[str] | None = None, *, ranks: int = 2) -> Report:
    """|J(a + h d) - J(a) - h dJ/da . d| = O(h^2) for random a and d, and the same dJ/da on ranks.

    The order is that of a straight line through the logarithms: the schemes are piecewise smooth,
    and single pairs scatter where a step crosses a kink. Problems are smooth: their orders may not
    exceed two by more than they may fall short of it.

    Args:
        scenarios: by default those of :func:`covered`.
        ranks: 0 leaves out the second part, which starts processes of its own.

    Collective, but for the second part serial.
    """
    report = Report("Taylor test of dJ/da: orders for random directions; serial against ranks")
    for name in covered() if scenarios is None else scenarios:
        problem = _Problem(name)
        result = problem.gradient()
        for k in range(DIRECTIONS):
            title, order = f"{name}: order, direction {k}", problem.order(result, k)
            if problem.env.config.system == SYSTEM:
                report.within(title, order, ORDER, 4.0 - ORDER)
            else:
                report.at_least(title, order, ORDER)
        if ranks and problem.env.comm.size == 1:
            title = f"{name}: dJ/da on {ranks} ranks, relative difference"
            report.at_most(title, _difference(name, result, ranks), 1e-5)
    return report


class _Problem:
    """An environment with fixed random parameters, actions and directions."""

    def __init__(self, name: str) -> None:
        config = configuration.load(name).env
        self.env = env = envs.make(config)
        self.episode = EpisodeAdjoint(require_adjoint(plant_of(env)))
        generator = seeding.numpy_generator(0, f"adjoint-{name}")
        self.parameters = env.sample_parameters(generator)
        count = min(INTERVALS[config.system], env.control_steps)
        shape = (count, env.n_agents, env.action_size)
        middle = 0.5 * (env.action_low + env.action_high)
        half = 0.5 * (env.action_high - env.action_low)
        self.actions = middle + 0.3 * half * generator.uniform(-1.0, 1.0, shape)
        self.directions = 0.3 * half * generator.uniform(-1.0, 1.0, (DIRECTIONS, *shape))

    def gradient(self) -> EpisodeGradient:
        return self.episode.gradient(self.parameters, self.actions)

    def order(self, result: EpisodeGradient, direction: int) -> float:
        d, sizes = self.directions[direction], SIZES[self.env.config.system]
        slope = float((result.gradient * d).sum())
        costs = [self.episode.cost(self.parameters, self.actions + h * d) for h in sizes]
        remainders = np.abs(np.array(costs) - result.cost - sizes * slope)
        return float(np.polyfit(np.log(sizes), np.log(remainders), 1)[0])


def _difference(name: str, serial: EpisodeGradient, ranks: int) -> float:
    from hypemarl.training.children import launch

    answer = launch(ranks, "hypemarl.verification.adjoint", name)
    if answer["ranks"] != ranks:
        raise RuntimeError(f"asked for {ranks} ranks, mpirun gave {answer['ranks']}")
    gradient = serial.gradient.ravel()
    return float(np.linalg.norm(answer["gradient"] - gradient) / np.linalg.norm(gradient))


def _main(name: str) -> None:
    """Print one gradient as JSON on rank 0; :func:`_difference` starts this on ranks."""
    problem = _Problem(name)
    gradient = problem.gradient().gradient.ravel().tolist()
    if problem.env.comm.rank == 0:
        print(json.dumps({"gradient": gradient, "ranks": problem.env.comm.size}))


if __name__ == "__main__":
    _main(sys.argv[1])
