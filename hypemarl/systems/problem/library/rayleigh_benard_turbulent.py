"""Rayleigh-Benard convection at higher Rayleigh numbers, where rolls break up."""

from hypemarl.systems.problem.library.rayleigh_benard import RayleighBenard


class RayleighBenardTurbulent(RayleighBenard):
    """Rayleigh-Benard convection at Ra 4e5; for 8e5 see docs/rayleigh_benard.md."""

    # full heaters are unstable at 60 steps a unit; developed after about 200 units
    rayleigh, cells, substeps, spin_up = 4e5, (42, 16), 75, 200.0
