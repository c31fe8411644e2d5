from __future__ import annotations

import dataclasses
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from toy import ToyEnv, toy_config

from hypemarl import config as configuration
from hypemarl.training import checkpoint
from hypemarl.training.checkpoint import CheckpointError

STATE: dict[str, Any] = {"agent": {"weight": torch.arange(3.0)}, "number": 2**100, "text": "a"}


def test_round_trip(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "last.pt"
    checkpoint.save(file, STATE, toy_config())
    loaded = checkpoint.load(file)
    assert torch.equal(loaded["agent"]["weight"], STATE["agent"]["weight"])
    assert (loaded["number"], loaded["text"]) == (2**100, "a")
    checkpoint.check_config(file, loaded, toy_config())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "last.pt"
    checkpoint.save(file, STATE, toy_config())
    with pytest.raises((pickle.PicklingError, AttributeError)):
        checkpoint.save(file, {"agent": lambda: None}, toy_config())
    assert checkpoint.load(file)["text"] == "a"
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.pt"]


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    file, whole = tmp_path / "last.pt", tmp_path / "whole.pt"
    checkpoint.save(whole, STATE, toy_config())
    content = whole.read_bytes()
    for size in (*range(0, len(content), 50), len(content) - 1):
        file.write_bytes(content[:size])
        with pytest.raises(CheckpointError, match=rf"got {size} bytes|checksum is missing"):
            checkpoint.load(file)


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["HYPEMARL_TEST_TRAP"],)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_pickled_code_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    trap, file = tmp_path / "trap", tmp_path / "last.pt"
    monkeypatch.setenv("HYPEMARL_TEST_TRAP", str(trap))
    content = {"format": checkpoint.FORMAT, "version": checkpoint.VERSION, "agent": Payload()}
    if writer == "torch":
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match="do not load as plain tensors"):
        checkpoint.load(file)
    assert not trap.exists()


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "last.pt"
    torch.save({"weight": torch.zeros(2)}, file)
    with pytest.raises(CheckpointError, match="expected format 'hypemarl-checkpoint', got None"):
        checkpoint.load(file)
    torch.save([1, 2], file)
    with pytest.raises(CheckpointError, match="got 'list'"):
        checkpoint.load(file)
    torch.save({"format": checkpoint.FORMAT, "version": 99}, file)
    with pytest.raises(CheckpointError, match="expected version 1 or 2, got 99"):
        checkpoint.load(file)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "none.pt")


def test_another_configuration_is_named_and_free_keys_are_not(tmp_path: Path) -> None:
    file, config = tmp_path / "last.pt", toy_config()
    checkpoint.save(file, STATE, config)
    content = checkpoint.load(file)
    longer = dataclasses.replace(config.training, episodes=99, device="auto")
    checkpoint.check_config(file, content, dataclasses.replace(config, training=longer))
    other = dataclasses.replace(config, seed=5, agent=dataclasses.replace(config.agent, tau=0.5))
    with pytest.raises(CheckpointError, match=r"agent\.tau is 0\.005 there, 0\.5 here; seed is 0"):
        checkpoint.check_config(file, content, other)


@pytest.mark.parametrize(
    ("method", "key", "differs"),
    [
        ("td3", "agent.apg.rate=0.5", False),
        ("td3", "agent.gamma=0.5", True),
        ("apg", "agent.gamma=0.5", False),
        ("apg", "agent.apg.rate=0.5", True),
        ("apg", "agent.hyper_width=7", True),
    ],
)
def test_what_a_method_does_not_read_may_differ(method: str, key: str, differs: bool) -> None:
    given = [f"training.algorithm={method}"]
    stored = {"config": configuration.to_dict(configuration.load("density-1d", given))}
    wanted = configuration.load("density-1d", [*given, key])
    if differs:
        with pytest.raises(CheckpointError, match="another configuration"):
            checkpoint.check_config("last.pt", stored, wanted)
    else:
        checkpoint.check_config("last.pt", stored, wanted)


def test_networks_of_another_size_are_refused(tmp_path: Path) -> None:
    from hypemarl.algorithms.td3.agent import TD3

    config = toy_config()
    spec = ToyEnv(config.env).agent_spec
    wide = dataclasses.replace(config.agent, actor_hidden=(9,))
    agent, other = TD3(spec, config.agent, 0), TD3(spec, wide, 0)
    with pytest.raises(CheckpointError, match="its agent does not fit this run"):
        checkpoint.restore("last.pt", {"agent": (agent.load_state_dict, other.state_dict())})


def test_a_key_younger_than_the_checkpoint_counts_as_its_default(tmp_path: Path) -> None:
    config = toy_config()
    stored = configuration.to_dict(config)
    del stored["training"]["threads"]
    checkpoint.check_config(tmp_path, {"config": stored}, config)
    other = dataclasses.replace(config, training=dataclasses.replace(config.training, threads=7))
    with pytest.raises(CheckpointError, match=r"training\.threads is 1 there, 7 here"):
        checkpoint.check_config(tmp_path, {"config": stored}, other)
