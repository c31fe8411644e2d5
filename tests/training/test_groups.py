"""Several environments at once: what is learned, how it resumes, how it ends when a rank dies.

A launch takes seconds, so each does all that its number of ranks is good for.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_loop import assert_equal, stored, without_seconds
from toy import ToyEnv, toy_config

from hypemarl.training import checkpoint, groups, loop
from hypemarl.training.records import RunFolder, read_metrics

SCRIPT = Path(__file__).parents[1] / "ranks" / "groups.py"


@pytest.fixture(scope="module")
def outputs() -> dict[str, Any]:
    """Folder of the launches, kept for all tests of this file."""
    return {}


@pytest.fixture
def two(
    outputs: dict[str, Any], mpirun: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """Folder and printed lines of runs with two groups of one rank."""
    if "two" not in outputs:
        folder = tmp_path_factory.mktemp("two")
        outputs["two"] = folder, mpirun(2, SCRIPT, "two", str(folder), timeout=180).splitlines()
    return outputs["two"]


@pytest.fixture
def four(
    outputs: dict[str, Any], mpirun: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """Folder and printed lines of runs on four ranks."""
    if "four" not in outputs:
        folder = tmp_path_factory.mktemp("four")
        outputs["four"] = folder, mpirun(4, SCRIPT, "four", str(folder), timeout=180).splitlines()
    return outputs["four"]


def serial(path: Path, **options: Any) -> dict[str, Any]:
    return loop.train(toy_config(**options), path, make_env=ToyEnv, progress=False)


def assert_same_run(one: Path, other: Path) -> None:
    assert_equal(stored(one), stored(other))
    assert without_seconds(one) == without_seconds(other)


@pytest.mark.mpi
@pytest.mark.parametrize("other", ["again", "parts", "interrupted"])
def test_two_groups_repeat_and_resume_bit_for_bit(two: Any, other: str) -> None:
    assert_same_run(two[0] / "whole", two[0] / other)


@pytest.mark.mpi
def test_ranks_per_environment_do_not_change_what_is_learned(two: Any, four: Any) -> None:
    assert_same_run(two[0] / "seven", four[0] / "seven")


@pytest.mark.mpi
def test_records_come_in_the_order_of_the_groups(two: Any) -> None:
    """12 episodes of 5 steps in 6 rounds, the first of them random; episode 6 fails at step 3."""
    lines = read_metrics(two[0] / "whole")
    ended = [line for line in lines if line["kind"] in ("episode", "failure")]
    assert [line["episode"] for line in ended] == list(range(1, 13))
    assert [line["kind"] == "failure" for line in ended] == [n == 6 for n in range(1, 13)]
    assert [line["step"] for line in ended] == list(np.cumsum([5] * 5 + [2] + [5] * 6))
    assert [line.get("random") for line in ended[:3]] == [True, True, False]
    updates = [line["episode"] for line in lines if line["kind"] == "update"]
    assert updates == [4, 6, 8, 10, 12]
    assert [line["episode"] for line in lines if line["kind"] == "validation"] == [2, *updates]
    # the sixth episode had been sent a third action when its update was made
    assert checkpoint.load(RunFolder(two[0] / "whole").last)["progress"]["updates"] == 48


@pytest.mark.mpi
def test_an_episode_that_fails_at_its_start_is_recorded_and_not_learned_from(two: Any) -> None:
    lines = read_metrics(two[0] / "blind")
    ended = [line for line in lines if line["kind"] in ("episode", "failure")]
    assert [line["kind"] == "failure" for line in ended] == [n == 6 for n in range(1, 9)]
    where = "expected finite numbers, got nan from agent 2, entry 1 (1 such in all)"
    assert (ended[5]["failure"], ended[5]["length"]) == (f"first observations: {where}", 0)
    replay = checkpoint.load(RunFolder(two[0] / "blind").last)["replay"]
    assert [int(length) for length in replay["lengths"] if length] == [5] * 7
    assert bool(replay["observations"].isfinite().all())


@pytest.mark.mpi
def test_what_falls_due_within_a_round_is_done_at_its_end(two: Any) -> None:
    lines = read_metrics(two[0] / "seven")
    assert [line["episode"] for line in lines if line["kind"] == "validation"] == [4, 6, 7]


@pytest.mark.mpi
def test_the_replay_holds_every_step_of_every_group(two: Any, tmp_path: Path) -> None:
    serial(tmp_path, episodes=12)
    one = checkpoint.load(RunFolder(tmp_path).last)["replay"]
    replay = checkpoint.load(RunFolder(two[0] / "whole").last)["replay"]
    assert_equal(replay["mu"], one["mu"])
    # the first group explores as a run with one does, the second has noise of its own
    assert_equal(replay["actions"][0], one["actions"][0])
    assert not np.array_equal(replay["actions"][0], replay["actions"][1])
    assert [int(length) for length in replay["lengths"]] == [5] * 5 + [2] + [5] * 6
    for k, length in enumerate(replay["lengths"]):
        x = replay["observations"][k, :, : length + 1, 1].numpy()
        actions = replay["actions"][k, :, :length, 0].numpy()
        np.testing.assert_allclose(np.diff(x, axis=1), 0.25 * actions, atol=1e-6)
        rewards = -0.5 * (x[:, 1:] - float(replay["mu"][k, 0])) ** 2
        np.testing.assert_allclose(replay["rewards"][k, :, :length], rewards, atol=1e-6)


@pytest.mark.mpi
def test_idle_groups_wait_and_validation_is_that_of_one_group(four: Any, tmp_path: Path) -> None:
    """Four groups, three validation parameters, a last round of two of which one is random."""
    one = serial(tmp_path / "one", episodes=6, random_episodes=5)
    lines = read_metrics(four[0] / "four")
    kinds = [line["random"] for line in lines if line["kind"] == "episode"]
    assert kinds == [True] * 5 + [False]
    (validation,) = [line for line in lines if line["kind"] == "validation"]
    assert validation["uncontrolled"] == one["uncontrolled"]
    # no update yet after episode 6: the policy is that of one group, and so is its cost
    serial(tmp_path / "six", episodes=7, random_episodes=6)
    assert validation_at_six(four[0] / "six") == validation_at_six(tmp_path / "six")


def validation_at_six(run: Path) -> dict[str, Any]:
    lines = [line for line in without_seconds(run) if line["kind"] == "validation"]
    assert lines[0]["episode"] == 6
    return lines[0]


@pytest.mark.mpi
def test_another_number_of_groups_goes_on_with_a_note(
    two: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    config, path = toy_config(episodes=13), two[0] / "again"
    content = path.joinpath("checkpoints", "last.pt").read_bytes()
    metrics = RunFolder(path).metrics.read_bytes()
    summary = loop.train(config, path, make_env=ToyEnv, progress=False, resume=True)
    assert (summary["groups"], summary["episode"]) == (1, 13)
    assert "note: 2 environments at once so far, 1 from here on" in capsys.readouterr().err
    path.joinpath("checkpoints", "last.pt").write_bytes(content)
    RunFolder(path).metrics.write_bytes(metrics)


@pytest.mark.mpi
def test_errors_that_all_ranks_have_are_raised_on_all(two: Any, four: Any) -> None:
    """An occupied folder, a learner that leaves the numbers, a split that cannot be."""
    assert len(two[1]) == 2
    for line in two[1]:
        assert re.search(r"RunError.*already holds a run.*TrainingError.*episode 3.*is nan", line)
    assert len(four[1]) == 4
    for line in four[1]:
        assert "ValueError: 4 ranks cannot be split into groups of 3" in line


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("rank", "death"),
    [
        (1, "killed"),
        (1, "broken"),
        pytest.param(0, "killed", marks=pytest.mark.slow),
        pytest.param(0, "broken", marks=pytest.mark.slow),
    ],
)
def test_a_rank_that_dies_in_an_episode_ends_all(
    tmp_path: Path, mpirun: Any, rank: int, death: str
) -> None:
    arguments = (death, str(tmp_path), str(rank))
    out = mpirun(2, SCRIPT, *arguments, timeout=180, expect_failure=True)
    assert "went on" not in out
    assert [line["episode"] for line in read_metrics(tmp_path / "run")] == [1, 2, 3, 4, 4]
    if death == "broken":
        assert f"rank {rank} of 2 failed, all ranks stop" in out
        assert out.count("OSError: the disk of this rank is gone") == 1


def test_a_slot_drops_a_failed_step_and_ends() -> None:
    def outcome(failure: str | None) -> groups.Outcome:
        return groups.Outcome(np.ones((4, 3)), np.full(4, 2.0), False, False, 3.0, failure)

    slot = groups.Slot(0, False, np.zeros((4, 3)), np.zeros(1), np.zeros((4, 1)))
    slot.take(np.zeros((4, 1)), outcome(None))
    slot.take(np.zeros((4, 1)), outcome("too late"))
    assert (slot.done, slot.failure, len(slot.steps)) == (True, "too late", 1)
    assert (slot.cost, slot.return_mean) == (3.0, 2.0)
    assert not slot.first.any()
