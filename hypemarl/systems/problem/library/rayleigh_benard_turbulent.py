"""Rayleigh-Benard convection at higher Rayleigh numbers, where rolls break up."""

from hypemarl.systems.problem.library.rayleigh_benard import RayleighBenard


class RayleighBenardTurbulent(RayleighBenard):
    """Rayleigh-Benard convection at Ra 4e5; for 8e5 see docs/rayleigh_benard.md."""

    rayleigh, cells, substeps = 4e5, (42, 16), 60
