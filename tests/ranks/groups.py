"""Runs of several environments at once, for ``tests/training/test_groups.py``.

``groups.py two|four FOLDER`` on so many ranks; ``groups.py killed|broken FOLDER RANK`` on two, one
of which dies in its third episode.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from toy import ToyEnv, toy_config

from hypemarl import mpi, seeding
from hypemarl.algorithms.td3.agent import TD3
from hypemarl.training import loop

case, folder, *arguments = sys.argv[1:]
comm = mpi.world()
generator = seeding.numpy_generator(0, "parameters")
SIXTH = [float(generator.uniform([-0.5], [0.5])[0]) for _ in range(6)][-1]
OnStep = Callable[["Env", int, int], None]


class Env(ToyEnv):
    """Fails at step 3 of the sixth training episode."""

    def step_arrays(self, actions: Any) -> Any:
        self.fail_at = lambda episode, step: self.target == SIXTH and step == 3
        return super().step_arrays(actions)


class Blind(ToyEnv):
    """The first observation of its third agent in the sixth training episode is not finite."""

    def reset_arrays(self, parameters: Any) -> Any:
        episode = super().reset_arrays(parameters)
        if self.target == SIXTH:
            episode.observations[2, 1] = float("nan")
        return episode


def train(
    name: str, make_env: Any = Env, ranks_per_env: int = 1, resume: bool = False, **options: Any
) -> dict[str, Any]:
    return loop.train(
        toy_config(**options),
        f"{folder}/{name}",
        make_env=make_env,
        progress=False,
        ranks_per_env=ranks_per_env,
        resume=resume,
    )


def on_step(function: OnStep) -> Callable[..., Env]:
    def make(config: Any, comm: Any = None) -> Env:
        env = Env(config, comm)
        env.on_step = lambda episode, step: function(env, episode, step)
        return env

    return make


def report(*attempts: Callable[[], Any]) -> None:
    """Print the errors of every rank, a line for each."""
    errors = []
    for attempt in attempts:
        try:
            attempt()
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")
    for entry in comm.gather(errors) or []:
        print(entry)


def two_ranks() -> None:
    summary = train("whole", episodes=12)
    assert (summary["groups"], summary["episode"], summary["failures"]) == (2, 12, 1), summary
    assert all(entry == summary for entry in comm.allgather(summary))
    train("again", episodes=12)
    train("parts", episodes=6)
    train("parts", episodes=12, resume=True)
    train("seven", episodes=7, validation_every=3)
    summary = train("blind", Blind, episodes=8)
    assert (summary["episode"], summary["failures"]) == (8, 1), summary

    def interrupt(env: Env, episode: int, step: int) -> None:
        if comm.rank == 1 and env.episodes == 9 and step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    summary = train("interrupted", on_step(interrupt), episodes=12)
    assert summary["interrupted"], summary
    assert 2 < summary["episode"] < 12, summary
    assert signal.getsignal(signal.SIGINT) is handler
    train("interrupted", episodes=12, resume=True)

    def diverge(self: Any, replay: Any) -> None:
        raise FloatingPointError("the gradient is nan")

    TD3.update = diverge  # type: ignore[method-assign,assignment]
    report(lambda: train("whole"), lambda: train("diverging"))


def four_ranks() -> None:
    def check_ranks(env: Env, episode: int, step: int) -> None:
        assert (env.comm.size, env.comm.rank) == (2, comm.rank % 2)

    train("seven", on_step(check_ranks), ranks_per_env=2, episodes=7, validation_every=3)
    train("six", ToyEnv, ranks_per_env=2, episodes=7, random_episodes=6)
    assert train("four", ToyEnv, episodes=6, random_episodes=5)["groups"] == 4
    report(lambda: train("split", ranks_per_env=3))
    assert not os.path.exists(f"{folder}/split")


def dying() -> None:
    mpi._WAIT_SHARED = 0.5

    def die(env: Env, episode: int, step: int) -> None:
        if comm.rank == int(arguments[0]) and episode == 3 and step == 2:
            if case == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError("the disk of this rank is gone")

    train("run", on_step(die), validation_every=0)
    print("went on")


{"two": two_ranks, "four": four_ranks}.get(case, dying)()
