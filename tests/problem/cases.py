"""Small problems that use every part of hypemarl.Problem once."""

from __future__ import annotations

import dolfinx
import numpy as np
from mpi4py import MPI
from ufl import as_vector, cos, dot, dS, dx, grad, inner, jump, nabla_grad, sin, sqrt

from hypemarl import (
    Bumps,
    Dirichlet,
    Fields,
    Grid,
    Hats,
    Parts,
    Patches,
    Points,
    PointValue,
    Problem,
)
from hypemarl.config import EnvConfig
from hypemarl.optimal.trajectory import EpisodeAdjoint
from hypemarl.systems.problem.options import ProblemOptions
from hypemarl.systems.problem.plant import ProblemPlant


class Heat(Problem):
    """du/dt = kappa laplace u + sum_i a_i q_i: linear, one matrix for each mu."""

    horizon, control_steps, substeps = 1.0, 4, 3
    parameters = {"kappa": (0.01, 0.1)}
    agents, actuators = Grid(2, 2), Bumps(width=0.2)

    def mesh(self, comm):
        return dolfinx.mesh.create_unit_square(comm, 8, 8)

    def residual(self, u, u_old, v, control, mu, dt):
        return ((u - u_old) / dt * v + mu.kappa * inner(grad(u), grad(v)) - control * v) * dx

    def cost(self, u, control):
        return {"state": 0.5 * u**2 * dx, "control": 0.005 * control**2 * dx}

    def draw(self, rng):
        return rng.normal()

    def initial(self, x, draw):
        return np.sin(np.pi * x[0]) * draw


class Walls(Heat):
    """The temperatures of two walls are the control; the third one's follows time and mu.

    Costs on the boundary, values at points, means over a wall, listed agents, quadrilaterals, the
    trapezoidal rule in time.
    """

    agents, actuators = Points([(0.1, 0.2), (0.5, 0.3), (0.9, 0.4)]), Bumps(width=0.4)
    parameters = {"kappa": (0.01, 0.1), "rate": (0.5, 2.0)}
    quadrature = "trapezoid"
    observation_radius = 0

    def mesh(self, comm):
        cell = dolfinx.mesh.CellType.quadrilateral
        return dolfinx.mesh.create_unit_square(comm, 6, 6, cell)

    def space(self):
        return ("Lagrange", 2)

    def parts(self):
        return {
            "bottom": lambda x: np.isclose(x[1], 0),
            "left": lambda x: np.isclose(x[0], 0),
            "top": lambda x: np.isclose(x[1], 1),
        }

    def residual(self, u, u_old, v, control, mu, dt, t):
        source = cos(mu.rate * t) * v
        return ((u - u_old) / dt * v + mu.kappa * inner(grad(u), grad(v)) - source) * dx

    def boundary(self, control, mu, t, x):
        bottom = Dirichlet(1.0 + 0.5 * control, "bottom")
        return [bottom, Dirichlet(sin(mu.rate * t) * x[0], "top")]

    def cost(self, u, control, t):
        wall = (u - sin(t)) ** 2 * self.ds("left")
        return {"state": u**2 * dx, "wall": wall, "power": 0.1 * control**2 * self.ds("bottom")}

    def observe(self, u, mu):
        x = [u.dx(1) * self.ds("bottom"), PointValue(u * u), PointValue(u.dx(0), (0.05, 0.1))]
        return [*x, mu.kappa * u]


class Reaction(Problem):
    """Allen-Cahn equation, nonlinear in its step, in a box, with noise on the actuators."""

    horizon, control_steps, substeps = 0.5, 2, 2
    parameters = {"noise": (0.0, 0.3)}
    noise = "noise"
    agents, actuators, bounds = Grid(2, 2, 1), Patches(), (-2.0, 2.0)

    def mesh(self, comm):
        return dolfinx.mesh.create_unit_cube(comm, 4, 4, 3)

    def residual(self, u, u_old, v, control, dt):
        return (
            (u - u_old) / dt * v + 0.02 * inner(grad(u), grad(v)) + (u**3 - u - control) * v
        ) * dx

    def cost(self, u, control):
        return {"state": 0.5 * (u - 0.5) ** 2 * dx, "mixed": 0.05 * control**2 * u**2 * dx}

    def initial(self, x):
        return 0.1 * np.cos(3 * x[0]) + 0.2 * x[2]


