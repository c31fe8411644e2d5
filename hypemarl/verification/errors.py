"""L2 errors of Taylor-Hood fields against exact ones."""

from collections.abc import Sequence

import numpy as np
import ufl
from dolfinx import fem

from hypemarl.mpi import sum_over_ranks
from hypemarl.solvers.taylor_hood import TaylorHood


def as_functions(
    space: TaylorHood, velocity: np.ndarray, pressure: np.ndarray
) -> tuple[list[fem.Function], fem.Function]:
    """Velocity components (2, n_velocity_local) and pressure (n_pressure_local,). Local."""
    components = [fem.Function(space.V) for _ in velocity]
    for function, values in zip(components, velocity, strict=True):
        function.x.array[:] = values
    p = fem.Function(space.Q)
    p.x.array[:] = pressure
    return components, p


def l2_errors(
    space: TaylorHood,
    velocity: np.ndarray,
    pressure: np.ndarray,
    exact: tuple[Sequence, ufl.core.expr.Expr],
    area: float,
) -> tuple[float, float]:
    """L2 errors of velocity and pressure, the latter up to a constant. Collective.

    ``exact``: two components and a pressure that UFL can integrate; area: of the domain.
    """
    components, p = as_functions(space, velocity, pressure)
    dx = ufl.dx(space.mesh, degree=8)
    difference = p - exact[1]
    parts = [(v - true) ** 2 * dx for v, true in zip(components, exact[0], strict=True)]
    parts += [difference * dx, difference**2 * dx]
    integrals = np.array([fem.assemble_scalar(fem.form(part)) for part in parts])
    first, second, offset, square = sum_over_ranks(space.comm, integrals)
    return float(np.sqrt(first + second)), float(np.sqrt(max(square - offset**2 / area, 0.0)))
