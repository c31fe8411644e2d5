"""The campaign in seconds, and that its judges can fail."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import meshio
import numpy as np
import pytest

from . import content, crafted, damage, episodes, hostile, kills, plan, report, trees, trials
from .injected import boundaries
from .report import Result
from .trials import Outcome

ROOT = Path(__file__).parents[2]


def test_a_short_campaign_finds_nothing() -> None:
    command = [sys.executable, "-m", "tests.campaign", "--short"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in ("kill at a write", "damaged file, loaded", "crafted file", "mutated mesh"):
        assert f"| {kind} " in done.stdout


def outcome(status: int, text: str, *, hung: bool = False, orphans: int = 0) -> Outcome:
    return Outcome(status, text, 1.0, hung, orphans)


@pytest.mark.parametrize(
    ("ended", "verdict"),
    [
        (outcome(0, "done"), None),
        (outcome(2, "hypemarl: error: m.msh: no mesh"), None),
        (outcome(130, "interrupted"), None),
        (outcome(2, "no word of what happened"), "unclear"),
        (outcome(2, "hypemarl: error: first\nsecond"), "unclear"),
        (outcome(2, f"hypemarl: error: {'a' * 5000}"), "unclear"),
        (outcome(1, "Traceback (most recent call last):\n  x"), "traceback"),
        (outcome(-signal.SIGSEGV, ""), "traceback"),
        (outcome(-signal.SIGKILL, ""), None),
        (outcome(0, "done", hung=True), "hang"),
        (outcome(0, "done", orphans=1), "orphan"),
    ],
)
def test_an_end_is_judged_by_its_words(ended: Outcome, verdict: str | None) -> None:
    assert ended.verdict() == verdict


def test_faults_alone_fail() -> None:
    sound = [Result("kind", "a", "refused"), Result("kind", "b", "bit-equal")]
    assert not report.faults(sound)
    assert report.faults([*sound, Result("kind", "c", "silent")])
    row = report.tally(sound)[0].row()
    assert row[:3] == ["kind", "2", "bit-equal 1, refused 1"]
    assert set(row[3:-1]) == {"0"}


WRITER = """
import os, sys, boundaries
folder, at = sys.argv[1:]
boundaries.arm(folder, int(at), os.path.dirname(folder) + "/log")
with open(folder + "/new", "w") as stream:
    stream.write("text")
    stream.flush()
    os.fsync(stream.fileno())
