"""How far a job has come is read from the end of its metrics."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy import toy_config

from hypemarl.training.jobs import Job, _episodes_done, without_launcher
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
