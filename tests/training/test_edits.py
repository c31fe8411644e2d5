"""Edits of config.yaml that a resume drops are named; those that it takes are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_loop import train
from toy import toy_config

from hypemarl.training.records import RunFolder

Output = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, capsys: Output) -> RunFolder:
    train(toy_config(episodes=4), tmp_path / "run")
    capsys.readouterr()
    return RunFolder(tmp_path / "run")


def edit(folder: RunFolder, old: str, new: str) -> None:
    text = folder.config.read_text()
    assert old in text
    folder.config.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("copied", [True, False])
def test_dropped_edits_are_named(folder: RunFolder, copied: bool, capsys: Output) -> None:
    horizon = folder.read_config().env.horizon
    edit(folder, f"horizon: {horizon}", "horizon: 7.5")
    edit(folder, "episodes: 4", "episodes: 9")
    if not copied:
        folder.copy.unlink()
    train(toy_config(episodes=5), folder.path, resume=True)
    said = capsys.readouterr().err
    assert f"env.horizon = 7.5 (taken: {horizon}), training.episodes = 9 (taken: 5). To" in said
    assert f"hypemarl train --resume --run {folder.path};" in said
    assert said.count("taken:") == 2
    assert folder.read_config().env.horizon == horizon


def test_edits_that_are_taken_need_no_note(folder: RunFolder, capsys: Output) -> None:
    train(toy_config(episodes=5), folder.path, resume=True)  # longer than before: no edit
    assert "edited" not in capsys.readouterr().err
    edit(folder, "episodes: 5", "episodes: 6")
    train(folder.read_config(), folder.path, resume=True)
    assert "edited" not in capsys.readouterr().err
    assert folder.read_config().training.episodes == 6


def test_a_file_that_does_not_load_is_named(folder: RunFolder, capsys: Output) -> None:
    edit(folder, "episodes: 4", "episodes: [")
    train(toy_config(episodes=5), folder.path, resume=True)
    assert "config.yaml is written anew with the settings of this" in capsys.readouterr().err
    assert folder.read_config().training.episodes == 5


def test_nothing_is_called_edited_where_nothing_is_known(folder: RunFolder, capsys: Output) -> None:
    folder.last.unlink()
    folder.copy.unlink()
    train(toy_config(episodes=5), folder.path, resume=True)
    assert "was edited" not in capsys.readouterr().err
