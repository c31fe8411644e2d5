"""`hypemarl bench density-step` and `reset`: the plant beside LinearProblem on the same mesh."""

from collections.abc import Callable, Iterator

import numpy as np
import ufl
from dolfinx import fem

from hypemarl.bench.timing import median_ms
from hypemarl.config import EnvConfig, MeshConfig
from hypemarl.envs import make
from hypemarl.mpi import world
from hypemarl.solvers.fem_petsc import petsc
from hypemarl.systems.density.options import DensityOptions
from hypemarl.systems.density.plant import DensityPlant

TIME_STEP = 0.01
LU = {"ksp_type": "preonly", "pc_type": "lu"}
# density-vacuum with one time step per control interval, on about 6,500 nodes
MESH, OPTIONS = MeshConfig(element_size=0.0269), DensityOptions(max_time_step=TIME_STEP)
CONFIG = EnvConfig(mesh=MESH, horizon=20 * TIME_STEP, control_steps=20, options=OPTIONS)


def density_step() -> dict[str, float]:
    """One plant step (64 agents, 128 amplitudes) against LinearProblem, rebuilt and reused.

    Ours includes actuation, transport, observations and the agents' shares of the cost; the peers
    only set the velocity, assemble and solve one implicit Euler step by LU.
    """
    env = make(CONFIG)
    plant = env.plant
    assert isinstance(plant, DensityPlant)
    actions = _random_actions(plant.n_agents)
    plant.reset(0.5 * (plant.parameter_low + plant.parameter_high))
    counts = []

    def ours() -> None:
        counts.append(plant.step(next(actions))[2]["time_steps"])

    ms = median_ms(ours, 50, warmup=10)
    transport = median_ms(lambda: plant.solver.advance(TIME_STEP), 50)
    reused = median_ms(_implicit(plant, actions, rebuilt=False), 5)
    rebuilt = median_ms(_implicit(plant, actions, rebuilt=True), 3, warmup=1)
    nodes, steps = plant.space.total(plant.space.n_owned), float(np.mean(counts))
    size = {"nodes": nodes, "agents": plant.n_agents, "ranks": world().size, "time_steps": steps}
    times = {"ms": ms, "ms_transport": transport, "ms_reused": reused, "ms_rebuilt": rebuilt}
    return size | times | {"ratio_reused": reused / ms, "ratio_rebuilt": rebuilt / ms}


def reset() -> dict[str, float]:
    """Start of an episode on about 6,500 nodes: from parameters and from a snapshot."""
    env = make(CONFIG)
    parameters = 0.5 * (env.parameter_low + env.parameter_high)
    ms = median_ms(lambda: env.reset_arrays(parameters), 50)
    state = env.snapshot()
    return {"ms": ms, "ms_restore": median_ms(lambda: env.restore(state), 50)}


def _random_actions(n_agents: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(0)
    while True:
        yield generator.uniform(-1.0, 1.0, (n_agents, 2))


class _Implicit:
    """An implicit Euler step of the same equation in UFL, as a user writes it."""

    def __init__(self, plant: DensityPlant) -> None:
        mesh = plant.space.mesh
        self.space = fem.functionspace(mesh, ("Lagrange", 1))
        self.u = fem.Function(fem.functionspace(mesh, ("Lagrange", 1, (2,))))
        self.old = fem.Function(self.space)
        self.old.interpolate(lambda x: np.exp(-10 * (x[0] ** 2 + x[1] ** 2)))
        self.nu = fem.Constant(mesh, plant.options.viscosity)
        self.rows = len(self.old.x.array)

    def set_velocity(self, plant: DensityPlant, amplitudes: np.ndarray) -> None:
        self.u.x.array[:] = plant.actuators.field(amplitudes)[: self.rows].ravel()

    def problem(self) -> petsc.LinearProblem:
        y, v = ufl.TrialFunction(self.space), ufl.TestFunction(self.space)
        flux = self.nu * ufl.grad(y) - self.u * y
        a = (y * v + TIME_STEP * ufl.inner(flux, ufl.grad(v))) * ufl.dx
        return petsc.LinearProblem(
            a, self.old * v * ufl.dx, petsc_options=LU, petsc_options_prefix="bench_"
        )


def _implicit(
    plant: DensityPlant, actions: Iterator[np.ndarray], *, rebuilt: bool
) -> Callable[[], None]:
    """A step of the peer, its problem rebuilt each time or made once."""
    implicit = _Implicit(plant)
    once = None if rebuilt else implicit.problem()

    def step() -> None:
        implicit.set_velocity(plant, next(actions))
        implicit.old.x.array[:] = (once or implicit.problem()).solve().x.array

    return step
