"""Runs that are what they say: one writer, records that fit, refusals that change nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from holder import held_by_another
from test_loop import assert_equal, stored, train, without_seconds
from toy import ToyEnv, toy_config

from hypemarl import files
from hypemarl.training import checkpoint, jobs, records, summary
from hypemarl.training.checkpoint import CheckpointError
from hypemarl.training.records import Recorder, RunError, RunFolder, read_metrics


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight episodes; tests work on copies."""
    path = tmp_path_factory.mktemp("runs") / "eight"
    train(toy_config(), path)
    return path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def resume(run: Path, episodes: int = 10) -> dict[str, Any]:
    return train(toy_config(episodes=episodes), run, resume=True)


def episodes_of(run: Path) -> list[int]:
    return [line["episode"] for line in read_metrics(run) if line["kind"] == "episode"]


# Checkpoints


def test_flipped_bits_of_a_checkpoint_are_refused(run: Path) -> None:
    file = RunFolder(run).best
    content = file.read_bytes()
    generator = np.random.default_rng(0)
    places = [
        *generator.integers(len(content), size=25),
        *range(len(content) - 90, len(content), 3),
    ]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 4
        file.write_bytes(changed)
        with pytest.raises(CheckpointError, match=r"best\.pt: .*restore it from a copy"):
            checkpoint.load(file)
    file.write_bytes(content)
    assert checkpoint.load(file)["progress"]["episode"]
    torch.load(file, weights_only=True)  # for others it is what torch writes


def test_a_checkpoint_from_before_checksums_loads_with_a_note_and_goes_on(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(run)
    content = checkpoint.load(folder.last)
    torch.save(content | {"version": 1}, folder.last)
    shutil.rmtree(folder.tensorboard, ignore_errors=True)
    folder.copy.unlink()
    resume(run, 12)
    assert "last.pt: written before checkpoints had checksums" in capsys.readouterr().err
    train(toy_config(episodes=12), tmp_path / "whole")
    assert_equal(stored(run), stored(tmp_path / "whole"))
    torch.save(content, folder.last)
    with pytest.raises(CheckpointError, match="its checksum is missing"):
        checkpoint.load(folder.last)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("replay"), "lacks the entry 'replay'"),
        (lambda c: c.pop("progress"), "lacks the entry 'progress'"),
        (lambda c: c.pop("config"), "lacks the entry 'config'"),
        (lambda c: c["progress"].pop("episode"), r"lacks the entry 'progress\.episode'"),
        (lambda c: c["progress"].update(luck=1), "its progress does not fit .*luck"),
        (lambda c: c["agent"].pop("actor"), "its agent does not fit this run .*it lacks 'actor'"),
        (lambda c: c.update(luck=1), "entries that are unknown here: luck"),
        (lambda c: c.update(config=3), "its config is no mapping"),
    ],
)
def test_entries_that_lack_or_are_unknown_are_named_and_nothing_changes(
    run: Path, change: Any, message: str
) -> None:
    folder = RunFolder(run)
    content = checkpoint.load(folder.last)
    change(content)
    files.write_sealed(folder.last, lambda stream: torch.save(content, stream))
    before = contents(run)
    with pytest.raises(CheckpointError, match=message):
        resume(run)
    assert contents(run) == before


# Refused resumes


def test_fewer_episodes_than_were_trained_are_refused_and_nothing_changes(run: Path) -> None:
    before = contents(run)
    with pytest.raises(CheckpointError, match="8 episodes are trained already.* is 4: name 8"):
        resume(run, 4)
    assert contents(run) == before
    assert resume(run, 8)["episode"] == 8  # as many: nothing to train
    assert resume(run, 9)["episode"] == 9
    assert RunFolder(run).read_config().training.episodes == 9


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_that_cannot_be_built_changes_nothing(run: Path, overwrite: bool) -> None:
    def broken(config: Any, comm: Any) -> Any:
        raise RuntimeError("no such plant")

    before = contents(run)
    with pytest.raises(RuntimeError, match="no such plant"):
        train(toy_config(), run, make_env=broken, resume=not overwrite, overwrite=overwrite)
    assert contents(run) == before


