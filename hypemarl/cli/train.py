"""``hypemarl train``: one run, or one per seed, in turn or side by side."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hypemarl.cli.output import say, world_size
from hypemarl.cli.settings import (
    check_trust,
    folder_name,
    load_config,
    located,
    named_seeds,
    overrides,
)
from hypemarl.config import Config, ConfigError
from hypemarl.config.external import external_of
from hypemarl.training.children import EXIT_INTERRUPTED, EXIT_VAIN
from hypemarl.types import Row

if TYPE_CHECKING:
    from hypemarl.training.jobs import Job, Planned

Arguments = argparse.Namespace


def do_train(arguments: Arguments) -> int:
    """Train one run, or one per seed; exit status 3 where every episode of a run failed."""
    from hypemarl import mpi

    if arguments.jobs > 1 and world_size() > 1:
        raise ConfigError("--jobs starts processes itself: leave it out under mpirun")
    if arguments.jobs > 1 and arguments.ranks_per_env is not None:
        raise ConfigError("--ranks-per-env splits the ranks of mpirun, --jobs starts none")
    planned = mpi.on_root(mpi.world(), lambda: _planned(arguments))
    together = arguments.jobs > 1 and len(planned) > 1
    try:
        status = (_train_together if together else _train_in_turn)(planned, arguments)
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
    if status == EXIT_INTERRUPTED:
        say(f"interrupted; {_how_to_go_on(planned, arguments)}", error=True)
    return status


def _planned(arguments: Arguments) -> list[Planned]:
    """Jobs with their flags, checked. Local: rank 0 alone looks into folders."""
    from hypemarl.training.jobs import plan_jobs, stored_jobs

    seeds = named_seeds(arguments)
    if arguments.resume and arguments.run is not None and arguments.scenario is None:
        stored = stored_jobs(Path(arguments.run), seeds, overrides(arguments))
        jobs = [dataclasses.replace(job, config=located(job.config)) for job in stored]
    else:
        base = load_config(arguments)
        seeds = seeds or [base.seed]
        configs = [dataclasses.replace(base, seed=seed) for seed in seeds]
        jobs = [_job(config, arguments.run, len(seeds)) for config in configs]
    for job in jobs:
        check_trust(job.config)
    return plan_jobs(jobs, resume=arguments.resume, overwrite=arguments.overwrite)


def _train_together(planned: Sequence[Planned], arguments: Arguments) -> int:
    from hypemarl.training.jobs import run_jobs

    in_vain = run_jobs(planned, arguments.jobs, progress=not arguments.quiet)
    say("\n".join(f"trained {job.run_dir}" for job, _ in planned))
    for sentence in in_vain:
        say(f"hypemarl: error: {sentence}", error=True)
    return EXIT_VAIN if in_vain else 0


def _train_in_turn(planned: Sequence[Planned], arguments: Arguments) -> int:
    """Train one run after the other; a stop ends all of them. Returns the exit status."""
    status = 0
    for number, (job, flags) in enumerate(planned, 1):
        summary = _train_one(job, flags, arguments)
        if summary["in_vain"]:
            status = EXIT_VAIN
        if summary["interrupted"] or (summary["stop_asked"] and number < len(planned)):
            return EXIT_INTERRUPTED
    return status


def _how_to_go_on(planned: Sequence[Planned], arguments: Arguments) -> str:
    """The command that continues interrupted training, and what it does for each run."""
    from hypemarl.training.records import RunFolder

    runs = [job.run_dir for job, _ in planned]
    if not any(RunFolder(run).exists() for run in runs):
        return "no run had begun; the same command begins them"
    command = "the same command" if arguments.resume else "the same command with --resume"
    command += " in place of --overwrite" if arguments.overwrite else ""
    saved = [str(run) for run in runs if RunFolder(run).last.exists()]
    others = [str(run) for run in runs if not RunFolder(run).last.exists()]
    done = [f"goes on from {', '.join(saved)}"] if saved else []
    done += [f"begins {', '.join(others)}"] if others else []
    return f"{command} {' and '.join(done)}"


def _job(config: Config, run: str | None, count: int) -> Job:
    from hypemarl.training.jobs import Job
    from hypemarl.training.learner import label

    seed = f"seed{config.seed}"
    if run is None:
        what = config.scenario
        external = external_of(config.env)
        if external is not None and what == config.env.system:
            what = folder_name(external.source)
        path = Path("runs") / f"{what}-{config.agent.scheme}-{label(config)}-{seed}"
    else:
        path = Path(run) / seed if count > 1 else Path(run)
    return Job(config, path)


def _train_one(job: Job, flags: Sequence[str], arguments: Arguments) -> Row:
    from hypemarl.training.loop import train
    from hypemarl.training.progress import failure_text

    summary = train(
        job.config,
        job.run_dir,
        resume="--resume" in flags,
        overwrite="--overwrite" in flags,
        ranks_per_env=arguments.ranks_per_env,
        progress=not arguments.quiet,
    )
    best = "no validation with a finite cost"
    if summary["best_episode"]:
        best = f"validation cost {summary['best_cost']:.4g} at episode {summary['best_episode']}"
    say(
        f"{job.run_dir}: {summary['episode']} episodes in {summary['seconds']:.0f} s, {best} "
        f"(uncontrolled {summary['uncontrolled']:.4g})"
    )
    if summary["in_vain"]:
        say(f"hypemarl: error: {failure_text(job.run_dir, summary)}", error=True)
    return summary
