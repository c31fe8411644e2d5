"""The main job behind ``make demo``: HypeMARL and MARL on density-1d, trained, compared, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypemarl import config as configuration
from hypemarl.training import summary, table
from hypemarl.training.jobs import Job, complete_jobs, continue_flags
from hypemarl.training.records import write_json

SCENARIO = "density-1d"
SCHEMES = ("marl", "hypemarl")


def demo_jobs(run_dir: Path, seeds: Sequence[int], overrides: Sequence[str]) -> list[Job]:
    """One job per scheme and seed, all with the scenario's own settings but for ``overrides``."""
    return [
        Job(
            configuration.load(SCENARIO, [f"agent.scheme={scheme}", f"seed={seed}", *overrides]),
            run_dir / f"{scheme}-seed{seed}",
        )
        for seed in seeds
        for scheme in SCHEMES
    ]


def train_all(jobs: Sequence[Job], parallel: int, *, fresh: bool, progress: bool) -> list[Path]:
    """Bring every job to its end; returns the folders of those that were finished before."""
    planned = [(job, ["--overwrite"] if fresh else continue_flags(*_parts(job))) for job in jobs]
    complete_jobs(planned, parallel, progress=progress)
    return [job.run_dir for job, flags in planned if flags is None]


def _parts(job: Job) -> tuple[configuration.Config, Path]:
    return job.config, job.run_dir


def compare(run_dir: Path, runs: Sequence[Path]) -> list[dict[str, Any]]:
    """Evaluate the runs on the held-out set; writes ``results.json``, returns the table's rows."""
    rows = summary.evaluate_runs(runs)
    write_json(run_dir / "results.json", table.flat(rows))
    return table.summarise(rows)


def draw(run_dir: Path, runs: Sequence[Path]) -> list[Path]:
    """Curves of all runs, and film, stills and policy map of the first HypeMARL run."""
    from hypemarl.experiments import pictures

    written = [pictures.draw_curves(runs, run_dir / "curves.png")]
    shown = next(run for run in runs if run.name.startswith("hypemarl"))
    return written + pictures.draw_run(shown)
