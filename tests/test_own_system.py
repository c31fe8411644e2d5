"""A controlled system of a user's own: the example of docs/environments.md, used as any other."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from hypemarl import (
    Learner,
    Neighbourhood,
    Plant,
    StepCosts,
    System,
    cli,
    key,
    make,
    options_of,
    register_algorithm,
    register_system,
)
from hypemarl import config as configuration
from hypemarl.config import ConfigError, EnvConfig
from hypemarl.config.errors import UnsupportedError
from hypemarl.config.registry import ALGORITHMS, SYSTEMS
from hypemarl.config.user_code import _USED, use, use_flags
from hypemarl.training.groups import Groups
from hypemarl.training.learner import make_learner
from hypemarl.training.records import read_metrics, read_trajectory


# --8<-- the example
@dataclass(frozen=True)
class RodOptions:
    """Options of the rod: ``env.rod.*``."""

    conductivity: float = key(0.3, "share of a difference that flows to a neighbour", above=0)
    price: float = key(0.1, "weight of the squares of the heaters' powers", low=0)


class Rod(Plant):
    """A rod in pieces, each with a heater, that is to have the temperature ``target``."""

    kind = "rod"
    cost_terms = ("error", "power")
    parameter_names = ("target",)
    parameter_low, parameter_high = np.array([0.2]), np.array([1.0])
    action_low, action_high = np.array([-1.0]), np.array([1.0])

    def __init__(self, config: EnvConfig, comm: MPI.Intracomm) -> None:
        self.config, self.comm, self.options = config, comm, options_of(config, RodOptions)
        self.grid = config.agents
        self.positions = np.linspace(0.0, 1.0, *self.grid)[:, None]
        self.seen = Neighbourhood(self.stencil(config.observation_radius))
        self.observation_size = self.seen.size
        self.restore((np.zeros(self.n_agents), 0.0, 0))

    @property
    def time(self) -> float:
        return self._count * self.config.control_interval

    @property
    def targets(self) -> np.ndarray:
        return np.full((self.n_agents, 1), self._target)

    def reset(self, parameters: np.ndarray, seed: int | None = None) -> np.ndarray:
        return self.restore((np.zeros(self.n_agents), float(self.checked(parameters)[0]), 0))

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        self._power = self.agreed(actions)
        ends = np.pad(self._heat, 1, mode="edge")
        self._heat = self._heat + self.options.conductivity * np.diff(ends, 2)
        self._heat += self.config.control_interval * self._power[:, 0]
        self._count += 1
        error = 0.5 * (self._heat - self._target) ** 2
        power = 0.5 * self.options.price * self._power[:, 0] ** 2
        terms = {"error": float(error.sum()), "power": float(power.sum())}
        costs = StepCosts(terms, error + power)
        return self.seen.gather(self._heat), -costs.shares, {"costs": costs}

    def snapshot(self) -> tuple[np.ndarray, float, int]:
        return self._heat.copy(), self._target, self._count

    def restore(self, state: tuple[np.ndarray, float, int]) -> np.ndarray:
        self._heat, self._target, self._count = state[0].copy(), *state[1:]
        self._power = np.zeros((self.n_agents, 1))
        return self.seen.gather(self._heat)

    def fields(self) -> dict[str, Any] | None:
        if self.comm.rank:
            return None
        pairs = np.arange(self.n_agents)[:, None] + [0, 1]
        mesh = {"points": self.positions, "cells": pairs[:-1]}
        return {**mesh, "heat": self._heat, "actions": self._power}


ROD = System(name="rod", options=RodOptions, make=Rod, parameters=("target",))
# --8<--

EXPERIMENT = """
env:
  system: rod
  agents: [5]
  horizon: 1.0
  control_steps: 4
  rod: {conductivity: 0.2}
agent:
  encoding_size: 8
  hyper_width: 8
  actor_hidden: [8]
  critic_hidden: [8]
  batch_episodes: 2
training:
  episodes: 6
  random_episodes: 2
  validation_every: 2
  validation_size: 2
  held_out_size: 2
  checkpoint_every: 2
  tensorboard: false
  device: cpu
