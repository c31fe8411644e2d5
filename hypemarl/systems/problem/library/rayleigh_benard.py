"""Rayleigh-Benard convection between a heated bottom and a cold top.

Boussinesq approximation in free-fall units, sqrt(g alpha Delta T H) of velocity: height 1,
temperatures 0 at the top and 1 in the mean at the bottom, nu = sqrt(Pr / Ra), kappa = nu / Pr.
Segments of the bottom as agents: Vignon et al., Phys. Fluids 35 (2023) 065146. In time BDF2 with
extrapolated transport, whose matrix is constant.
"""

from math import pi, sqrt

import dolfinx
import numpy as np
from ufl import div, dot, dx, grad, inner, nabla_grad

from hypemarl import Dirichlet, Grid, Hats, Problem


class RayleighBenard(Problem):
    """Heaters at the bottom, of fixed mean temperature, are to lower the heat transport Nu.

    Nu - 1 = sqrt(Ra Pr) <u_y T>, the mean over the domain; a heater's temperature is
    1 + a_i - mean(a), scaled into [0.25, 1.75]. At the start there are rolls of wave number 4.
    """

    rayleigh, prandtl, width, cells = 8e4, 0.7, pi, (30, 12)
    horizon, control_steps, substeps = 60.0, 60, 30
    agents, bounds, observation_radius = Grid(12, 1), (-0.75, 0.75), 1
    actuators = Hats(width=pi / 12, part="bottom", axes=(0,), mean_free=True, limit=0.75)
    spin_up, states = 70.0, 16
    periodic: tuple[int, ...] = (0,)
    settings = {
        "agent.encoding_size": 16,
        "agent.encoding_frequency": 1.5,
        "agent.hyper_width": 64,
        "agent.actor_hidden": [32],
        "agent.critic_hidden": [64],
        "agent.apg.rate": 5e-3,
        "agent.apg.average_rate": 0.1,
        "training.episodes": 40,
        "training.validation_every": 10,
        "training.validation_size": 4,
        "training.held_out_size": 8,
    }

    def mesh(self, comm):
        corners, cells = [(0.0, 0.0), (self.width, 1.0)], list(self.cells)
        cells[0] = round(cells[0] * self.width / pi)
        mesh = dolfinx.mesh.create_rectangle(comm, corners, cells)
        y = mesh.geometry.x[:, 1]
        mesh.geometry.x[:, 1] = 0.3 * y + 0.35 * (1.0 - np.cos(np.pi * y))  # finer at the walls
        return mesh

    def space(self):
        return [("Lagrange", 2, (2,)), ("Lagrange", 1), ("Lagrange", 2)]

    def parts(self):
        return {"bottom": lambda x: np.isclose(x[1], 0.0), "top": lambda x: np.isclose(x[1], 1.0)}

    def boundary(self, control):
        hot = Dirichlet(1.0 + control, "bottom", field=2)
        return [Dirichlet((0.0, 0.0), field=0), hot, Dirichlet(0.0, "top", field=2)]

    def residual(self, u, u_old, u_older, v, dt, x):
        (U, _, T), (U1, _, T1), (U2, _, T2), (w, _, s) = u, u_old, u_older, v
        rate = dot(3 * U - 4 * U1 + U2, w) + (3 * T - 4 * T1 + T2) * s
        transport = 2 * self.transport(u_old, v) - self.transport(u_older, v)
        return (rate / (2 * dt) + transport) * dx + self.linear(u, v, x)

    def first_residual(self, u, u_old, v, dt, x):
        (U, _, T), (U1, _, T1), (w, _, s) = u, u_old, v
        rate = dot(U - U1, w) + (T - T1) * s
        return (rate / dt + self.transport(u_old, v)) * dx + self.linear(u, v, x)

    def transport(self, u, v):
        (U, _, T), (w, _, s) = u, v
        return dot(dot(U, nabla_grad(U)), w) + dot(U, grad(T)) * s

    def linear(self, u, v, x):
        (U, p, T), (w, q, s) = u, v
        nu = sqrt(self.prandtl / self.rayleigh)
        diffusion = nu * inner(grad(U), grad(w)) + nu / self.prandtl * dot(grad(T), grad(s))
        pressure = -p * div(w) - q * div(U) - 1e-10 * p * q  # the last term: its constant
        buoyancy = (T - 1.0 + x[1]) * w[1]  # less that of conduction, which a pressure balances
        return (diffusion + pressure - buoyancy) * dx

    def cost(self, u, control):
        flux = sqrt(self.rayleigh * self.prandtl) / self.width * u[0][1] * u[2]
        return {"convection": flux * dx, "control": 1e-3 * control**2 * self.ds("bottom")}

    def observe(self, u, x):
        return [u[0][1], u[0][0] * (1.0 - 2.0 * x[1]), u[2]]

    def show(self, u):
        return {"temperature": u[2], "u_y": u[0][1]}

    def draw(self, rng):
        return 2.0 * np.pi * rng.random(), 0.002 * rng.normal(size=(2, 3))

    def initial(self, x, draw):
        phase, small = draw
        k = [2.0 * np.pi * k * x[0] / self.width for k in (1, 2, 3)]
        waves = 0.05 * np.cos(4.0 * x[0] + phase) + small[0] @ np.cos(k) + small[1] @ np.sin(k)
        return None, None, 1.0 - x[1] + waves * np.sin(np.pi * x[1])


class RayleighBenardWalls(RayleighBenard):
    """Rayleigh-Benard convection between insulated side walls, where no place is like another."""

    periodic = ()
