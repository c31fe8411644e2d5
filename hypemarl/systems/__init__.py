"""Controlled systems: each a folder with its plant, its cost, its adjoint and its checks."""
