"""A problem in UFL beside its peers: the step by hand, the gradient by dolfinx-adjoint."""

from __future__ import annotations

from functools import partial
from statistics import median

import dolfinx
import numpy as np
import ufl
from mpi4py import MPI

from hypemarl import config as configuration
from hypemarl import envs, mpi
from hypemarl.bench import problem_peers as peers
from hypemarl.bench.timing import best_ms
from hypemarl.config import EnvConfig
from hypemarl.envs.array_env import plant_of
from hypemarl.meshing import TaggedMesh, build
from hypemarl.optimal.trajectory import EpisodeAdjoint
from hypemarl.systems.problem.actuators import Bumps
from hypemarl.systems.problem.agents import Grid
from hypemarl.systems.problem.options import ProblemOptions
from hypemarl.systems.problem.plant import ProblemPlant
from hypemarl.systems.problem.problem import Problem

ROUNDS = 5  # in turn, so that other load on the machine meets all alike
SAME = 1e-8  # relative difference of J between the peers


class _Peer(Problem):
    """The equations of :mod:`hypemarl.bench.problem_peers`."""

    equation = ""
    substeps = peers.SUBSTEPS
    agents, actuators = Grid(peers.BUMPS, peers.BUMPS), Bumps(width=peers.WIDTH)
    observation_radius = 0

    def mesh(self, comm: mpi.Comm) -> dolfinx.mesh.Mesh:
        return dolfinx.mesh.create_unit_square(comm, peers.CELLS, peers.CELLS)

    def residual(self, u, u_old, v, control):  # type: ignore[no-untyped-def, override]
        return peers.residual(self.equation, u, u_old, control, v)

    def cost(self, u, control):  # type: ignore[no-untyped-def]
        return {"state": 0.5 * u**2 * ufl.dx, "control": peers.EFFORT * control**2 * ufl.dx}

    def initial(self, x):  # type: ignore[no-untyped-def, override]
        return 0.5 + 0.5 * np.cos(np.pi * x[0]) * np.cos(np.pi * x[1])


def plant_for(equation: str, comm: mpi.Comm) -> ProblemPlant:
    """The plant of one of the peers' equations. Collective."""
    problem = _Peer()
    problem.equation = equation
    config = EnvConfig(
        system="problem",
        options=ProblemOptions(equation),
        agents=problem.agents.counts,
        horizon=peers.CONTROL_STEPS * peers.SUBSTEPS * peers.TIME_STEP,
        control_steps=peers.CONTROL_STEPS,
        observation_radius=0,
    )
    return ProblemPlant(config, problem, problem.mesh(comm))


def in_our_order(actions: np.ndarray) -> np.ndarray:
    """Coefficients (20, 16) of the peers, whose bumps count along x first: (20, 16, 1)."""
    table = actions.reshape(-1, peers.BUMPS, peers.BUMPS)
    return table.transpose(0, 2, 1).reshape(len(actions), -1, 1)


def problem_step() -> dict[str, float]:
    """Times of a step and of a gradient, and how much longer the peers take.

    ``ratio_by_hand``: time of a step by hand over ours, the lower one of both equations;
    ``ratio_dolfinx_adjoint``: of J with its gradient, left out where dolfinx-adjoint is not
    installed; ``ratio_dedicated``: an interval of ``density-vacuum`` over the same transport as a
    problem, whose scheme is plain Galerkin without a limiter.

    Raises:
        RuntimeError: the costs or gradients of the peers differ from ours.
    """
    result: dict[str, float] = {}
    for equation in peers.EQUATIONS:
        result |= _equation(equation, MPI.COMM_WORLD)
    for name in ("by_hand", "dolfinx_adjoint"):
        ratios = [value for key, value in result.items() if key.endswith(f"_ratio_{name}")]
        if ratios:
            result[f"ratio_{name}"] = min(ratios)
    return result | _dedicated()


