"""How far a job has come is read from the end of its metrics."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toy import toy_config

from hypemarl.training.children import without_launcher
from hypemarl.training.jobs import Job, TrainingError, _episodes_done, _judge
from hypemarl.training.records import RunFolder


def line(episode: int) -> str:
    return json.dumps({"kind": "episode", "episode": episode, "step": 7, "cost": None}) + "\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", 0),
        ("".join(map(line, range(1, 500))), 499),
        (line(1) + line(2) + line(3)[:30], 2),  # the last is being written
        ("damaged\n" + "x" * 10_000 + "\n" + line(12), 12),  # only the end is looked at
    ],
)
def test_the_end_of_the_metrics_tells_the_episode(
    tmp_path: Path, content: str, expected: int
) -> None:
    job = Job(toy_config(), tmp_path)
    assert _episodes_done(job) == 0
    RunFolder(tmp_path).metrics.write_text(content)
    assert _episodes_done(job) == expected


def test_children_do_not_join_a_launchers_world() -> None:
    given = {"PMI_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "PATH": "/bin", "PMIX_X": ""}
    assert without_launcher(given) == {"PATH": "/bin"}


def judged(path: Path, status: int, *, asked: bool = False) -> list[str]:
    process: Any = SimpleNamespace(returncode=status)
    return _judge([(Job(toy_config(), path), process)], asked)


def test_exit_statuses_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("hypemarl: error: every one of 8 episodes failed\n")
    said = f"{tmp_path}: every one of 8 episodes failed (log: {tmp_path}/train.log)"
    assert judged(tmp_path, 0) == []
    assert judged(tmp_path, 3) == [said]  # whole, if of no use
    with pytest.raises(TrainingError, match="every one of 8"):
        judged(tmp_path, 2)
    with pytest.raises(TrainingError, match="ended by SIGKILL; was memory short"):
        judged(tmp_path, -9)
    with pytest.raises(TrainingError):  # somebody stopped the child alone
        judged(tmp_path, 130)


def test_jobs_that_were_asked_to_stop_have_not_failed(tmp_path: Path) -> None:
    for status in (0, 3, 130, -15, -9):
        with pytest.raises(KeyboardInterrupt):
            judged(tmp_path, status, asked=True)
    with pytest.raises(TrainingError, match="exit status 2 and no output"):
        judged(tmp_path, 2, asked=True)
