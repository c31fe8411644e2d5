from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from hypemarl import config
from hypemarl.config import (
    Config,
    ConfigError,
    check_training,
    from_dict,
    load,
    override,
    to_dict,
    to_yaml,
)
from hypemarl.training.jobs import Job
from hypemarl.training.loop import train


@pytest.mark.parametrize("name", config.scenarios())
def test_scenarios_load_and_survive_yaml(name: str) -> None:
    loaded = load(name)
    assert loaded.scenario == name
    assert loaded.description
    assert from_dict(yaml.safe_load(to_yaml(loaded))) == loaded


def test_defaults_are_a_valid_configuration() -> None:
    assert from_dict({}) == Config()
    assert from_dict(to_dict(Config())) == Config()


def test_overrides_come_last_and_are_yaml() -> None:
    loaded = load(
        "density-1d",
        ["agent.gamma=0.5", "env.agents=[5]", "env.horizon=3", "agent.actor_rate=1e-4"],
    )
    assert loaded.agent.gamma == 0.5
    assert loaded.env.agents == (5,)
    assert loaded.env.horizon == 3.0
    assert isinstance(loaded.env.horizon, float)
    assert loaded.agent.actor_rate == 1e-4
    assert dataclasses.replace(loaded.env, agents=(10,), horizon=2.0) == load("density-1d").env


def test_a_file_holds_differences_from_a_scenario(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("scenario: density-1d\nenv: {mesh: {element_size: 0.02}}\nseed: 3\n")
    loaded, base = load(file), load("density-1d")
    assert loaded.env.mesh == dataclasses.replace(base.env.mesh, element_size=0.02)
    assert (loaded.seed, loaded.agent) == (3, base.agent)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("agent.gama=0.9", r"unknown key 'agent\.gama'; did you mean 'agent\.gamma'\? .*scheme"),
        ("gamma=0.9", r"unknown key 'gamma'; did you mean 'agent\.gamma'"),
        ("env.mesh.size=0.1", r"unknown key 'env\.mesh\.size'.*element_size"),
        ("env.density.viscosity=-0.001", r"viscosity: expected a value > 0, got -0\.001"),
        ("env.density.viscosity=0", r"viscosity: expected a value > 0"),
        ("env.density.viscosity=.nan", r"viscosity: expected a finite number"),
        ("env.horizon=soon", r"env\.horizon: expected a number, got 'soon'"),
        ("env.control_steps=2.5", r"env\.control_steps: expected integer, got 2\.5"),
        ("env.control_steps=true", r"env\.control_steps: expected integer, got True"),
        ("env.control_steps=0", r"env\.control_steps: expected a value >= 1"),
        ("agent.gamma=1.5", r"agent\.gamma: expected a value >= 0 and <= 1, got 1\.5"),
        ("agent.actor_rate=0", r"agent\.actor_rate: expected a value > 0"),
        ("agent.actor_hidden=[32, 0]", r"agent\.actor_hidden: expected a value >= 1, got 0"),
        ("agent.actor_hidden=32", r"agent\.actor_hidden: expected a list"),
        ("agent.huber=1", r"agent\.huber: expected true\|false, got 1"),
        ("agent.credit=none", r"agent\.credit: expected one of local, .*adjoint, got 'none'"),
        ("env.context=[wind]", r"env\.context: expected names out of target, initial"),
        ("env.context=[target, target]", r"env\.context repeats"),
        ("env.mesh=square", r"env\.mesh: expected keys and values, got 'square'"),
        ("agent.gamma.x=1", r"agent\.gamma: expected a number"),
        ("scenario=density-vacuum", "chosen by its name"),
        ("agent.gamma", "expected key=value"),
        ("env.agents=[1", "not valid YAML"),
        ("env.agents=[10, 10]", r"has 2 axes, but env\.mesh\.shape=interval has 1"),
        ("env.agents=[2, 2, 2]", "expected 1 or 2 axes"),
        ("env.density.target_high=[0.5, 0.5]", "need 1 entries"),
        ("env.density.target_low=[0.6]", r"target_low \[0\.6\] exceeds target_high \[0\.5\]"),
        ("env.density.target_high=[1.5]", r"leaves the domain \[-1\.0, 1\.0\]"),
        ("env.mesh.upper=-1", r"lower \(-1\.0\) must be below upper"),
        ("env.mesh.element_size=0.3", r"exceeds an agent's patch \(0\.2\)"),
        (
            "agent.batch_steps=9",
            r"batch_steps \(9\) exceeds env\.control_steps \(8\).* set agent\.batch_steps=8 or",
        ),
        ("agent.replay_episodes=2", "exceeds agent.replay_episodes"),
        ("training.episodes=25", r"random_episodes \(25\) must be smaller"),
        ("agent.credit_radius=0", "has no near agents"),
        ("agent.encoding_size=1", "must be at least 2"),
    ],
)
def test_bad_settings_are_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_training(load("density-1d", [override]))