"""


@pytest.fixture(autouse=True)
def _known() -> Iterator[None]:
    register_system(ROD)
    yield
    SYSTEMS._items.pop("rod")


@pytest.fixture
def experiment(tmp_path: Path) -> str:
    file = tmp_path / "rod.yaml"
    file.write_text(EXPERIMENT)
    return str(file)


def hypemarl(*arguments: object) -> None:
    assert cli.main([str(argument) for argument in arguments]) == 0


def test_it_steps_and_tells_agents_what_they_may_know(experiment: str) -> None:
    env = make(configuration.load(experiment).env)
    spec = env.agent_spec
    assert (spec.n_agents, spec.observation_size, spec.action_size) == (5, 3, 1)
    assert (spec.mu_low, spec.mu_high, spec.spacing) == ([0.2], [1.0], 0.25)
    start = env.reset_arrays(np.array([0.5]))
    np.testing.assert_array_equal(start.targets, 0.5)
    step = env.step_arrays(np.full((5, 1), 4.0))
    np.testing.assert_allclose(step.observations[:, 1], 0.25)  # saturated powers, for 1/4 of time
    assert step.observations[0, 0] == 0.0  # nobody is there
    assert step.info["cost"] == pytest.approx(5 * (0.5 * 0.25**2 + 0.05))
    assert -step.rewards.sum() == pytest.approx(step.info["cost"])


def test_its_options_are_checked_as_those_of_any_system(experiment: str) -> None:
    assert configuration.load(experiment).env.options == RodOptions(conductivity=0.2)
    with pytest.raises(ConfigError, match=r"env.rod.conductivity"):
        configuration.load(experiment, ["env.rod.conductivity=-1"])
    with pytest.raises(ConfigError, match=r"env.rod.colour"):
        configuration.load(experiment, ["env.rod.colour=red"])
    with pytest.raises(ConfigError, match="taken"):
        register_system(System(name="rod", options=RodOptions, make=Rod))


def test_it_trains_resumes_evaluates_tabulates_and_renders(
    experiment: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    hypemarl("train", experiment, "--run", whole, "--quiet")
    more = ("--run", parted, "--quiet")
    hypemarl("train", experiment, "--set", "training.episodes=4", *more)
    hypemarl("train", experiment, "--resume", *more)
    lines = [
        [{k: v for k, v in line.items() if k != "seconds"} for line in read_metrics(run)]
        for run in (whole, parted)
    ]
    assert lines[0] == lines[1]
    table = tmp_path / "table.json"
    hypemarl("evaluate", whole, parted, "--json", table)
    row = json.loads(table.read_text())
    assert (row["runs"], row["hypemarl_cost_std"]) == (2, 0.0)
    assert row["hypemarl_cost_power"] > 0.0
    assert row["hand_made_cost_power"] == pytest.approx(4 * 5 * 0.05 * 0.25)
    assert "uncontrolled" in capsys.readouterr().out
    hypemarl("render", whole)
    assert {"film.mp4", "still-100.png", "policy_map.png"} <= {p.name for p in whole.iterdir()}
    drawn = read_trajectory(whole)
    assert (drawn["kind"], drawn["heat"].shape) == ("rod", (5, 5))


@pytest.mark.parametrize("algorithm", ["apg", "mbpg"])
def test_algorithms_that_need_more_say_so(
    algorithm: str, experiment: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", experiment, "--train", algorithm, "--run", str(tmp_path / "run")]
    assert cli.main(arguments) != 0
    assert f"no {'adjoint' if algorithm == 'apg' else 'local model'} of Rod" in (
        capsys.readouterr().err
    )


def test_what_an_algorithm_needs_is_checked_before_it_is_made(experiment: str) -> None:
    def never(*_: object) -> Learner:
        raise AssertionError

    asking = replace(ALGORITHMS.get("td3"), name="asking", make=never, needs=frozenset({"adjoint"}))
    register_algorithm(asking)
    try:
        config = configuration.load(experiment, ["training.algorithm=asking"])
        env = make(config.env)
        with pytest.raises(UnsupportedError, match="no adjoint of Rod"):
            make_learner(config, env, Groups(MPI.COMM_SELF))
    finally:
        ALGORITHMS._items.pop("asking")


IMPORTS = """
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI

