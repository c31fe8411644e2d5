"""Counters of a run, results of its episodes, and losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hypemarl.types import Record


class TrainingError(RuntimeError):
    """Training cannot continue: actions, losses or gradients are not finite."""


@dataclass
class Progress:
    """Counters of a run; with networks, replay and generators they make the whole state."""

    episode: int = 0
    step: int = 0
    updates: int = 0
    warm_step: int = 0  # control steps since updates were allowed
    failures: int = 0  # failed episodes
    failure: str = ""  # reason of the last of them
    seconds: float = 0.0
    best_cost: float = float("inf")
    best_episode: int = 0
    uncontrolled: float = float("nan")
    warned: list[str] = field(default_factory=list)  # names of warnings so far

    @property
    def in_vain(self) -> bool:
        """True where every episode so far has failed."""
        return 0 < self.episode == self.failures


def failure_text(run_dir: str | Path, progress: Record) -> str:
    """Sentence on a run whose every episode failed; ``progress`` as :class:`Progress`."""
    return (
        f"{run_dir}: every one of {progress['episode']} episodes failed, the last one at "
        f"{progress['failure']}"
    )


class Result(NamedTuple):
    """An episode of training: cost J, mean over agents of summed rewards, control steps."""

    cost: float
    return_mean: float
    length: int
    failure: str | None
    random: bool


Losses = dict[str, float]
Round = tuple[list[Result], Losses]
"""Results and mean losses of a round of episodes, one in each group; empty but on rank 0"""


def averages(losses: Sequence[Losses]) -> Losses:
    """Means by name over the entries that have it."""
    names = sorted({name for loss in losses for name in loss})
    return {name: float(np.mean([loss[name] for loss in losses if name in loss])) for name in names}
