"""The specification refuses what cannot be, and scales mu."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hypemarl.coupling.spec import AgentSpec


def test_mu_is_scaled_and_a_fixed_parameter_is_zero(spec: AgentSpec) -> None:
    fixed = dataclasses.replace(spec, mu_low=np.array([0.0, 3.0]), mu_high=np.array([0.5, 3.0]))
    np.testing.assert_allclose(fixed.scale_mu(np.array([0.5, 3.0])), [1.0, 0.0])
    np.testing.assert_allclose(spec.scale_mu(np.array([[0.0, 0.0]])), [[-1.0, 0.0]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action_low": np.zeros(3)}, r"shape \(2,\)"),
        ({"action_high": np.array([1.0, 0.0])}, "below action_high"),
        ({"mu_low": np.array([1.0, 0.0])}, "must not exceed"),
        ({"positions": np.zeros(4)}, r"shape \(n, gdim\)"),
        ({"spacing": 0.0}, "spacing must be positive"),
        ({"own_features": (5,)}, r"own_features must lie in \[0, 5\)"),
        ({"grid": (5, 5)}, "does not hold 12 agents"),
    ],
)
def test_contradictions_are_refused(spec: AgentSpec, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(spec, **changes)
