from __future__ import annotations

import numpy as np

from hypemarl.coupling.actuators import BlendActuators, axis_blend

CENTRES = np.array([-0.75, -0.25, 0.25, 0.75])


def grid_positions() -> np.ndarray:
    return np.stack(np.meshgrid(CENTRES, CENTRES, indexing="ij"), axis=-1).reshape(-1, 2)


def test_blend_is_a_partition_of_unity_with_unit_value_at_the_agent() -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    matrix = BlendActuators(points, (4, 4), grid_positions()).matrix.toarray()
    assert matrix.min() >= 0
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=1e-14)
    np.testing.assert_allclose(
        BlendActuators(grid_positions(), (4, 4), grid_positions()).matrix.toarray(), np.eye(16)
    )


def test_blend_is_smooth_and_constant_outside() -> None:
    x = np.linspace(-1, 1, 4001)
    blend = axis_blend(x, CENTRES)
    slope = np.gradient(blend, x, axis=0)
    assert np.abs(np.diff(slope, axis=0)).max() < 0.02  # continuous derivative
    np.testing.assert_array_equal(blend[x < -0.75][:, 0], 1.0)
    assert axis_blend(x, np.array([0.0])).shape == (4001, 1)


def test_field_is_affine_in_the_amplitudes_and_transposed_fits() -> None:
    generator = np.random.default_rng(1)
    actuators = BlendActuators(generator.uniform(-1, 1, (50, 2)), (4, 4), grid_positions())
    a, b = generator.normal(size=(2, 16, 2))
    np.testing.assert_allclose(
        actuators.field(2 * a - b), 2 * actuators.field(a) - actuators.field(b), atol=1e-13
    )
    w = generator.normal(size=(50, 2))
    np.testing.assert_allclose((w * actuators.field(a)).sum(), (actuators.transposed(w) * a).sum())