os.replace(folder + "/new", folder + "/file")
"""


def written(folder: Path, at: int) -> int:
    """A file written atomically in a process that is armed; its exit status."""
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": str(Path(boundaries.__file__).parent)}
    command = [sys.executable, "-c", WRITER, str(folder), str(at)]
    # the folder of the module holds a sitecustomize too, which does nothing unless it is asked to
    return subprocess.run(command, env=environment, check=False).returncode


def test_every_boundary_of_a_write_can_kill(tmp_path: Path) -> None:
    assert written(tmp_path / "whole", 0) == 0
    labels = (tmp_path / "log").read_text().splitlines()
    assert labels == ["open new", "before fsync new", "after fsync new", "os.rename new"]
    for at in range(1, 5):
        folder = tmp_path / f"at-{at}"
        assert written(folder, at) == -signal.SIGKILL
        assert [path.name for path in folder.iterdir()] == ([] if at == 1 else ["new"])


def test_contents_differ_by_a_bit_and_not_by_seconds() -> None:
    one = {"weights": np.array([1.0, 2.0]), "seconds": 1.0, "list": [{"a": 1}]}
    other = one | {"seconds": 2.0, "weights": one["weights"].copy()}
    assert not content.differences(content.flat(one), content.flat(other))
    other["weights"][1] = np.nextafter(2.0, 3.0)
    assert content.differences(content.flat(one), content.flat(other)) == ["/weights"]
    shorter = content.flat(one | {"list": []})
    assert "/list" in content.differences(content.flat(one), shorter)


@pytest.mark.parametrize(("leak", "grows"), [(0.0, False), (0.11, True)])
def test_growth_tells_a_leak_from_steps_and_noise(leak: float, grows: bool) -> None:
    noise = np.random.default_rng(0).normal(0.0, 0.05, 42)
    sizes = 500.0 + leak * np.arange(42) + noise + np.where(np.arange(42) > 4, 3.0, 0.0)
    assert (episodes.growth(sizes) > episodes.SLOPE) is grows


@pytest.mark.parametrize(
    ("move", "fault"),
    [((0.5, 0.5), None), ((1.5, 0.5), "overlap"), ((1.0, 0.5), "no area"), ((np.nan, 0), "finite")],
)
def test_accepted_meshes_are_looked_at(
    move: tuple[float, float], fault: str | None, tmp_path: Path
) -> None:
    points = np.array([[0, 0], [1, 0], [1, 1], [0, 1], move], dtype=float)
    cells = [[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]
    meshio.Mesh(np.c_[points, np.zeros(5)], [("triangle", cells)]).write(tmp_path / "m.vtu")
    found = hostile.mesh_fault(tmp_path / "m.vtu")
    assert found is None if fault is None else found is not None and fault in found


def test_descendants_are_seen() -> None:
    child = subprocess.Popen(["sleep", "30"])
    try:
        assert child.pid in set(trials.descendants(os.getpid()))
    finally:
        child.kill()
        child.wait()


def test_mutations_follow_from_the_seed() -> None:
    draw = partial(hostile.mutated_configuration)
    assert draw(random.Random(1)) == draw(random.Random(1))
    assert draw(random.Random(1)) != draw(random.Random(2))


@pytest.mark.parametrize(
    ("raw", "much"),
    [
        (b"env: {a: 1", False),  # no YAML: refused at once
        (b"env: {a: 1, b: 2, stranger: 1000000000}", False),  # and so is an unknown key
        (b"env: {a: 1, b: 2}", False),
        (b"env: {a: 1, b: 1000000000}", True),
        (b"env: {a: 1, b: 1e-9}", False),  # a text in YAML 1.1
        (b"env: {a: 1}", True),  # the default may be dear
        (b"env: 3", False),
    ],
)
def test_a_hang_is_excused_only_by_much_work(raw: bytes, much: bool) -> None:
    assert hostile.asks_for_much(raw, {"env": {"a": 1, "b": 2}}) is much


def test_a_hang_of_most_mutations_of_syntax_is_counted() -> None:
    drawn = [hostile.mutated_configuration(random.Random(k)) for k in range(200)]
    counted = [not greedy for _, how, greedy in drawn if " at " in how]
    assert sum(counted) > 0.6 * len(counted) > 10


OCCUPIED = "run: another run writes there: process 7 on host; let it end"


@pytest.mark.parametrize(
    ("status", "words", "fault"),
    [
        (2, f"hypemarl: error: {OCCUPIED}", None),
        (2, "hypemarl: error: run holds a finished run; give --overwrite", "unclear"),
        (2, "Traceback (most recent call last):", "traceback"),
        (0, OCCUPIED, "silent"),
        (-9, "", "unclear"),
    ],
)
def test_a_second_writer_is_refused_for_the_first(
    status: int, words: str, fault: str | None
) -> None:
    assert trees.second_writer(status, words) == fault


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("note: run/metrics.jsonl was changed since the checkpoint", True),
        ("hypemarl: error: metrics.jsonl: its checksum is another", True),
        ("read metrics.jsonl in 2 s", False),
        ("a note on something else\nread metrics.jsonl", False),
    ],
)
def test_a_file_name_alone_says_nothing(text: str, said: bool) -> None:
    assert damage.is_said(text, "metrics.jsonl") is said


def test_errors_of_libraries_are_unclear() -> None:
    from hypemarl.files import DamagedError

    assert damage.is_clear(DamagedError("last.pt: damaged"), "last.pt")
    assert not damage.is_clear(RuntimeError("last.pt: damaged"), "last.pt")
    assert not damage.is_clear(DamagedError("damaged"), "last.pt")
    raw = "last.pt: PytorchStreamReader failed reading zip archive"
    assert not damage.is_clear(DamagedError(raw), "last.pt")


def test_only_counts_of_evaluations_may_differ(tmp_path: Path) -> None:
    for name, row in (
        ("one", {"evaluations_mean": 3, "cost": 1}),
        ("two", {"evaluations_mean": 4, "cost": 1}),
        ("three", {"evaluations_mean": 3, "cost": 2}),
    ):
        (tmp_path / name).mkdir()
        content_of = f'{{"evaluations_mean": {row["evaluations_mean"]}, "cost": {row["cost"]}}}'
        (tmp_path / name / "optimum.json").write_text(content_of)
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    assert not kills._cached(one, two, "optimum.json", content.json_file)
    assert kills._cached(one, three, "optimum.json", content.json_file)


def test_a_module_beside_a_run_is_seen_where_it_runs(tmp_path: Path) -> None:
    """`python -m` imports from the working folder: the marker shows that the trial can fail."""
    crafted._shadow("numpy.py", "", tmp_path, f"touch {tmp_path / crafted.MARKER}")
    trials.process([sys.executable, "-m", "numpy"], tmp_path)
    assert (tmp_path / crafted.MARKER).exists()


def test_the_length_of_a_campaign_follows_from_processor_time() -> None:
    def task(kind: str, size: int) -> plan.Task:
        return plan.Task(kind, kind, lambda: None, size)

    tried = [task("a", 1), task("b", 10)]
    results = [Result("a", "a", "equal", processor=3.0), Result("b", "b", "equal", processor=5.0)]
    assert plan.estimate(tried, results, [task("a", 1)] * 4 + [task("b", 20)]) == 11.0
