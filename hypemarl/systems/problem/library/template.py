"""Title of the problem.

The equation, with the meaning of its symbols and the source:

    du/dt = kappa laplace u + r u + sum_i a_i q_i   in the unit square, no flux through its sides
"""

import dolfinx
import numpy as np
from ufl import dx, grad, inner

from hypemarl import Bumps, Grid, Problem


class Template(Problem):
    """Heat equation with a source that grows: keep u near zero."""

    # An episode: its length, control intervals, and time steps of the solver in each of them.
    horizon, control_steps, substeps = 2.0, 20, 4
    # mu, drawn anew for every episode from these ranges; the agents know it.
    parameters = {"kappa": (0.01, 0.1), "r": (0.5, 1.5)}
    # 4 x 4 agents, each with a Gaussian bump q_i of amplitude a_i within the bounds.
    agents, actuators, bounds = Grid(4, 4), Bumps(width=0.15), (-2.0, 2.0)
    # Settings of training, see `hypemarl list --keys`.
    settings = {"agent.encoding_size": 32, "agent.hyper_width": 64, "agent.actor_hidden": (32,)}

    def mesh(self, comm):
        return dolfinx.mesh.create_unit_square(comm, 16, 16)

    def space(self):
        return ("Lagrange", 1)

    # One time step: an equation for u = u^{n+1}, tested by v. Natural conditions need no term;
    # others are stated by `boundary`, see docs/problems.md.
    def residual(self, u, u_old, v, control, mu, dt):
        rate = (u - u_old) / dt - mu.r * u - control
        return (rate * v + mu.kappa * inner(grad(u), grad(v))) * dx

    # J is the integral in time of the sum of these terms.
    def cost(self, u, control):
        return {"state": 0.5 * u**2 * dx, "control": 0.005 * control**2 * dx}

    # What agents see: means over their cells, of their own and of the agents around them.
    def observe(self, u):
        return [u]

    # The random numbers of an episode, and the initial state that is made of them.
    def draw(self, rng):
        return rng.normal(size=(3, 3))

    def initial(self, x, draw):
        waves = np.cos(np.pi * np.arange(3)[:, None, None] * x[:2])
        return 0.5 * np.einsum("ij,in,jn->n", draw, waves[:, 0], waves[:, 1])