def test_short_episodes_are_refused_only_where_batches_are_cut_from_them(tmp_path: Path) -> None:
    short = ["env.control_steps=4", "env.horizon=0.4"]
    config = load("flow-cylinder", short)  # to simulate it, agents' settings do not matter
    assert config.env.control_steps == 4
    message = r"control_steps \(4\).*set agent\.batch_steps=4 or less"
    for begin in (check_training, lambda c: Job(c, tmp_path), lambda c: train(c, tmp_path)):
        with pytest.raises(ConfigError, match=message):
            begin(config)
    check_training(load("flow-cylinder", [*short, "agent.batch_steps=4"]))
    check_training(load("flow-cylinder", [*short, "training.algorithm=apg", "agent.apg.window=0"]))


def test_a_configuration_takes_overrides() -> None:
    config = load("density-1d", ["agent.gamma=0.7"])
    assert override(config, []) == config
    assert override(config, ["seed=3"]) == load("density-1d", ["agent.gamma=0.7", "seed=3"])
    with pytest.raises(ConfigError, match="did you mean 'agent.gamma'"):
        override(config, ["agent.gama=1"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["env.agents=[2, 8]", "agent.credit=central"], "central needs 3 or more agents per axis"),
        (["env.mesh.shape=square-with-disc", "env.mesh.disc_radius=1"], "does not fit width 2"),
    ],
)
def test_bad_combinations_in_two_dimensions(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_training(load("density-vacuum", overrides))


def test_a_mesh_file_decides_its_own_dimension() -> None:
    assert load("density-1d", ["env.mesh.file=line.msh"]).env.mesh.file == "line.msh"
    with pytest.raises(ConfigError, match="need 2 entries"):
        load("density-1d", ["env.mesh.file=plane.msh", "env.agents=[3, 3]"])


def test_unknown_sources_are_named(tmp_path: Path) -> None:
    message = r"did you mean 'density-1d'\? Scenarios: cylinder-jets, density-1d"
    with pytest.raises(ConfigError, match=message):
        load("density-1")
    file = tmp_path / "bad.yaml"
    for text, message in (
        ("- a\n", "expected keys and values, got list"),
        ("scenario: nowhere\n", "'nowhere' is none of"),
        ("env: [1\n", "not valid YAML"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=message):
            load(file)


def test_explain_lists_every_key_with_its_meaning() -> None:
    lines = config.explain().splitlines()
    leaves = [name for name, _, _ in config.loading._keys(Config)]
    assert [line.split(" = ")[0] for line in lines] == leaves
    assert "agent.gamma = 0.99  # discount per control step [number >= 0 and <= 1]" in lines
    assert all(item.metadata["help"] for _, item, _ in config.loading._keys(Config))


def test_choices() -> None:
    schemes = ("hypemarl", "marl", "fups-id", "nops", "fups-id-no-state", "marl-mu")
    assert config.choices("agent.scheme") == schemes


def test_an_old_key_beside_a_section_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"env\.density\.beta: density is a single value"):
        load("density-1d", ["env.density=3", "env.beta=0.1"])
