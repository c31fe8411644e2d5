"""Density control by the Fokker-Planck equation."""
