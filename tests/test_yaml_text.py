"""YAML from anyone: plain data, or one line with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypemarl.config import ConfigError, load, load_file, to_yaml
from hypemarl.config.yaml_text import read_text


def laughs(depth: int) -> str:
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, depth)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nenv: [\n", r"mine\.yaml:3: not valid YAML"),
        ("seed: !!python/object/apply:os.system ['touch RAN']\n", r"mine\.yaml:1: .*plain values"),
        ("[1]\n", r"mine\.yaml: expected keys and values, got list"),
        ("seed: 1\n\x01\n", r"mine\.yaml:2: .*U\+0001"),
        ("", r"mine\.yaml: the file is empty"),
        ("# nothing\n", r"mine\.yaml: the file is empty"),
        ("agent:\n  gamma: 0.5\nseed: 1\nagent:\n  tau: 0.1\n", r"yaml:4: .*'agent'.*in line 1"),
        ("agent:\n  gamma: 0.5\n  gamma: 0.9\n", r"yaml:3: .*'agent\.gamma'.*in line 2"),
        ("agent: {gamma: 0.5, gamma: 0.9}\n", r"yaml:1: .*'agent\.gamma'.*in line 1"),
        (laughs(7), r"aliases .* more than 100000 values"),
        ("description: &a [*a]\n", r"yaml:1: a value contains itself"),
        ("[" * 900, "nested too deeply"),
        ("seed: 1\ndescription: 2020-13-45\n", r"yaml:2: .*does not fit its type"),
        ("seed: 1\n---\nseed: 2\n", r"yaml:2: .*single document"),
        ("seed: " + "9" * 5000, r"yaml:1: .*does not fit its type"),
        (
            "scenario: density-1d\nseed: " + "9" * 4000,
            r"yaml:2: seed: .*at most 9223372036854775807",
        ),
        ("env:\n  horizon: " + "9" * 4000, r"yaml:2: env\.horizon: expected a number"),
        ("agent:\n  gama: 0.9\n", r"yaml:2: unknown key 'agent\.gama'; did you mean"),
        ("agent:\n  actor_hidden: [8, x]\n", r"yaml:2: agent\.actor_hidden\[1\]: expected integer"),
    ],
)
def test_what_is_no_configuration_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    for read in (load, load_file):
        with pytest.raises(ConfigError, match=message) as refused:
            read(file)
        assert len(str(refused.value)) < 1500 + len(str(file))
        assert "\n" not in str(refused.value)
    assert not Path("RAN").exists()


def test_text_that_is_no_utf8_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"seed: 1\ndescription: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml:2: expected UTF-8 text, got the byte 0xe9"):
        load(tmp_path / "latin.yaml")


def test_sound_yaml_keeps_its_meaning(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "scenario: density-1d\n"
        "agent: &shared\n  gamma: 0.5\n  actor_hidden: &sizes [8, 8]\n  critic_hidden: *sizes\n"
        "training: {episodes: 40}\n"
        "description: 'café'\n"
    )
    found = load(file, ["agent.tau=0.02"])
    assert (found.agent.gamma, found.agent.tau, found.training.episodes) == (0.5, 0.02, 40)
    assert found.agent.actor_hidden == found.agent.critic_hidden == (8, 8)
    assert found.description == "café"
    (tmp_path / "whole.yaml").write_text(to_yaml(found), encoding="utf-8")
    assert load_file(tmp_path / "whole.yaml") == found
    assert read_text("{a: {x: 1}, b: {x: 2}}", "text").lines == {"a": 1, "a.x": 1, "b": 1, "b.x": 1}


def test_an_override_mends_what_the_file_says(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("scenario: density-1d\nagent:\n  gamma: 7\n")
    assert load(file, ["agent.gamma=0.5"]).agent.gamma == 0.5
    with pytest.raises(ConfigError, match=r"^agent\.gamma: expected"):  # not the file's line
        load(file, ["agent.gamma=8"])


def test_long_values_are_cut_in_messages(tmp_path: Path) -> None:
    for override in ("agent.scheme", "env.horizon", "env.agents", "agent.gamma"):
        with pytest.raises(ConfigError, match=r"\.\.\. \(500[02] characters\)") as refused:
            load("density-1d", [f"{override}={'x' * 5000}"])
        assert len(str(refused.value)) < 300
    for call in (
        {"source": "x" * 5000},
        {"source": "density-1d", "overrides": ["x" * 5000 + "=1"]},
    ):
        with pytest.raises(ConfigError) as refused:
            load(**call)  # type: ignore[arg-type]
        assert len(str(refused.value)) < 600