class Flow(Problem):
    """Boussinesq equations, mixed, transport of the step before, two components of control."""

    horizon, control_steps, substeps = 0.5, 2, 2
    agents, components, periodic = Grid(3, 1), 2, (0,)
    actuators = Hats(width=0.5, part="bottom", axes=(0,), mean_free=True, limit=0.2)

    def mesh(self, comm):
        return dolfinx.mesh.create_rectangle(comm, [(0, 0), (1.5, 1)], [9, 4])

    def space(self):
        return [("Lagrange", 2, (2,)), ("Lagrange", 1), ("Lagrange", 2)]

    def parts(self):
        return {"bottom": lambda x: np.isclose(x[1], 0), "top": lambda x: np.isclose(x[1], 1)}

    def residual(self, u, u_old, v, control, dt):
        (w, p, T), (w0, _, T0), (z, q, S) = u, u_old, v
        momentum = dot(w - w0, z) / dt + dot(dot(w0, nabla_grad(w0)), z) - T0 * z[1]
        momentum += 0.05 * inner(grad(w), grad(z)) - p * w_div(z) - q * w_div(w) - 1e-9 * p * q
        heat = (T - T0) / dt * S + dot(w0, grad(T)) * S + 0.05 * dot(grad(T), grad(S))
        return (momentum + heat) * dx

    def boundary(self, control):
        bottom = [Dirichlet(1.0 + 0.5 * control[0], "bottom", field=2)]
        slip = as_vector([0.3 * control[1], 0.0])
        return [
            *bottom,
            Dirichlet(slip, "bottom", 0),
            Dirichlet(0.0, "top", 0),
            Dirichlet(0, "top", 2),
        ]

    def cost(self, u, control):
        (w, _, T) = u
        return {"flux": w[1] * T * dx, "control": 0.1 * dot(control, control) * self.ds("bottom")}

    def observe(self, u):
        return [u[0][0], u[2], sqrt(1.0 + dot(u[0], u[0]))]

    def initial(self, x):
        return None, 0.0, 1 - x[1] + 0.05 * np.cos(2 * np.pi * x[0] / 1.5) * np.sin(np.pi * x[1])


class Older(Problem):
    """Burgers' equation by BDF2 with extrapolated transport, agents on marked parts of a line."""

    horizon, control_steps, substeps = 0.5, 3, 2
    agents, periodic = Parts("first", "last"), (0,)
    actuators = Fields(lambda x, p: np.cos(2 * np.pi * (x[0][:, None] - p[:, 0])))

    def mesh(self, comm):
        return dolfinx.mesh.create_unit_interval(comm, 24)

    def regions(self):
        return {"first": lambda x: x[0] <= 0.25 + 1e-9, "last": lambda x: x[0] >= 0.75 - 1e-9}

    def residual(self, u, u_old, u_older, v, control, dt):
        rate = (3 * u - 4 * u_old + u_older) / (2 * dt)
        carried = 2 * u_old * u_old.dx(0) - u_older * u_older.dx(0)
        return ((rate + carried - control) * v + 0.02 * u.dx(0) * v.dx(0)) * dx

    def first_residual(self, u, u_old, v, control, dt):
        rate = (u - u_old) / dt + u_old * u_old.dx(0)
        return ((rate - control) * v + 0.02 * u.dx(0) * v.dx(0)) * dx

    def cost(self, u, control):
        kinks = 0.01 * jump(u.dx(0)) ** 2 * dS
        return {"state": 0.5 * u**2 * dx + kinks, "control": 0.1 * control**2 * self.dx("first")}

    def initial(self, x):
        return np.sin(2 * np.pi * x[0])


CASES = (Heat, Walls, Reaction, Flow, Older)


def w_div(w):
    return w[0].dx(0) + w[1].dx(1)


def settings(cls: type[Problem], **changes: object) -> EnvConfig:
    """The configuration that a problem's class states."""
    env = cls.scenario()["env"]
    values = {"agents": tuple(env["agents"]), "observation_radius": env["observation_radius"]}
    values |= {"horizon": env["horizon"], "control_steps": env["control_steps"]} | changes
    return EnvConfig(system="problem", options=ProblemOptions(cls.name), **values)


def plant(cls: type[Problem], comm: MPI.Intracomm = MPI.COMM_SELF) -> ProblemPlant:
    problem = cls()
    return ProblemPlant(settings(cls), problem, problem.mesh(comm))


def parameters(made: ProblemPlant) -> np.ndarray:
    return made.parameter_low + 0.3 * (made.parameter_high - made.parameter_low)


def actions(made: ProblemPlant, seed: int = 0, steps: int | None = None) -> np.ndarray:
    shape = (steps or made.config.control_steps, made.n_agents, made.action_size)
    return 0.5 * made.action_high * np.random.default_rng(seed).uniform(-1, 1, shape)


def gradient(made: ProblemPlant) -> tuple[float, np.ndarray]:
    result = EpisodeAdjoint(made.adjoint()).gradient(parameters(made), actions(made))
    return result.cost, result.gradient
