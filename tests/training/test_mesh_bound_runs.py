"""Runs are bound to the files of their mesh."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from test_loop import train
from test_true_runs import contents
from toy import ToyEnv, toy_config

from hypemarl import config as configuration
from hypemarl.config import Config, mesh_files
from hypemarl.training import jobs, summary
from hypemarl.training.checkpoint import CheckpointError
from hypemarl.training.records import RunFolder


def on_file(path: str, **training: Any) -> Config:
    config = toy_config(**training)
    mesh = dataclasses.replace(config.env.mesh, file=path)
    return dataclasses.replace(config, env=dataclasses.replace(config.env, mesh=mesh))


def checked(config: Any, comm: Any) -> ToyEnv:
    """The toy, behind the check that :func:`hypemarl.envs.make` makes."""
    mesh_files.check(config)
    return ToyEnv(config, comm)


def test_mesh_files_are_bound_by_path_and_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, run = tmp_path / "home", tmp_path / "run"
    home.mkdir()
    (home / "m.msh").write_bytes(b"one")
    monkeypatch.chdir(home)
    train(on_file("m.msh"), run, make_env=checked)
    bound = RunFolder(run).read_config().env.mesh
    assert bound.file == str(home / "m.msh")
    assert bound.files_sha256
    assert jobs.continue_flags(on_file("m.msh"), run) is None  # whole, whatever the path is like

    monkeypatch.chdir(tmp_path)  # evaluated and resumed from elsewhere
    assert summary.evaluate_run(run, make_env=checked)["cost"] > 0
    assert train(on_file("home/m.msh", episodes=9), run, make_env=checked, resume=True)

    (home / "m.msh").rename(tmp_path / "moved.msh")
    with pytest.raises(configuration.ConfigError, match=r"m\.msh: no such mesh file; .*config\.y"):
        summary.evaluate_run(run, make_env=checked)
    assert train(on_file("moved.msh", episodes=10), run, make_env=checked, resume=True)
    assert summary.evaluate_run(run, make_env=checked)["cost"] > 0

    (tmp_path / "moved.msh").write_bytes(b"two")
    before = contents(run)
    with pytest.raises(configuration.ConfigError, match="another mesh under this name"):
        summary.evaluate_run(run, make_env=checked)
    with pytest.raises(CheckpointError, match=r"env\.mesh\.files_sha256 is '.* there, '.* here"):
        train(on_file("moved.msh", episodes=11), run, make_env=checked, resume=True)
    assert contents(run) == before


def test_a_missing_mesh_file_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(
        configuration.ConfigError, match=r"none\.msh: no such mesh file; .*mesh\.file"
    ):
        train(on_file("none.msh"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
