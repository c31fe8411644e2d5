"""Environments, training and diagnosis on several ranks."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_adjoint_gradient as adjoint_gradient
from mpi4py import MPI
from point_agents import SPEED
from test_external import start
from test_loop import assert_equal, stored, train, without_seconds
from test_parallel import SMALL
from together import assert_same, from_rank_0, raised
from toy import toy_config

from hypemarl import config as configuration
from hypemarl import envs
from hypemarl.training import diagnosis
from hypemarl.training.records import RunError, read_metrics

TWO = pytest.mark.parametrize("comm", [2], indirect=True)


@TWO
def test_faults_are_raised_on_every_rank_and_rank_0_decides(comm: MPI.Intracomm) -> None:
    env = envs.make(SMALL, comm)
    twin, names = copy.deepcopy(env), []

    def attempt(call: Callable[[], Any]) -> None:
        try:
            call()
        except Exception as error:
            names.append(type(error).__name__)

    zeros = {agent: np.zeros(1) for agent in env.possible_agents}
    bad = zeros | {"agent_2": np.array([np.nan])}
    attempt(lambda: env.step(zeros))
    attempt(lambda: env.reset(options=None if comm.rank else {"parametres": 1}))
    drawn = [float(e.reset()[1]["agent_0"]["mu"][0]) for e in (env, twin)]
    attempt(lambda: env.step(zeros if comm.rank else bad))
    attempt(lambda: pickle.dumps(env))
    assert names == ["EpisodeError", "ValueError", "ActionError", "TypeError"]
    cost = env.step(None if comm.rank else zeros)[4]["agent_0"]["cost"]
    assert_same(comm, drawn, cost)
    assert drawn[0] != drawn[1]


@TWO
def test_rank_0_alone_holds_an_external_environment(comm: MPI.Intracomm) -> None:
    def opened(name: str) -> Any:
        source = f"env.external.source=pettingzoo:point_agents:{name}"
        return envs.make(configuration.load("external", [source]).env, comm)

    with configuration.trusted(everything=True):
        env = opened("PointAgents")
        first = env.reset_arrays(np.array([5.0])).observations
        step = env.step_arrays(np.full((4, 1), -1.0 if comm.rank else 1.0))  # rank 0's count
        assert_same(comm, first, step.observations, step.info["cost"])
        assert float(step.observations[0, 0]) == pytest.approx(start(5) + SPEED)
        raised(comm, configuration.ConfigError, lambda: opened("Boundless"))
    assert hasattr(env, "_checked") == (comm.rank == 0)


@TWO
def test_ranks_train_as_one_and_refuse_an_occupied_folder(
    comm: MPI.Intracomm, folder: Path
) -> None:
    train(toy_config(), folder / "several", comm=comm)
    raised(comm, RunError, lambda: train(toy_config(), folder / "several", comm=comm))
    from_rank_0(comm, lambda: train(toy_config(), folder / "one", comm=MPI.COMM_SELF))
    assert without_seconds(folder / "several") == without_seconds(folder / "one")
    assert_equal(stored(folder / "several"), stored(folder / "one"))


@TWO
def test_ranks_share_a_plant_or_an_update(comm: MPI.Intracomm, folder: Path) -> None:
    """Batches of two: whether one plant runs both episodes or two plants one each, the updates are
    the same up to rounding."""
    config = adjoint_gradient.tiny("training.episodes=6", "agent.apg.batch=2")
    adjoint_gradient.train(config, folder / "groups", comm=comm, ranks_per_env=1)
    adjoint_gradient.train(config, folder / "shared", comm=comm)

    def serial() -> None:
        adjoint_gradient.train(config, folder / "serial", comm=MPI.COMM_SELF)

    from_rank_0(comm, serial)
    alone, *others = (
        [line["cost"] for line in read_metrics(folder / run) if line["kind"] == "validation"]
        for run in ("serial", "shared", "groups")
    )
    for costs in others:
        assert costs == pytest.approx(alone, rel=1e-4)


@TWO
@pytest.mark.parametrize("method", [pytest.param("td3", marks=pytest.mark.slow), "apg"])
def test_ranks_diagnose_what_one_does(comm: MPI.Intracomm, method: str, folder: Path) -> None:
    options = ["training.episodes=5", f"training.algorithm={method}", "training.random_episodes=2"]

    def serial() -> dict[str, Any]:
        config, alone = adjoint_gradient.tiny(*options), MPI.COMM_SELF
        adjoint_gradient.train(config, folder / "run", comm=alone)
        return diagnosis.diagnose_run(folder / "run", episodes=2, comm=alone)

    one = from_rank_0(comm, serial)
    several = diagnosis.diagnose_run(folder / "run", episodes=2, comm=comm)
    assert several.keys() == one.keys()
    numbers = [name for name, value in one.items() if isinstance(value, float)]
    assert numbers
    np.testing.assert_allclose([several[n] for n in numbers], [one[n] for n in numbers], rtol=1e-3)
