"""Several training runs side by side, one process and one thread each.

Runs are independent, so that cores are better used by several runs than by several threads in one.
Each child is ``hypemarl train`` with its output in ``train.log`` of its run folder.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from hypemarl.config import Config, to_yaml
from hypemarl.config.sources import trust_flags
from hypemarl.training.checkpoint import CheckpointError, check_config, load, write_atomically
from hypemarl.training.loop import TrainingError, is_finished
from hypemarl.training.records import RunFolder

_POLL_SECONDS = 0.5
_TAIL_BYTES = 4096  # lines are far shorter
_EPISODE = re.compile(rb'"episode": (\d+)')
# A launcher's variables would make every child join the launcher's world.
_LAUNCHER = ("PMI_", "PMIX_", "OMPI_", "MPI_LOCAL", "HYDI_", "HYDRA_")
THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """A configuration and the folder that its run goes to."""

    config: Config
    run_dir: Path

    def command(self, flags: Sequence[str]) -> list[str]:
        """The child's command line; the configuration stands in ``job.yaml`` of the run folder.

        The child trusts the external environment that this process trusts.
        """
        file = self.run_dir / "job.yaml"
        text = to_yaml(self.config).encode()
        write_atomically(file, lambda stream: stream.write(text))
        program = [sys.executable, "-m", "hypemarl", "train", str(file)]
        trust = trust_flags(self.config.env.external)
        return [*program, "--run", str(self.run_dir), "--quiet", *trust, *flags]


def continue_flags(config: Config, run_dir: Path) -> list[str] | None:
    """What makes ``run_dir`` a whole run of ``config``: None where it is one already.

    An unfinished run of the same configuration is resumed, another one is replaced.
    """
    if is_finished(run_dir, config):
        return None
    folder = RunFolder(run_dir)
    try:
        check_config(folder.last, load(folder.last), config)
    except CheckpointError:
        return ["--overwrite"]
    return ["--resume"]


def run_jobs(jobs: Sequence[tuple[Job, list[str]]], parallel: int, *, progress: bool) -> None:
    """Run all jobs with their flags, at most ``parallel`` at a time.

    Raises RunError where a folder is occupied, before any job starts, and TrainingError where one
    fails, with the end of its log; the others come to their ends. Ctrl-C reaches the children too:
    they finish their episodes and save.
    """
    for job, flags in jobs:
        if not flags:
            RunFolder(job.run_dir).check_free()
    waiting, running, failed = list(jobs), dict[int, tuple[Job, subprocess.Popen]](), list[Job]()
    total = sum(job.config.training.episodes for job, _ in jobs)
    with tqdm(total=total, unit="episode", disable=not progress) as bar:
        try:
            while waiting or running:
                while waiting and len(running) < parallel:
                    job, flags = waiting.pop(0)
                    process = _start(job, flags)
                    running[process.pid] = (job, process)
                time.sleep(_POLL_SECONDS)
                bar.n = sum(_episodes_done(job) for job, _ in jobs)
                bar.refresh()
                ended = [pid for pid, (_, process) in running.items() if process.poll() is not None]
                for pid in ended:
                    job, process = running.pop(pid)
                    if process.returncode:
                        failed.append(job)
        except KeyboardInterrupt:
            for _, process in running.values():
                process.wait()
            raise
    if failed:
        raise TrainingError("\n".join(_explain(job) for job in failed))


def _start(job: Job, flags: Sequence[str]) -> subprocess.Popen:
    job.run_dir.mkdir(parents=True, exist_ok=True)
    environment = without_launcher(os.environ) | dict.fromkeys(THREAD_LIMITS, "1")
    with (job.run_dir / "train.log").open("wb") as log:
        return subprocess.Popen(
            job.command(flags),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )


def without_launcher(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what a launcher of MPI put into it. Local."""
    return {name: value for name, value in environment.items() if not name.startswith(_LAUNCHER)}


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


def _explain(job: Job) -> str:
    log = (job.run_dir / "train.log").read_text(encoding="utf-8", errors="replace").strip()
    return f"{job.run_dir}: training failed: {' | '.join(log.splitlines()[-3:])}"