from hypemarl import Neighbourhood, Plant, StepCosts, System, key, options_of
from hypemarl.config import EnvConfig
"""


def example() -> str:
    """The lines of this file that are a user's own."""
    text = Path(__file__).read_text()
    first = text.index("@dataclass")
    return text[first : text.index("# --8<--\n", first)].rstrip()


def test_the_documentation_shows_the_example() -> None:
    page = (Path(__file__).parents[1] / "docs" / "environments.md").read_text()
    assert f"{IMPORTS.strip()}\n\n\n{example()}\n```" in page


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The example in a file."""
    file = tmp_path / "rods.py"
    file.write_text(IMPORTS + example())
    return file


def test_code_that_is_used_registers_its_systems(code: Path, experiment: str) -> None:
    SYSTEMS._items.pop("rod")
    with pytest.raises(ConfigError, match="env.system: no system 'rod'"):
        configuration.load(experiment)
    with pytest.raises(
        ConfigError, match=r"no problem, system, algorithm or scheme 'RODS'; did you mean 'ROD'\?"
    ):
        use(f"{code}:RODS")
    with pytest.raises(ConfigError, match=r"rod\.py: no such file; did you mean 'rods\.py'\?"):
        use(str(code.with_name("rod.py")))
    use(f"{code}:ROD")
    assert configuration.load(experiment).env.system == "rod"
    assert use_flags()[-2:] == ["--use", f"{code}:ROD"]
    _USED.clear()


def test_a_run_stores_its_code_which_is_imported_only_where_the_command_says_so(
    code: Path, experiment: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sha256 = hashlib.sha256(hashlib.sha256(code.read_bytes()).digest()).hexdigest()
    SYSTEMS._items.pop("rod")
    run = tmp_path / "run"
    hypemarl("train", experiment, "--use", code, "--run", run, "--quiet")
    stored = configuration.load_file(run / "config.yaml").code
    assert stored == (f"{code} sha256:{sha256}",)

    def forget() -> None:
        SYSTEMS._items.pop("rod", None)
        _USED.clear()
        for name in [name for name in sys.modules if name.startswith("rods_")]:
            del sys.modules[name]

    forget()
    for command in (["evaluate", run], ["render", run], ["train", "--resume", "--run", run]):
        assert cli.main([str(word) for word in command]) == 2
        assert f"imported only by --use {code}, or by --trust" in capsys.readouterr().err
        assert "rod" not in SYSTEMS
    hypemarl("evaluate", run, "--trust")
    assert "note" not in capsys.readouterr().err
    forget()
    code.write_text(code.read_text() + "# changed since\n")
    hypemarl("train", "--resume", "--run", run, "--set", "training.episodes=7", "--use", code)
    assert f"was made with {code} as it was then (SHA-256 {sha256[:12]}" in capsys.readouterr().err
    assert configuration.load_file(run / "config.yaml").code != stored
    forget()
    register_system(ROD)


@pytest.mark.slow
def test_commands_and_their_children_use_the_file_that_they_name(
    code: Path, experiment: str, tmp_path: Path
) -> None:
    def command(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "hypemarl", *words]
        return subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, check=False)

    seeds = ["--seeds", "0", "1", "--jobs", "2", "--run", "run", "--quiet"]
    trained = command("train", experiment, "--use", "rods.py:ROD", *seeds)
    assert trained.returncode == 0, trained.stderr
    for named in (["--use", "rods.py"], ["--trust"]):
        evaluated = command("evaluate", "run", *named)
        assert evaluated.returncode == 0, evaluated.stderr
        assert "hypemarl" in evaluated.stdout
    refused = command("evaluate", "run")
    assert refused.returncode == 2
    assert f"made with code of a user, which is imported only by --use {code}:ROD" in refused.stderr
