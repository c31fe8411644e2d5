"""Density control by the Fokker-Planck equation."""

from hypemarl.systems.density.options import DENSITY, IN_FLUID

SYSTEMS = (DENSITY, IN_FLUID)
