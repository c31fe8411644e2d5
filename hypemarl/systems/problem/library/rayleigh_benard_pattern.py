"""Rayleigh-Benard convection whose rolls are to stand at given places."""

from ufl import cos, dx, pi, sin

from hypemarl.systems.problem.library.rayleigh_benard import RayleighBenard


class RayleighBenardPattern(RayleighBenard):
    """Heaters move rolls of a random phase to where fluid is to rise, x = 0 and pi / 2.

    The cost is 1/2 |u_y - u_d|^2, u_d = 0.45 cos(4 x) sin(pi y), about as strong as the rolls. Only
    agents who know their places know where fluid is to rise: all else distinguishes no place.
    """

    horizon, control_steps = 30.0, 30

    def target(self, x):
        return 0.45 * cos(4.0 * x[0]) * sin(pi * x[1])

    def cost(self, u, control, x):
        state = 0.5 * (u[0][1] - self.target(x)) ** 2
        return {"state": state * dx, "control": 1e-3 * control**2 * self.ds("bottom")}

    def show(self, u, x):
        return {"u_y": u[0][1], "target": self.target(x)}
