"""An algorithm of a user's own, in a user's own file: all of training and evaluation takes it.

The part between the lines is the example of docs/algorithms.md.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypemarl.studies.pictures import draw_curves, draw_run

import hypemarl
from hypemarl import cli
from hypemarl.config import ALGORITHMS, ConfigError, load
from hypemarl.training.checkpoint import CheckpointError
from hypemarl.training.checkpoint import load as load_checkpoint
from hypemarl.training.diagnosis import diagnose_run
from hypemarl.training.loop import train
from hypemarl.training.records import RunFolder, read_metrics
from hypemarl.training.summary import evaluate_runs
from hypemarl.training.table import summarise

# --- the example ---------------------------------------------------------------------------------
from dataclasses import dataclass  # isort: skip

import numpy as np  # isort: skip
import torch  # isort: skip
from torch.nn.utils import parameters_to_vector, vector_to_parameters  # isort: skip

from hypemarl.agents.policy import PolicyAgent  # isort: skip
from hypemarl.config.keys import key  # isort: skip
from hypemarl.seeding import generator_state, set_generator_state, torch_generator  # isort: skip
from hypemarl.training.evaluation import evaluate_policy  # isort: skip
from hypemarl.training.learner import Algorithm, Learner  # isort: skip
from hypemarl.training.progress import Result  # isort: skip


@dataclass(frozen=True)
class Options:
    """Settings ``agent.random-search.*``."""

    step: float = key(0.1, "standard deviation of a trial's change of the weights", above=0)


class RandomSearch(Learner):
    """Change all weights at random; keep what makes the episode cheaper."""

    def start(self) -> None:
        if self.groups.leads:
            self.agent = make_agent(self.env.agent_spec, self.config)
            self.generator = torch_generator(self.config.seed, "random-search")

    def collect(self, parameters, progress):
        before = self.run(parameters[0])
        if self.groups.root:
            weights = parameters_to_vector(self.agent.actor.parameters())
            change = torch.randn(weights.shape, generator=self.generator)
            self.set_weights(weights + self.config.agent.of(Options).step * change)
        trial = self.run(parameters[0])
        if not self.groups.root:
            return [], {}
        progress.updates += 1
        if not trial.cost < before.cost:
            self.set_weights(weights)
        return [trial], {"gain": before.cost - trial.cost}

    def run(self, parameters):
        """An episode of the present policy on all ranks of the environment."""
        zeros = np.zeros((self.env.n_agents, self.env.action_size))
        act = self.agent.act if self.groups.root else lambda observations, mu: zeros
        found = evaluate_policy(self.env, act, parameters[None])
        length = self.env.control_steps
        return Result(found.cost, float(found.returns[0]), length, found.failure, random=False)

    def set_weights(self, weights) -> None:
        for actor in (self.agent.actor, self.agent.actor_average):
            vector_to_parameters(weights.detach(), actor.parameters())

    def state_dict(self, *, whole):
        return super().state_dict(whole=whole) | {"generator": generator_state(self.generator)}

    def load_state_dict(self, stored) -> None:
        super().load_state_dict(stored)
        set_generator_state(self.generator, stored["generator"])


def make_agent(spec, config):
    return PolicyAgent(spec, config.agent, config.seed)


RANDOM_SEARCH = Algorithm(
    name="random-search", options=Options, make=RandomSearch, make_agent=make_agent
)
# --- the end of the example ----------------------------------------------------------------------

SMALL = ["env.mesh.element_size=0.1", "env.agents=[4]", "env.control_steps=3", "env.horizon=0.6"]
NETWORKS = ["agent.encoding_size=8", "agent.hyper_width=8", "agent.actor_hidden=[8]"]
LOOP = [
    "training.episodes=24",
    "training.validation_every=4",
    "training.validation_size=2",
    "training.checkpoint_every=4",
    "training.diagnose_every=6",
    "training.tensorboard=false",
]
QUICK = [*SMALL, *NETWORKS, *LOOP]
CHOSEN = ["training.algorithm=random-search", "agent.random-search.step=0.05"]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ALGORITHMS, "_items", {})
    hypemarl.register_algorithm(RANDOM_SEARCH)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 24 episodes, made by whichever test comes first."""
    return tmp_path_factory.mktemp("runs") / "density-1d"


def trained(run: Path) -> Path:
    if not run.exists():
        train(load("density-1d", [*QUICK, *CHOSEN]), run, progress=False)
    return run


def test_it_trains(run: Path) -> None:
    costs = [r["cost"] for r in read_metrics(trained(run)) if r["kind"] == "validation"]
    assert len(costs) == 6
    assert costs[-1] < 0.8 * costs[0]
    gains = [record["gain"] for record in read_metrics(run) if record["kind"] == "update"]
    assert len(gains) == 24
    assert max(gains) > 0
    assert min(gains) < 0


def test_it_resumes_to_the_same_numbers(run: Path, tmp_path: Path) -> None:
    config = load("density-1d", [*QUICK, *CHOSEN])
    shorter = load("density-1d", [*QUICK, *CHOSEN, "training.episodes=4"])
    train(shorter, tmp_path / "run", progress=False)
    train(config, tmp_path / "run", resume=True, progress=False)
    whole, resumed = (
        load_checkpoint(RunFolder(path).last) for path in (trained(run), tmp_path / "run")
    )
    for name, values in whole["agent"]["actor"].items():
        assert torch.equal(values, resumed["agent"]["actor"][name])
    changed = load("density-1d", [*QUICK, *CHOSEN, "agent.random-search.step=0.2"])
    with pytest.raises(CheckpointError, match=r"agent.random-search.step is 0.05 there, 0.2 here"):
        train(changed, tmp_path / "run", resume=True, progress=False)


def test_it_evaluates_and_stands_in_the_table(run: Path) -> None:
    (row,) = evaluate_runs([trained(run)], episodes=2)
    assert row["credit"] == row["algorithm"] == "random-search"
    assert row["cost"] < row["uncontrolled_cost"]
    assert "hypemarl (random-search)" in [entry["name"] for entry in summarise([row])]


def test_it_is_diagnosed(run: Path) -> None:
    row = diagnose_run(trained(run), episodes=1)
    assert row["credit"] == "random-search"
    assert row["diversity"] > 0
    assert "interference" not in row  # nobody knows a gradient here


def test_its_run_is_drawn(run: Path) -> None:
    names = {path.name for path in draw_run(trained(run), film=False)}
    assert "policy_map.png" in names
    assert draw_curves([run], run / "curves.png") is not None


def test_the_command_line_takes_it(tmp_path: Path) -> None:
    entries = [*SMALL, *NETWORKS, "training.episodes=2", "training.validation_every=1"]
    settings = [argument for entry in entries for argument in ("--set", entry)]
    command = ["train", "density-1d", "--train", "random-search", "--run", str(tmp_path / "run")]
    assert cli.main([*command, "--quiet", *settings]) == 0
    assert cli.main(["evaluate", str(tmp_path / "run"), "--json", str(tmp_path / "row.json")]) == 0
    assert json.loads((tmp_path / "row.json").read_text())["algorithm"] == "random-search"


def test_an_unknown_algorithm_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="'random-serach'; did you mean 'random-search'.*td3"):
        load("density-1d", ["training.algorithm=random-serach"])


def test_a_name_is_taken_once() -> None:
    hypemarl.register_algorithm(RANDOM_SEARCH)  # the same again is fine
    other = Algorithm(name="td3", options=Options, make=RandomSearch, make_agent=make_agent)
    with pytest.raises(ConfigError, match="'td3' is taken"):
        hypemarl.register_algorithm(other)
