"""Stochastic viscous Burgers equation on a periodic interval.

Burgers, Adv. Appl. Mech. 1 (1948) 171; as a model of flow control under random forcing: Choi,
Temam, Moin and Kim, J. Fluid Mech. 253 (1993) 509. In time the implicit midpoint rule.
"""

import dolfinx
import numpy as np
from ufl import dx, pi, sin

from hypemarl import Bumps, Grid, Problem
from hypemarl.systems.problem.library import LOCAL


class Burgers(Problem):
    """du/dt + u u_x = nu u_xx + sum_i (a_i + noise) q_i: to the wave u_d = mu sin(2 pi x).

    Noise shakes every actuator anew in each control interval, and the initial state is random.
    """

    viscosity, cells = 0.02, 64
    horizon, control_steps, substeps = 2.0, 40, 2
    parameters = {"wave": (-1.0, 1.0)}
    agents, actuators, bounds = Grid(8), Bumps(width=0.06), (-5.0, 5.0)
    periodic, noise = (0,), 2.0
    settings = {
        **LOCAL,
        "agent.reward_scale": 500.0,
        "agent.encoding_size": 16,
        "agent.apg.rate": 1e-2,
    }

    def mesh(self, comm):
        return dolfinx.mesh.create_unit_interval(comm, self.cells)

    def residual(self, u, u_old, v, control, dt):
        middle = 0.5 * (u + u_old)
        slope = middle.dx(0)
        terms = (u - u_old) / dt * v + middle * slope * v + self.viscosity * slope * v.dx(0)
        return (terms - control * v) * dx

    def target(self, x, mu):
        return mu.wave * sin(2 * pi * x[0])

    def cost(self, u, control, x, mu):
        error = u - self.target(x, mu)
        return {"state": 0.5 * error**2 * dx, "control": 1e-3 * control**2 * dx}

    def observe(self, u):
        return [u, u.dx(0)]

    def show(self, u, x, mu):
        return {"u": u, "target": self.target(x, mu)}

    def draw(self, rng):
        return 0.5 * rng.normal(size=(2, 3))

    def initial(self, x, draw):
        waves = [2 * np.pi * k * x[0] for k in (0, 1, 2)]
        return draw[0] @ np.cos(waves) + draw[1] @ np.sin(waves)


class BurgersHomogeneous(Burgers):
    """Burgers led to the uniform speed u_d = mu, where no place differs from another."""

    parameters = {"speed": (-1.0, 1.0)}

    def target(self, x, mu):
        return mu.speed