def _equation(equation: str, comm: mpi.Comm) -> dict[str, float]:
    """Times of one equation."""
    actions = peers.coefficients()
    ours, hand = (
        EpisodeAdjoint(plant_for(equation, comm).adjoint()),
        peers.ByHand(equation, peers.Setting(comm)),
    )
    mine, none = in_our_order(actions), ours.plant.parameter_low
    gradient = ours.gradient(none, mine)
    _require(equation, "by hand", gradient.cost, hand.run(actions))
    steps = peers.CONTROL_STEPS * peers.SUBSTEPS
    pairs = np.array(
        [
            (best_ms(lambda: ours.cost(none, mine), 2), best_ms(lambda: hand.run(actions), 2))
            for _ in range(ROUNDS)
        ]
    )
    result = {
        f"{equation}_step_ms": median(pairs[:, 0].tolist()) / steps,
        f"{equation}_by_hand_ms": median(pairs[:, 1].tolist()) / steps,
        f"{equation}_ratio_by_hand": median((pairs[:, 1] / pairs[:, 0]).tolist()),
        f"{equation}_gradient_ms": best_ms(lambda: ours.gradient(none, mine), 3),
    }
    if peers.dolfinx_adjoint_version() is None:
        mpi.note("bench problem-step: dolfinx-adjoint is not installed, its ratio is left out")
        return result
    other = peers.by_dolfinx_adjoint(equation, comm)
    assert other.gradient is not None
    assert other.gradient_s is not None
    _require(equation, "by dolfinx-adjoint", gradient.cost, other.cost)
    theirs = in_our_order(other.gradient)
    _require(equation, "gradient by dolfinx-adjoint", gradient.gradient, theirs)
    result[f"{equation}_dolfinx_adjoint_ms"] = 1e3 * other.gradient_s
    result[f"{equation}_ratio_dolfinx_adjoint"] = (
        1e3 * other.gradient_s / result[f"{equation}_gradient_ms"]
    )
    return result


def _require(
    equation: str, peer: str, ours: float | np.ndarray, theirs: float | np.ndarray
) -> None:
    apart, size = np.linalg.norm(np.subtract(theirs, ours)), np.linalg.norm(ours)
    if not apart <= SAME * size:
        raise RuntimeError(f"{equation}, {peer}: {apart:.3g} from ours, whose norm is {size:.3g}")


class _Transport(Problem):
    """The density of ``density-vacuum``, carried by the agents' velocity, without a limiter."""

    agents, components, substeps = Grid(8, 8), 2, 10
    actuators = Bumps(width=0.125)

    def mesh(self, comm: mpi.Comm) -> TaggedMesh:
        return build(configuration.load("density-vacuum").env.mesh, comm)

    def residual(self, u, u_old, v, control, dt):  # type: ignore[no-untyped-def, override]
        flux = 1e-3 * ufl.grad(u) - control * u
        return (u - u_old) / dt * v * ufl.dx + ufl.inner(flux, ufl.grad(v)) * ufl.dx

    def cost(self, u, control):  # type: ignore[no-untyped-def]
        squares = 0.025 * ufl.inner(control, control)
        smooth = 0.005 * ufl.inner(ufl.grad(control), ufl.grad(control))
        return {"state": 0.5 * u**2 * ufl.dx, "control": (squares + smooth) * ufl.dx}

    def initial(self, x):  # type: ignore[no-untyped-def, override]
        return 10.0 / np.pi * np.exp(-10.0 * ((x[0] + 0.2) ** 2 + x[1] ** 2))


def _dedicated() -> dict[str, float]:
    """An interval of density-vacuum, by its own plant and as a problem."""
    env = envs.make(configuration.load("density-vacuum").env)
    density = plant_of(env)
    config = EnvConfig(system="problem", options=ProblemOptions("transport"))
    problem = _Transport()
    generic = ProblemPlant(config, problem, problem.mesh(MPI.COMM_WORLD))
    actions = 0.3 * np.random.default_rng(0).uniform(-1.0, 1.0, (density.n_agents, 2))
    times = []
    for plant in (density, generic):
        plant.reset(0.5 * (plant.parameter_low + plant.parameter_high))
        times.append(best_ms(partial(plant.step, actions), 10, 3))
    return {
        "dedicated_interval_ms": times[0],
        "transport_interval_ms": times[1],
        "ratio_dedicated": times[0] / times[1],
    }
