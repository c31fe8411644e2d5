"""Observations, mu and gradients by which policies are diagnosed."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Probe(NamedTuple):
    """What E episodes of T steps show of n agents' policies."""

    observations: Tensor
    """(E, n, T, k)"""
    mu: Tensor
    """(E, n_mu), scaled"""
    mask: Tensor
    """(E, T), 1 where the step exists"""
    gradient: Tensor | None = None
    """(E, n, T, m) dJ/da of the objective J (to be made larger) at the unit actions, zero where the
    step does not exist; None where nobody knows it"""
