"""Settings of the adjoint policy gradient (``agent.apg.*``)."""

from __future__ import annotations

from dataclasses import dataclass, fields

from hypemarl.config.errors import ConfigError
from hypemarl.config.keys import key
from hypemarl.config.schema import Config


@dataclass(frozen=True)
class APGOptions:
    """Exact gradients of whole episodes, or of windows with a learned value at their ends."""

    rate: float = key(1e-3, "Adam rate of the actor at the start", above=0)
    rate_end: float = key(
        0.05, "share of the rate that is left at the end (cosine between)", above=0, high=1
    )
    batch: int = key(1, "windows whose gradients are averaged in an update", low=1)
    window: int = key(
        0, "control steps that a gradient goes back through; 0: the whole episode", low=0
    )
    value_rate: float = key(
        1e-3, "Adam rate of the value at the end of a window inside the episode", above=0
    )
    average_rate: float = key(
        0.02, "rate of the averaged actor, from the first update on", above=0, high=1
    )
    noise: float = key(
        0.0, "standard deviation of noise on the actions, in units of their bound", low=0
    )
    state_clip: float = key(
        0.0, "largest norm of the state's sensitivity between intervals; 0: no clip", low=0
    )


ALIASES = {f"apg_{item.name}": item.name for item in fields(APGOptions)}


def check_window(config: Config) -> None:
    """Refuse a window that is longer than an episode. Raises ConfigError."""
    window, steps = config.agent.of(APGOptions).window, config.env.control_steps
    if window > steps:
        raise ConfigError(
            f"agent.apg.window ({window}) exceeds env.control_steps ({steps}), the length of an "
            "episode; 0 takes the whole of it"
        )
