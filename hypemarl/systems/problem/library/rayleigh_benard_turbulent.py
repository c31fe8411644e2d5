"""Rayleigh-Benard convection at higher Rayleigh numbers, where rolls break up.

In time BDF2 with extrapolated transport: explicit Euler steps would have to be far shorter. For
Ra 8e5 take ``rayleigh=8e5``, ``cells=[48, 20]``, ``substeps=80``.
"""

from ufl import dot, dx

from hypemarl.systems.problem.library.rayleigh_benard import RayleighBenard


class RayleighBenardTurbulent(RayleighBenard):
    """Rayleigh-Benard convection at Ra 4e5, second order in time."""

    rayleigh, cells, substeps = 4e5, (42, 16), 60

    def residual(self, u, u_old, u_older, v, dt, x):
        (U, _, T), (U1, _, T1), (U2, _, T2), (w, _, s) = u, u_old, u_older, v
        rate = dot(3 * U - 4 * U1 + U2, w) + (3 * T - 4 * T1 + T2) * s
        transport = 2 * self.transport(u_old, v) - self.transport(u_older, v)
        return (rate / (2 * dt) + transport) * dx + self.linear(u, v, x)

    first_residual = RayleighBenard.residual
