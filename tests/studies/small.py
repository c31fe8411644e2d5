"""A scenario of seconds, and its runs trained in this process, which experiments then keep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypemarl.studies.pipeline import Entry, jobs_of
from hypemarl.training import loop

SMALL = (
    "env.mesh.element_size=0.1",
    "env.agents=[4]",
    "training.episodes=4",
    "training.random_episodes=2",
    "training.validation_every=2",
    "training.validation_size=1",
    "training.held_out_size=2",
)


def train_here(
    entries: Sequence[Entry], seeds: Sequence[int], folder: Path, *changes: str
) -> list[str]:
    """Train on a small density-1d; returns the overrides that an experiment must be given."""
    overrides = [*SMALL, *changes]
    small = [Entry(entry.name, (*entry.overrides, *overrides)) for entry in entries]
    for job in jobs_of("density-1d", small, seeds, folder):
        loop.train(job.config, job.run_dir, progress=False)
    return overrides
