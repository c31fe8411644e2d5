"""Unstable heat equation in a box.

A linear reaction, as of a self-heating material (Frank-Kamenetskii, Diffusion and Heat Transfer in
Chemical Kinetics, 1969, linearised at rest), makes the slow modes cos(pi k . x) grow at the rates
r - kappa pi^2 |k|^2. In time the Crank-Nicolson scheme.
"""

import dolfinx
import numpy as np
from ufl import cos, dx, grad, inner, pi

from hypemarl import Bumps, Grid, Problem
from hypemarl.systems.problem.library import LOCAL


class Heat3d(Problem):
    """du/dt = kappa laplace u + r u + sum_i (a_i + noise) q_i, to the profile u_d of mu.

    u_d = mu_x cos(pi x) + mu_y cos(pi y) + mu_z cos(pi z) between insulated walls.
    """

    name = "heat-3d"
    diffusivity, growth, cells = 0.05, 1.0, 12
    horizon, control_steps, substeps = 2.0, 20, 1
    parameters = {"along_x": (-1.0, 1.0), "along_y": (-1.0, 1.0), "along_z": (-1.0, 1.0)}
    agents, actuators, bounds = Grid(4, 4, 4), Bumps(width=0.12), (-10.0, 10.0)
    noise = 1.0
    settings = {**LOCAL, "agent.reward_scale": 100.0, "agent.encoding_size": 48}

    def mesh(self, comm):
        return dolfinx.mesh.create_unit_cube(comm, *3 * [self.cells])

    def residual(self, u, u_old, v, control, dt):
        middle = 0.5 * (u + u_old)
        spread = self.diffusivity * inner(grad(middle), grad(v))
        return ((u - u_old) / dt * v + spread - (self.growth * middle + control) * v) * dx

    def target(self, x, mu):
        along_y, along_z = mu.along_y * cos(pi * x[1]), mu.along_z * cos(pi * x[2])
        return mu.along_x * cos(pi * x[0]) + along_y + along_z

    def cost(self, u, control, x, mu):
        error = u - self.target(x, mu)
        return {"state": 0.5 * error**2 * dx(degree=2), "control": 1e-3 * control**2 * dx}

    def show(self, u, x, mu):
        return {"temperature": u, "target": self.target(x, mu)}

    def draw(self, rng):
        return 0.5 * rng.normal(size=(2, 2, 2))

    def initial(self, x, draw):
        waves = [[np.ones_like(s), np.cos(np.pi * s)] for s in x]
        return np.einsum("ijk,in,jn,kn->n", draw, *waves)


class Heat3dHomogeneous(Heat3d):
    """Unstable heat led to the uniform temperature mu, where no place differs from another."""

    name = "heat-3d-homogeneous"
    parameters = {"level": (-1.0, 1.0)}

    def target(self, x, mu):
        return mu.level
