"""`hypemarl bench env-steps`: environment steps per second, one group of ranks beside two.

Every measurement is a launch of this module under ``mpirun``, with one rank per group, so that one
group and two run the same code.
"""

import json
import sys
import tempfile
import time

from hypemarl import config as configuration
from hypemarl.config import scenarios
from hypemarl.config.external import external_of
from hypemarl.training.children import launch
from hypemarl.training.records import read_metrics
from hypemarl.types import Row

SECONDS = 3.0
"""Length of a measurement without learning."""
TRAINED = ("flow-cylinder", "density-vacuum")
"""Scenarios for training with updates: the first that exists."""
RANDOM, WARM, EPISODES = 2, 4, 8  # episodes: random, before the clock starts, in all
ACTION_SHARE = 0.3
"""Random actions are uniform in this share of their bounds, as training's first ones are."""


def run() -> dict[str, float]:
    """Environment steps per second (control steps of all groups) of every scenario.

    Flat keys: ``density_vacuum_1``, ``density_vacuum_2`` (groups), ``density_vacuum_ratio``, and
    with ``train_`` before them those of the training loop with its updates, on one scenario.

    Raises:
        RuntimeError: there is no mpirun, or a launch fails.
    """
    names = [name for name in scenarios() if not name.endswith("-paper")]
    names = [n for n in names if configuration.load(n).env.system != "external"]
    trained = next(name for name in TRAINED if name in names)
    cases = [("collect", name) for name in names] + [("train", trained)]
    result: dict[str, float] = {}
    for kind, name in cases:
        key = ("train_" if kind == "train" else "") + name.replace("-", "_")
        answers = [launch(groups, __spec__.name, kind, name) for groups in (1, 2)]
        one, two = (float(answer["steps_per_second"]) for answer in answers)
        result |= {f"{key}_1": one, f"{key}_2": two, f"{key}_ratio": two / one}
    return result


def external() -> dict[str, float]:
    """Steps per second under random actions, resets included, of every external environment.

    Flat keys: ``vmas_dispersion``, ``vmas_navigation``, ``humanoid``. Collective, on one rank.

    Raises:
        ConfigError: their packages are not installed.
    """
    settings = {name: external_of(configuration.load(name).env) for name in scenarios()}
    names = [name for name, options in settings.items() if options and options.source]
    return {name.replace("-", "_"): collect(name) for name in names}


def collect(scenario: str, seconds: float = SECONDS) -> float:
    """Steps per second of all groups under random actions, resets included. Collective."""
    from hypemarl import envs, mpi, seeding
    from hypemarl.training.groups import Groups

    groups = Groups(mpi.world(), ranks_per_env=1)
    env = envs.make(configuration.load(scenario).env, comm=groups.group)
    parameters = 0.5 * (env.parameter_low + env.parameter_high)
    generator = seeding.numpy_generator(groups.index, "bench")
    low, high = ACTION_SHARE * env.action_low, ACTION_SHARE * env.action_high

    def steps(limit: float) -> float:
        env.reset_arrays(parameters)
        groups.comm.Barrier()
        count, began = 0, time.perf_counter()
        while (now := time.perf_counter()) - began < limit:
            shape = (env.n_agents, env.action_size)
            step = env.step_arrays(generator.uniform(low, high, shape))
            count += 1
            if step.terminated or step.truncated:
                env.reset_arrays(parameters)
        return count / (now - began)

    steps(0.1 * seconds)
    return float(groups.comm.allreduce(steps(seconds)))


def train(scenario: str, path: str) -> float:
    """Control steps per second of the training loop with updates, in steady state. Collective."""
    from hypemarl import mpi
    from hypemarl.training import loop

    settings: Row = {
        "training.episodes": EPISODES,
        "training.random_episodes": RANDOM,
        "training.validation_every": 0,
        "training.checkpoint_every": EPISODES,
        "training.tensorboard": "false",
        "training.device": "cpu",
        "env.flow.states": 1,
    }
    config = configuration.load(scenario, [f"{key}={value}" for key, value in settings.items()])
    loop.train(config, path, ranks_per_env=1, progress=False)
    return mpi.on_root(mpi.world(), lambda: _rate(path))


def _rate(path: str) -> float:
    ended = [line for line in read_metrics(path) if line["kind"] in ("episode", "failure")]
    first, last = ended[WARM - 1], ended[-1]
    return float((last["step"] - first["step"]) / (last["seconds"] - first["seconds"]))


def main(kind: str, scenario: str) -> None:
    """Measure on a launched rank, and print the rate on rank 0."""
    from hypemarl import mpi

    comm = mpi.world()
    mpi.install_excepthook()
    if kind == "collect":
        rate = collect(scenario)
    else:
        with tempfile.TemporaryDirectory() as folder:
            rate = train(scenario, folder + "/run")
    if comm.rank == 0:
        print(json.dumps({"steps_per_second": rate}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
