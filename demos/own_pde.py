"""A PDE of one's own: 16 agents hold a bistable medium at a pattern that it would leave at once.

    hypemarl simulate demos/own_pde.py
    hypemarl demo demos/own_pde.py --train apg --yardsticks 150 --seeds 0 1 2 --run runs/own

The Allen-Cahn equation in the unit square, no flux through its sides,

    du/dt = kappa laplace u + r u (1 - u^2) + sum_i a_i q_i,   q_i(x) = exp(-|x - p_i|^2 / (2 w^2)),

is drawn to u = 1 or u = -1 everywhere. The agents are to lead it from a random state to the pattern
u_d = cos(pi x_1) cos(pi x_2) / 2, which is no state of rest: J = int_0^T int 1/2 (u - u_d)^2 +
beta/2 (sum_i a_i q_i)^2 dx dt. Each agent sees the means of u over its own cell of a 4 x 4 grid and
the cells around it, and knows mu = (kappa, r). Where to push depends on the place, how hard on the
state: a schedule of time cannot know it.
"""

import dolfinx
import numpy as np
from ufl import cos, dx, grad, inner, pi

from hypemarl import Bumps, Grid, Problem


class Bistable(Problem):
    """Allen-Cahn equation, led to a pattern that it would leave."""

    horizon, control_steps, substeps = 2.0, 20, 2
    parameters = {"kappa": (0.01, 0.02), "r": (1.0, 2.0)}
    agents, actuators, bounds = Grid(4, 4), Bumps(width=0.15), (-3.0, 3.0)
    settings = {"agent.apg.rate": 5e-3, "agent.encoding_size": 32, "agent.hyper_width": 64}

    def mesh(self, comm):
        return dolfinx.mesh.create_unit_square(comm, 16, 16)

    def residual(self, u, u_old, v, control, mu, dt):
        reaction = mu.r * u_old * (1 - u_old**2)
        rate = (u - u_old) / dt - reaction - control
        return (rate * v + mu.kappa * inner(grad(u), grad(v))) * dx

    def cost(self, u, control, x):
        error = u - self.target(x)
        return {"state": 0.5 * error**2 * dx, "control": 0.005 * control**2 * dx}

    def target(self, x):
        return 0.5 * cos(pi * x[0]) * cos(pi * x[1])

    def show(self, u, x):
        return {"u": u, "target": self.target(x)}

    def draw(self, rng):
        return rng.normal(size=(3, 3))

    def initial(self, x, draw):
        waves = np.cos(np.pi * np.arange(3)[:, None, None] * x[:2])
        return np.tanh(np.einsum("ij,in,jn->n", draw, waves[:, 0], waves[:, 1]))
