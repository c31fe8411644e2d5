"""Policies in an environment that is changed after their training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_own_file import SETTINGS, hypemarl

from hypemarl import config as configuration
from hypemarl.agents.encoding import encode
from hypemarl.config import ConfigError
from hypemarl.envs import make
from hypemarl.training.learner import algorithm_of
from hypemarl.training.transfer import settle

FILE = Path(__file__).parents[2] / "demos" / "own_pde.py"
FEW = ("--set", "training.episodes=2", "--train", "apg", "--quiet")
MORE = ("--set", "env.agents=[5,5]", "--set", "env.horizon=0.6", "--set", "env.control_steps=6")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    schemes = ("hypemarl", "marl", "nops")
    for scheme in schemes:
        more = ("--scheme", scheme, "--run", folder / scheme)
        hypemarl("train", FILE, *SETTINGS, *FEW, *more)
    return {scheme: folder / scheme for scheme in schemes}


def evaluated(run: Path, *settings: str) -> dict[str, float]:
    file = run.parent / "result.json"
    hypemarl("evaluate", run, *settings, "--json", file, "--use", FILE)
    return json.loads(file.read_text())


@pytest.mark.parametrize("scheme", ["hypemarl", "marl"])
def test_policies_act_in_another_grid_and_for_longer(runs: dict[str, Path], scheme: str) -> None:
    here = evaluated(runs[scheme])
    written = (runs[scheme] / "evaluation.json").read_bytes()
    same = evaluated(runs[scheme], "--set", "env.horizon=0.4")
    there = evaluated(runs[scheme], *MORE)
    assert same == here
    assert np.isfinite(there["cost"])
    assert there["uncontrolled"] > here["uncontrolled"]  # a longer time
    assert (runs[scheme] / "evaluation.json").read_bytes() == written


def test_what_does_not_fit_is_refused(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    refused = {
        ("nops", "env.agents=[5,5]"): "weights for its 16 agents only, these settings have 25",
        ("marl", "env.observation_radius=0"): "trained with 9 observed quantities per agent, these",
        ("marl", "agent.gamma=0.5"): "expected a key of the environment",
    }
    for (scheme, change), message in refused.items():
        hypemarl("evaluate", runs[scheme], "--set", change, "--use", FILE, status=2)
        assert message in capsys.readouterr().err


def test_codes_are_those_of_the_new_places() -> None:
    config = configuration.load("density-1d")
    home = make(config.env).agent_spec
    here = replace(home, positions=home.positions + 0.1)
    agent = algorithm_of(config).make_agent(home, config)
    settle(agent, config, here)
    expected = encode(home, config.agent, here.positions)
    np.testing.assert_allclose(agent.encodings(), expected, atol=1e-6)
    lattice = replace(config, agent=replace(config.agent, encoder="one-hot"))
    agent = algorithm_of(lattice).make_agent(home, lattice)
    with pytest.raises(ConfigError, match="no codes of their places"):
        settle(agent, lattice, here)
