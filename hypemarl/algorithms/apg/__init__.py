"""Adjoint policy gradient."""
