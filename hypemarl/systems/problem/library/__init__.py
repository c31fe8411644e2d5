"""Problems of the package, each in one file as a user would write it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

#: training of networks that are small, with local credit, from 10 random episodes on
LOCAL: Mapping[str, Any] = MappingProxyType(
    {
        "agent.credit": "local",
        "agent.gamma": 0.95,
        "agent.encoding_frequency": 1.5,
        "agent.hyper_width": 64,
        "agent.actor_hidden": (32,),
        "agent.actor_rate": 3e-4,
        "agent.critic_rate": 1e-3,
        "agent.tau": 0.01,
        "agent.average_rate": 0.01,
        "agent.apg.rate": 3e-3,
        "training.episodes": 150,
        "training.random_episodes": 10,
    }
)
