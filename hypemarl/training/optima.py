"""Open-loop optima of a scenario: found, reported, and recorded like a run."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from hypemarl import mpi
from hypemarl.config import Config, ConfigError, to_yaml
from hypemarl.envs import make
from hypemarl.envs.array_env import plant_of
from hypemarl.optimal.open_loop import OpenLoop, Optimum, replay
from hypemarl.training import evaluation
from hypemarl.training.children import Children, python_module
from hypemarl.training.records import RunFolder
from hypemarl.training.rollout import Rollout
from hypemarl.training.summary import trained_policy
from hypemarl.types import Row

if TYPE_CHECKING:
    from hypemarl.envs.array_env import ArrayEnv


def chosen_parameters(
    env: ArrayEnv, mu: Sequence[float] | None, index: Sequence[int] | None, held_out: int
) -> np.ndarray:
    """Parameters (E, n_par): the one given, or rows of the held-out set.

    Raises:
        ConfigError: a number too many or too few, or an index that the set does not have.
    """
    names = plant_of(env).parameter_names
    if mu is not None:
        if len(mu) != len(names):
            raise ConfigError(f"--mu: expected {len(names)} numbers {names}, got {list(mu)}")
        return np.array([mu], dtype=np.float64)
    size = held_out if index is None else max(index) + 1
    rows = evaluation.parameter_set(env.parameter_low, env.parameter_high, size, "held-out")
    wanted = range(len(rows)) if index is None else index
    if min(wanted) < 0 or max(wanted) >= len(rows):
        raise ConfigError(f"--index: expected 0 to {len(rows) - 1}, got {list(wanted)}")
    return np.asarray(rows[list(wanted)])


def find_optima(
    config: Config,
    parameters: Callable[[ArrayEnv], np.ndarray],
    *,
    tolerance: float,
    max_evaluations: int,
    start: Path | None = None,
    run_dir: Path | None = None,
    progress: bool = True,
) -> list[Row]:
    """Optima at ``parameters(env)``; the first is recorded in ``run_dir``. Collective.

    ``start``: a run whose policy's actions the search begins from. Keys of a row: the
    parameters' names, uncontrolled, optimum, ratio, reduction (of the projected gradient),
    converged, evaluations, seconds.
    """
    env = make(config.env)
    loop = OpenLoop(env)
    policy = _policy(start, env) if start is not None else None
    rows, first = [], None
    for values in parameters(env):
        starts = [] if policy is None else [_played(env, policy, values)]
        bar = tqdm(desc="optimum", unit="gradient", disable=not progress or env.comm.rank > 0)

        def show(count: int, cost: float, reduction: float, bar: tqdm = bar) -> None:
            bar.set_postfix(J=f"{cost:.5g}", gradient=f"{reduction:.1e}", refresh=False)
            bar.update(1)

        best = loop.solve(
            values,
            tolerance=tolerance,
            max_evaluations=max_evaluations,
            starts=starts,
            progress=show,
        )
        bar.close()
        first = first or best
        rows.append(_row(env, best, tolerance))
    if run_dir is not None and first is not None:
        path = RunFolder(run_dir).trajectory
        record = evaluation.record_trajectory
        record(env, replay(first.actions), first.parameters, path, "optimum")
    return rows


def _row(env: ArrayEnv, best: Optimum, tolerance: float) -> Row:
    named = zip(plant_of(env).parameter_names, best.parameters.tolist(), strict=True)
    return {
        **dict(named),
        "uncontrolled": best.uncontrolled,
        "optimum": best.cost,
        "ratio": best.cost / best.uncontrolled,
        "reduction": best.reduction,
        "converged": best.converged(tolerance),
        "evaluations": best.evaluations,
        "seconds": best.seconds,
    }


def _policy(run_dir: Path, env: ArrayEnv) -> evaluation.Policy:
    folder = RunFolder(run_dir)
    config = folder.read_config()
    return trained_policy(folder, env, config, mpi.world())[0]


def _played(env: ArrayEnv, policy: evaluation.Policy, parameters: np.ndarray) -> np.ndarray:
    """The actions (steps, n, m) of one episode, zero after a failure. Collective."""
    actions = [
        interval.actions
        for interval in Rollout(
            env,
            lambda seen, mu: mpi.bcast_array(env.comm, np.asarray(policy(seen, mu))),
            parameters,
        )
    ]
    played = np.zeros((env.control_steps, env.n_agents, env.action_size))
    played[: len(actions)] = actions
    return played


def find_held_out(
    config: Config,
    count: int,
    parallel: int,
    start: Path | None = None,
    *,
    progress: bool = True,
) -> None:
    """Store the optima of the first ``count`` held-out parameters, ``parallel`` at a time.

    ``start``: a run whose policy's actions the searches begin from, zero control by default. Each
    process takes every ``parallel``-th one. Not under mpirun.

    Raises:
        RuntimeError: a process failed; its last lines are in the message. A search that has not
            converged is no failure: its best actions count as what is known.
        KeyboardInterrupt: a stop was asked for; optima found by then are stored.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "problem.yaml"
        file.write_text(to_yaml(config), encoding="utf-8")
        command = [*python_module("hypemarl"), "optimum", str(file)]
        command += [] if start is None else ["--start", str(start)]
        shares = [range(first, count, parallel) for first in range(min(parallel, count))]
        with Children() as children:
            searches = [
                children.start(
                    [*command, "--index", *map(str, share)]
                    + (["--quiet"] if not progress or k else []),
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for k, share in enumerate(shares)
            ]
            outputs = [search.communicate()[0] for search in searches]
    if children.asked:
        raise KeyboardInterrupt
    for search, output in zip(searches, outputs, strict=True):
        if search.returncode not in (0, 1):
            last = " | ".join(output.strip().splitlines()[-3:])
            raise RuntimeError(f"the search for optima of {config.scenario} failed: {last}")
