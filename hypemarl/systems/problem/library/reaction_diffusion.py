"""FitzHugh-Nagumo equations in a periodic square.

FitzHugh, Biophys. J. 1 (1961) 445; Nagumo, Arimoto and Yoshizawa, Proc. IRE 50 (1962) 2061. With
this current every point oscillates around the unstable state u = 0, at first out of phase with the
others: waves. In time BDF2 with extrapolated reaction, whose matrix is constant.
"""

import dolfinx
import numpy as np
from ufl import as_vector, cos, dx, grad, inner, pi

from hypemarl import Bumps, Grid, Problem
from hypemarl.systems.problem.library import LOCAL


class ReactionDiffusion(Problem):
    """FitzHugh-Nagumo: from waves to a standing pattern u_d, which is unstable.

    du/dt = laplace u + u - u^3/3 - w + I + sum_i a_i q_i,  dw/dt = epsilon (u + beta - gamma w)

    u_d = mu_x cos(2 pi x / L) + mu_y cos(2 pi y / L).
    """

    side, cells = 18.0, 18
    current, epsilon, beta, gamma = 0.875, 0.08, 0.7, 0.8
    horizon, control_steps, substeps = 20.0, 40, 3
    parameters = {"along_x": (-1.0, 1.0), "along_y": (-1.0, 1.0)}
    agents, actuators, bounds = Grid(6, 6), Bumps(width=1.5), (-2.0, 2.0)
    periodic = (0, 1)
    settings = {**LOCAL, "agent.reward_scale": 40.0, "agent.encoding_size": 32}

    def mesh(self, comm):
        corners = [(0.0, 0.0), (self.side, self.side)]
        return dolfinx.mesh.create_rectangle(comm, corners, (self.cells, self.cells))

    def space(self):
        return [("Lagrange", 1), ("Lagrange", 1)]

    def residual(self, u, u_old, u_older, v, control, dt):
        y, y1, y2 = as_vector(u), as_vector(u_old), as_vector(u_older)
        return self.step((3 * y - 4 * y1 + y2) / (2 * dt), 2 * y1 - y2, y, v, control)

    def first_residual(self, u, u_old, v, control, dt):
        y, y1 = as_vector(u), as_vector(u_old)
        return self.step((y - y1) / dt, y1, y, v, control)

    def step(self, rate, known, u, v, control):
        (y, w), (p, q) = u, v
        reaction = known[0] - known[0] ** 3 / 3 + self.current - w + control
        recovery = self.epsilon * (y + self.beta - self.gamma * w)
        return ((rate[0] - reaction) * p + inner(grad(y), grad(p)) + (rate[1] - recovery) * q) * dx

    def target(self, x, mu):
        k = 2 * pi / self.side
        return mu.along_x * cos(k * x[0]) + mu.along_y * cos(k * x[1])

    def cost(self, u, control, x, mu):
        error, area = u[0] - self.target(x, mu), self.side**2
        return {"state": error**2 / area * dx(degree=4), "control": 0.02 * control**2 / area * dx}

    def observe(self, u):
        return [u[0], u[1]]

    def show(self, u, x, mu):
        return {"u": u[0], "target": self.target(x, mu)}

    def draw(self, rng):
        return rng.normal(size=(2, 5, 5))

    def initial(self, x, draw):
        angles = [np.outer([1, 2], 2 * np.pi * s / self.side) for s in x[:2]]
        waves = [np.vstack([np.ones_like(x[:1]), np.cos(k), np.sin(k)]) for k in angles]
        y, w = np.tanh(np.einsum("fij,in,jn->fn", draw, *waves))
        return 2.0 * y, self.beta / self.gamma + 0.5 * w


class ReactionDiffusionHomogeneous(ReactionDiffusion):
    """FitzHugh-Nagumo led to the uniform state u_d = mu, where no place differs from another."""

    parameters = {"level": (-1.0, 1.0)}

    def target(self, x, mu):
        return mu.level