def test_a_run_without_its_last_checkpoint_begins_anew_and_says_so(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RunFolder(run).last.unlink()
    assert resume(run, 8)["episode"] == 8
    assert "last.pt is not there: training begins with the first episode" in capsys.readouterr().err
    assert episodes_of(run) == list(range(1, 9))


# One writer


@pytest.mark.parametrize("options", [{"resume": True}, {"overwrite": True}])
def test_a_second_writer_is_refused_and_a_dead_one_does_not_block(
    run: Path, options: dict[str, bool]
) -> None:
    before = contents(run)
    child = held_by_another(run)
    job = jobs.Job(toy_config(), run)
    try:
        with pytest.raises(RunError, match=rf"another run writes there: .*process {child.pid} on"):
            train(toy_config(episodes=10), run, **options)
        with pytest.raises(RunError, match=f"process {child.pid} on"):
            jobs.run_jobs([(job, ["--resume"])], 1, progress=False)
        assert summary.evaluate_run(run, make_env=ToyEnv)["cost"]  # readers are no writers
        (run / "evaluation.json").unlink()
    finally:
        child.kill()
        child.wait()
    (run / ".lock").unlink()
    assert contents(run) == before
    child = held_by_another(run)
    child.kill()
    child.wait()
    assert train(toy_config(episodes=10), run, **options)["episode"] == 10
    assert not (run / ".lock").exists()


def test_leftovers_of_a_killed_writer_go_with_the_next_opening(run: Path) -> None:
    left = run / "checkpoints" / ".last.pt.999999999.tmp"
    left.write_bytes(b"x")
    resume(run)
    assert not left.exists()


# Records


@pytest.mark.parametrize("lines", [None, 0, 3])
def test_lost_metrics_are_given_back(
    run: Path, lines: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = RunFolder(run).metrics
    whole = metrics.read_bytes()
    metrics.unlink()
    if lines is not None:
        metrics.write_bytes(b"".join(whole.splitlines(keepends=True)[:lines]))
    resume(run)
    assert "are restored from" in capsys.readouterr().err
    assert metrics.read_bytes().startswith(whole)
    assert episodes_of(run) == list(range(1, 11))


def test_metrics_that_are_lost_for_good_leave_a_mark(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(run)
    lines = folder.metrics.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["episode"] <= 3]
    folder.metrics.write_bytes(b"".join(kept))
    folder.copy.unlink()
    resume(run)
    said = capsys.readouterr().err
    assert "records of 5 of the 8 episodes before the checkpoint are lost, from episode 4" in said
    gaps = [line for line in read_metrics(run) if line["kind"] == "gap"]
    assert [(line["missing"], line["first"], line["last"]) for line in gaps] == [(5, 4, 8)]
    assert episodes_of(run) == [1, 2, 3, 9, 10]
    resume(run, 12)  # marked already: not said again
    assert "are lost" not in capsys.readouterr().err
    assert episodes_of(run) == [1, 2, 3, 9, 10, 11, 12]


def test_changed_records_are_told_of_and_taken(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(run)
    read_metrics(run)
    folder.read_config()
    assert capsys.readouterr().err == ""
    folder.metrics.write_bytes(folder.metrics.read_bytes().replace(b'"cost": 0', b'"cost": 1', 1))
    folder.config.write_text(folder.config.read_text().replace("episodes: 8", "episodes: 9", 1))
    read_metrics(run)
    assert folder.read_config().training.episodes == 9
    said = capsys.readouterr().err
    assert "metrics.jsonl was changed since it was written" in said
    assert "config.yaml was changed since the last checkpoint" in said
    resume(run)
    assert "metrics.jsonl was changed since the checkpoint" in capsys.readouterr().err
    read_metrics(run)
    folder.read_config()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("line", ["[1, 2]", '"text"', '{"kind": "episode"}', '{"episode": "x"}'])
def test_a_line_that_is_no_record_is_named(run: Path, line: str) -> None:
    metrics = RunFolder(run).metrics
    lines = metrics.read_text().splitlines()
    metrics.write_text("\n".join([lines[0], line, *lines[1:]]))
    before = contents(run)
    for attempt in (read_metrics, resume):
        with pytest.raises(RunError, match=r"metrics\.jsonl:2: expected a record with kind, "):
            attempt(run)
    assert contents(run) == before


def test_the_copy_of_the_records_is_damaged(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = RunFolder(run).copy
    copy.write_bytes(copy.read_bytes()[:-200])
    resume(run)
    assert "records.npz: not used as a copy" in capsys.readouterr().err
    assert episodes_of(run) == list(range(1, 11))


def test_a_damaged_trajectory_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "trajectory.npz"
    whole = {"times": np.arange(2), "points": np.zeros((3, 1)), "actions": np.zeros((2, 1, 1))}
    records.write_trajectory(file, whole)
    assert records.read_trajectory(tmp_path)["times"].tolist() == [0, 1]
    content = file.read_bytes()
    for damaged in (content[:-100], content[:50], content.replace(b"times", b"timez")):
        file.write_bytes(damaged)
        with pytest.raises(RunError, match=r"trajectory\.npz: not a trajectory that loads"):
            records.read_trajectory(tmp_path)
    records.write_trajectory(file, {"points": np.zeros((3, 1))})
    with pytest.raises(RunError, match="it lacks actions, times"):
        records.read_trajectory(tmp_path)


# File systems that refuse


def test_a_full_disk_in_a_save_says_what_is_whole_and_the_run_goes_on_later(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(content: Any, stream: Any) -> None:
        if content["progress"]["episode"] >= 6:
            stream.stream = type("Full", (), {"write": refuse})()
            try:
                stream.write(b"x")
            except OSError:
                raise RuntimeError("[enforce fail at inline_container.cc:671]") from None
        save(content, stream)

    def refuse(self: Any, data: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run, save = tmp_path / "run", torch.save
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError) as refused:
        train(toy_config(), run)
    monkeypatch.setattr(torch, "save", save)
    said = str(refused.value)
    assert "No space left on device" in said
    assert "MiB of space free" in said
    assert "the last checkpoint is whole: then run the same command with --resume" in said
    assert "enforce" not in said
    train(toy_config(), run, resume=True)
    assert_equal(stored(run), stored(finished))
    assert without_seconds(run) == without_seconds(finished)


def test_a_full_disk_at_a_metrics_line_is_named(run: Path) -> None:
    recorder = Recorder(RunFolder(run), tensorboard=False, after_episode=8)
    recorder._stream.close()
    recorder._stream = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    with pytest.raises(RunError, match=r"metrics\.jsonl: not written: No space.*--resume"):
        recorder.write("episode", 9, 9, 0.0)
    recorder.close()


def test_a_folder_that_vanishes_while_training_is_told_and_not_made_again(tmp_path: Path) -> None:
    def vanishing(config: Any, comm: Any) -> ToyEnv:
        env = ToyEnv(config, comm)
        env.on_step = lambda episode, step: (
            shutil.rmtree(tmp_path / "run") if (episode, step) == (10, 1) else None
        )
        return env

    with pytest.raises(RunError, match="removed or replaced while training went on"):
        train(toy_config(), tmp_path / "run", make_env=vanishing)
    assert not (tmp_path / "run").exists()


def test_a_missing_best_checkpoint_is_told_of(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    RunFolder(run).best.unlink()
    assert summary.evaluate_run(run, make_env=ToyEnv)["cost"] > 0
    assert "best.pt is missing: in place of the best policy, of episode" in capsys.readouterr().err


def test_a_read_only_run_is_evaluated_and_keeps_no_result(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hypemarl.files.may_write", lambda folder: False)
    assert summary.evaluate_run(run, make_env=ToyEnv)["cost"] > 0
    assert "is read-only: its evaluation.json is not written" in capsys.readouterr().err
    assert not RunFolder(run).evaluation.exists()


# Ranks


@pytest.mark.slow
@pytest.mark.mpi
def test_the_lock_of_another_process_is_an_error_of_every_rank(run: Path, mpirun: Any) -> None:
    script, before = Path(__file__).parents[1] / "ranks" / "resumed.py", contents(run)
    child = held_by_another(run)
    out = mpirun(2, script, str(run)).splitlines()
    child.kill()
    child.wait()
    assert sorted(line[0] for line in out) == ["0", "1"]
    assert all(f"process {child.pid} on" in line for line in out)
    (run / ".lock").unlink()
    assert contents(run) == before
    assert sorted(mpirun(2, script, str(run)).split("\n"))[1:] == ["0: trained", "1: trained"]
