"""The main job behind ``make demo``: HypeMARL and MARL on a problem, trained, compared, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypemarl import config as configuration
from hypemarl.training import summary, table
from hypemarl.training.jobs import Job, failure_of
from hypemarl.training.records import write_json
from hypemarl.types import Row

SCENARIO = "density-1d"
SCHEMES = ("marl", "hypemarl")


def demo_jobs(
    run_dir: Path, seeds: Sequence[int], overrides: Sequence[str], scenario: str = SCENARIO
) -> list[Job]:
    """One job per scheme and seed, all with the scenario's own settings but for ``overrides``."""
    base = configuration.load(scenario, overrides)
    return [
        Job(
            configuration.override(base, [f"agent.scheme={scheme}", f"seed={seed}"]),
            run_dir / f"{scheme}-seed{seed}",
        )
        for seed in seeds
        for scheme in SCHEMES
    ]


def compare(run_dir: Path, runs: Sequence[Path]) -> list[Row]:
    """Evaluate the runs on the held-out set; writes ``results.json``, returns the table's rows."""
    rows = summary.evaluate_runs(runs)
    write_json(run_dir / "results.json", table.flat(rows))
    return table.summarise(rows)


def draw(run_dir: Path, runs: Sequence[Path]) -> list[Path]:
    """Curves of all runs, and film, stills and policy map of the first HypeMARL run.

    Runs whose every episode failed have neither.
    """
    from hypemarl.visualisation import run_pictures as pictures

    curves = pictures.draw_curves(runs, run_dir / "curves.png")
    written = [] if curves is None else [curves]
    for run in runs:
        if run.name.startswith("hypemarl") and not failure_of(run):
            return written + pictures.draw_run(run)
    return written
