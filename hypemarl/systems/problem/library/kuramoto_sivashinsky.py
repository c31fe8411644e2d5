"""Kuramoto-Sivashinsky equation on a periodic interval.

Kuramoto and Tsuzuki, Prog. Theor. Phys. 55 (1976) 356; Sivashinsky, Acta Astronaut. 4 (1977) 1177.
At L = 22 its solutions are chaotic: Cvitanovic, Davidchack and Siminos, SIAM J. Appl. Dyn. Syst. 9
(2010) 1. In time BDF2 with extrapolated transport, whose matrix is constant.
"""

import dolfinx
import numpy as np
from ufl import cos, dx, pi, sin

from hypemarl import Bumps, Grid, Problem


class KuramotoSivashinsky(Problem):
    """dy/dt + y y_x + y_xx + y_xxxx = sum_i a_i q_i: from chaos to the wave y_d = sin(2 pi x / L).

    With w = y_xx as a second field.
    """

    length, cells, amplitude = 22.0, 64, 1.0
    horizon, control_steps, substeps = 10.0, 40, 5
    agents, actuators, bounds = Grid(8), Bumps(width=0.8), (-2.0, 2.0)
    periodic, spin_up, states = (0,), 50.0, 64
    settings = {
        "agent.credit": "local",
        "agent.gamma": 0.95,
        "agent.reward_scale": 2.0,
        "agent.encoding_size": 16,
        "agent.encoding_frequency": 1.5,
        "agent.hyper_width": 32,
        "agent.actor_rate": 3e-4,
        "agent.critic_rate": 1e-3,
        "agent.tau": 0.01,
        "agent.average_rate": 0.01,
        "agent.batch_episodes": 8,
        "agent.batch_steps": 32,
        "agent.apg.rate": 3e-3,
        "training.episodes": 60,
        "training.random_episodes": 10,
        "training.random_scale": 0.3,
    }

    def mesh(self, comm):
        return dolfinx.mesh.create_interval(comm, self.cells, (0.0, self.length))

    def space(self):
        return [("Lagrange", 2), ("Lagrange", 2)]

    def residual(self, u, u_old, u_older, v, control, dt):
        (y, _), (y1, _), (y2, _), (p, _) = u, u_old, u_older, v
        rate = (3 * y - 4 * y1 + y2) / (2 * dt)
        return (rate + 2 * y1 * y1.dx(0) - y2 * y2.dx(0)) * p * dx + self.linear(u, v, control)

    def first_residual(self, u, u_old, v, control, dt):
        (y, _), (y1, _), (p, _) = u, u_old, v
        return ((y - y1) / dt + y1 * y1.dx(0)) * p * dx + self.linear(u, v, control)

    def linear(self, u, v, control):
        (y, w), (p, q) = u, v
        return ((w - control) * p - w.dx(0) * p.dx(0) + w * q + y.dx(0) * q.dx(0)) * dx

    def target(self, x, mu):
        return self.amplitude * sin(2 * pi * x[0] / self.length)

    def cost(self, u, control, x, mu):
        error = u[0] - self.target(x, mu)
        return {"state": 0.5 * error**2 * dx, "control": 0.05 * control**2 * dx}

    def observe(self, u):
        return [u[0], u[0].dx(0)]

    def show(self, u, x, mu):
        return {"y": u[0], "target": self.target(x, mu)}

    def draw(self, rng):
        return 0.3 * rng.normal(size=(2, 3))

    def initial(self, x, draw):
        waves = [2 * np.pi * k * x[0] / self.length for k in (1, 2, 3)]
        return draw[0] @ np.cos(waves) + draw[1] @ np.sin(waves), None


class KuramotoSivashinskyHomogeneous(KuramotoSivashinsky):
    """Kuramoto-Sivashinsky led to y_d = 0, where no place differs from another."""

    amplitude = 0.0


class KuramotoSivashinskyMu(KuramotoSivashinsky):
    """Kuramoto-Sivashinsky led to the wave y_d of the amplitudes mu of its sine and cosine."""

    parameters = {"sine": (-1.0, 1.0), "cosine": (-1.0, 1.0)}

    def target(self, x, mu):
        wave = 2 * pi * x[0] / self.length
        return mu.sine * sin(wave) + mu.cosine * cos(wave)
