"""Actions held at their bounds: the hardest that a policy can do, over the range of mu."""

from __future__ import annotations

import numpy as np
import pytest

from hypemarl import config as configuration
from hypemarl.envs import make

FINER_TIME = ("env.shape.mode=unsteady", "env.shape.time_step=0.01")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "settings", "parameters", "divided"),
    [
        ("flow-cylinder", (), (80.0, 0.0), True),
        ("flow-cylinder", (), (120.0, 0.0), True),
        ("flow-dissipation", (), (100.0, -1.0), False),
        ("flow-dissipation", (), (100.0, 0.0), True),
        ("shape-morphing", (), (40.0, 0.5), False),
        ("shape-morphing", FINER_TIME, (40.0, 0.5), False),
    ],
)
def test_actions_held_at_their_bounds_do_not_fail(
    scenario: str, settings: tuple[str, ...], parameters: tuple[float, ...], divided: bool
) -> None:
    """One half of the agents pushes and the other pulls, then the reverse.

    Where time steps prove too long then, they are divided.
    """
    env = make(configuration.load(scenario, settings).env)
    env.reset_arrays(np.array(parameters))
    half = np.where(np.arange(env.n_agents) < env.n_agents // 2, 1.0, -1.0)[:, None]
    counts = []
    for k in range(env.control_steps):
        sign = 1.0 if k < 0.7 * env.control_steps else -1.0
        step = env.step_arrays(sign * half * env.action_high)
        assert "failure" not in step.info, step.info["failure"]
        assert np.isfinite(step.info["cost"])
        counts.append(step.info.get("time_steps", 0))
    assert (max(counts) > min(counts)) == divided
