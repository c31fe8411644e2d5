"""Several training runs side by side, one process and one thread each.

Runs are independent, so that cores are better used by several runs than by several threads in one.
Each child is ``hypemarl train`` with its output in ``train.log`` of its run folder.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from hypemarl.config import Config, check_training, override, to_yaml
from hypemarl.config.external import external_of
from hypemarl.config.sources import trust_flags
from hypemarl.config.user_code import use_flags
from hypemarl.files import write_text
from hypemarl.training.checkpoint import check_config, entry, load
from hypemarl.training.children import (
    EXIT_INTERRUPTED,
    EXIT_VAIN,
    Children,
    python_module,
    reason_of,
)
from hypemarl.training.loop import episodes_trained, require_begun
from hypemarl.training.progress import Progress, TrainingError, failure_text
from hypemarl.training.records import RunError, RunFolder

_POLL_SECONDS = 0.5
_TAIL_BYTES = 4096  # lines are far shorter
_EPISODE = re.compile(rb'"episode": (\d+)')


@dataclass(frozen=True)
class Job:
    """A configuration and the folder that its run goes to.

    Raises ConfigError where nothing can be trained with its settings.
    """

    config: Config
    run_dir: Path

    def __post_init__(self) -> None:
        check_training(self.config)

    def command(self, flags: Sequence[str]) -> list[str]:
        """The child's command line; the configuration stands in ``job.yaml`` of the run folder.

        The child trusts the external environment that this process trusts, and uses its code.
        """
        file = self.run_dir / "job.yaml"
        write_text(file, to_yaml(self.config))
        program = [*python_module("hypemarl"), "train", str(file)]
        external = external_of(self.config.env)
        trust = [] if external is None else trust_flags(external)
        return [*program, "--run", str(self.run_dir), "--quiet", *trust, *use_flags(), *flags]


Planned = tuple[Job, list[str]]  # with its flags
Running = tuple[Job, subprocess.Popen]


def continue_flags(config: Config, run_dir: Path) -> list[str] | None:
    """Flags that make ``run_dir`` a whole run of ``config``; None where it is one already.

    An unfinished run of the same configuration is resumed, another one is replaced.
    """
    trained = episodes_trained(run_dir, config)
    if trained == config.training.episodes:
        return None
    return ["--overwrite"] if trained is None else ["--resume"]


def run_folders(path: Path) -> list[Path]:
    """``path`` where it is a run folder or holds none, else the run folders in it, sorted."""
    inner = sorted(file.parent for file in path.glob("*/config.yaml"))
    return [path] if (path / "config.yaml").is_file() or not inner else inner


def stored_jobs(path: Path, seeds: Sequence[int] | None, overrides: Sequence[str]) -> list[Job]:
    """Jobs of the run in a folder, or of the runs inside it, with their stored settings.

    Args:
        path: the folder. seeds: in place of the stored ones, with the settings of the first run.
            overrides: changed settings, ``key=value``.

    Raises RunError: there is no run. ConfigError: an override is wrong.
    """
    folders = run_folders(path)
    if not RunFolder(folders[0]).config.is_file():
        raise RunError(
            f"{path}: nothing to resume: expected a config.yaml there or in its folders; name a "
            "scenario to begin a run"
        )
    jobs = [Job(override(RunFolder(run).read_config(), overrides), run) for run in folders]
    if seeds is None:
        return jobs
    inside = folders != [path]
    return [
        Job(replace(jobs[0].config, seed=seed), path / f"seed{seed}" if inside else path)
        for seed in seeds
    ]


def plan_jobs(jobs: Sequence[Job], *, resume: bool, overwrite: bool) -> list[Planned]:
    """Jobs with their flags, checked before any training starts.

    With ``resume`` runs that have begun go on and the others begin. Local.
    Raises RunError: a folder is occupied. CheckpointError: no run has begun, or one has with other
    settings.
    """
    if overwrite:
        return [(job, ["--overwrite"]) for job in jobs]
    folders = [RunFolder(job.run_dir) for job in jobs]
    if not resume:
        for folder in folders:
            folder.check_free()
        return [(job, []) for job in jobs]
    require_begun(folders)
    begun = [folder.exists() for folder in folders]
    if len(jobs) > 1:  # a single one is checked where it is opened
        for job, folder in zip(jobs, folders, strict=True):
            if folder.last.exists():
                check_config(folder.last, load(folder.last), job.config)
    return [(job, ["--resume"] if old else []) for job, old in zip(jobs, begun, strict=True)]


def run_jobs(jobs: Sequence[Planned], parallel: int, *, progress: bool) -> list[str]:
    """Run all jobs with their flags, at most ``parallel`` at a time.

    Returns a sentence for each run that is whole but whose every episode failed. However this
    process ends, the jobs end too (:class:`Children`). Not under mpirun.
    Raises RunError: a folder is occupied or locked; before any job starts. TrainingError: a job
    failed, with run, reason and log; the others come to their ends. KeyboardInterrupt: a stop was
    asked for; the jobs have saved.
    """
    for job, flags in jobs:
        RunFolder(job.run_dir).check_unlocked()
        if not flags:
            RunFolder(job.run_dir).check_free()
    waiting, running, ended = list(jobs), list[Running](), list[Running]()
    total = sum(job.config.training.episodes for job, _ in jobs)
    with Children() as children, tqdm(total=total, unit="episode", disable=not progress) as bar:
        while running or (waiting and not children.asked):
            while waiting and len(running) < parallel and not children.asked:
                job, flags = waiting.pop(0)
                running.append((job, _start(children, job, flags)))
            time.sleep(_POLL_SECONDS)
            bar.n = sum(_episodes_done(job) for job, _ in jobs)
            bar.refresh()
            ended += [entry for entry in running if entry[1].poll() is not None]
            running = [entry for entry in running if entry not in ended]
        asked = bool(children.asked)
    return _judge(ended, asked)


def complete_jobs(
    jobs: Sequence[Job], parallel: int, *, progress: bool, fresh: bool = False
) -> list[str]:
    """Train jobs to their ends, ``parallel`` at a time; finished runs are kept unless ``fresh``.

    Returns a sentence for each run whose every episode failed, also of an earlier call; it is
    printed on stderr too. Tables show the infinite costs of such a run. Raises as :func:`run_jobs`.
    """
    planned = [
        (job, ["--overwrite"] if fresh else continue_flags(job.config, job.run_dir)) for job in jobs
    ]
    unfinished = [(job, flags) for job, flags in planned if flags is not None]
    earlier = [failure_of(job.run_dir) for job, flags in planned if flags is None]
    in_vain = [text for text in earlier if text] + run_jobs(unfinished, parallel, progress=progress)
    for sentence in in_vain:
        print(f"warning: {sentence}", file=sys.stderr)
    return in_vain


def failure_of(run_dir: Path) -> str:
    """A sentence on a stored run whose every episode failed; empty for any other run. Local."""
    file = RunFolder(run_dir).last
    progress = Progress(**entry(file, load(file), "progress"))
    return failure_text(run_dir, vars(progress)) if progress.in_vain else ""


def _start(children: Children, job: Job, flags: Sequence[str]) -> subprocess.Popen:
    job.run_dir.mkdir(parents=True, exist_ok=True)
    with _log(job).open("wb") as log:
        return children.start(job.command(flags), stdout=log, stderr=subprocess.STDOUT)


def _judge(ended: Sequence[Running], asked: bool) -> list[str]:
    """Judge the exit statuses, see :func:`run_jobs`."""
    stopped = (EXIT_INTERRUPTED, -signal.SIGTERM, -signal.SIGKILL) if asked else ()
    in_vain = [_explain(job, process) for job, process in ended if process.returncode == EXIT_VAIN]
    accepted = (0, EXIT_VAIN, *stopped)
    failed = [_explain(*entry) for entry in ended if entry[1].returncode not in accepted]
    if failed:
        raise TrainingError("\n".join(failed + in_vain))
    if asked:
        raise KeyboardInterrupt
    return in_vain


def _episodes_done(job: Job) -> int:
    """Episode of the last whole line of the job's metrics; only the end of the file is read."""
    try:
        with RunFolder(job.run_dir).metrics.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
            tail = stream.read()
    except FileNotFoundError:
        return 0
    numbers = _EPISODE.findall(tail[: tail.rfind(b"\n") + 1])
    return int(numbers[-1]) if numbers else 0


def _log(job: Job) -> Path:
    return job.run_dir / "train.log"


def _explain(job: Job, process: subprocess.Popen) -> str:
    """Run, reason and log of a job that did not end well."""
    try:
        log = _log(job).read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
    except FileNotFoundError:
        log = ""
    reason = reason_of(process.returncode, log).removeprefix(f"{job.run_dir}: ")
    return f"{job.run_dir}: {reason} (log: {_log(job)})"
