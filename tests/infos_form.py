"""The form of infos by agent, which is to be the same at every step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def signature(
    infos: Mapping[str, Mapping[str, Any]],
) -> list[tuple[str, str, type, tuple[int, ...]]]:
    """Agent, key, type and shape of every value; all must be numbers or arrays of them."""
    entries = [(a, key, value) for a, info in infos.items() for key, value in info.items()]
    assert entries
    assert all(np.asarray(value).dtype.kind in "biuf" for _, _, value in entries)
    return [(a, key, type(value), np.shape(value)) for a, key, value in entries]


def check_interface(env: Any) -> dict[str, dict[str, Any]]:
    """One step at the upper bounds: infos keep their form, observations their box; the infos."""
    observations, infos = env.reset(seed=0)
    first = signature(infos)
    boxes = {agent: env.observation_space(agent) for agent in env.agents}
    assert all(boxes[agent].contains(values) for agent, values in observations.items())
    observations, *_, infos = env.step(dict.fromkeys(env.agents, env.action_high))
    assert signature(infos) == first
    assert all(boxes[agent].contains(values) for agent, values in observations.items())
    return infos
