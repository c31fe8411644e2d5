"""Open-loop optima of a scenario: found, reported, and recorded like a run."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

from hypemarl import mpi
from hypemarl.agents.policy_file import Optima, save_policy
from hypemarl.config import Config, ConfigError, to_yaml
from hypemarl.config.user_code import use_flags
from hypemarl.envs import make
from hypemarl.envs.array_env import plant_of
from hypemarl.optimal.open_loop import OpenLoop, Optimum, replay
from hypemarl.training import evaluation, yardsticks
from hypemarl.training.children import Children, python_module
from hypemarl.training.episodes import Rollout
from hypemarl.training.records import RunFolder
from hypemarl.training.summary import trained_policy
from hypemarl.types import Row

if TYPE_CHECKING:
    from hypemarl.envs.array_env import ArrayEnv


def chosen_parameters(
    env: ArrayEnv, mu: Sequence[float] | None, index: Sequence[int] | None, held_out: int
) -> np.ndarray:
    """Parameters (E, n_par): ``mu``, or rows of the held-out set.

    Raises ConfigError: a number too many or too few, or an index that the set does not have.
    """
    names = plant_of(env).parameter_names
    if mu is not None:
        if len(mu) != len(names):
            raise ConfigError(f"--mu: expected {len(names)} numbers {names}, got {list(mu)}")
        return np.array([mu], dtype=np.float64)
    size = held_out if index is None else max(index) + 1
    rows = evaluation.parameter_set(env.parameter_low, env.parameter_high, size, "held-out")
    chosen = range(len(rows)) if index is None else index
    if min(chosen) < 0 or max(chosen) >= len(rows):
        raise ConfigError(f"--index: expected 0 to {len(rows) - 1}, got {list(chosen)}")
    return np.asarray(rows[list(chosen)])


def find_optima(
    config: Config,
    parameters: Callable[[ArrayEnv], np.ndarray],
    *,
    tolerance: float,
    max_evaluations: int,
    start: Path | None = None,
    several: bool = False,
    run_dir: Path | None = None,
    export: Path | None = None,
    progress: bool = True,
) -> list[Row]:
    """Optima at ``parameters(env)``; the first is recorded in ``run_dir``. Collective.

    Args:
        config: of the problem. parameters: makes the rows to search at.
        tolerance, max_evaluations: see :meth:`OpenLoop.solve`.
        start: a run whose policy's actions the searches begin from.
        several: begin, where no optimum is stored, from each of :class:`_Starts`; the problem is
            not convex, and the lowest cost is kept.
        export: file for the actions, which ``hypemarl.load_policy`` reads.

    Keys of a row: the parameters' names, uncontrolled, optimum, ratio, reduction (of the projected
    gradient), converged, evaluations, seconds.
    """
    env = make(config.env)
    loop = OpenLoop(env)
    policies = [] if start is None else [_policy(start, env)]
    wide = _Starts(env, policies) if several else None
    rows, best_of = [], list[Optimum]()
    for values in parameters(env):
        starts: list[np.ndarray] = []
        if wide is None:
            starts = [_played(env, policy, values).actions for policy in policies]
        elif loop.load(values) is None:
            starts = wide.at(values, best_of)
        best = _search(loop, values, starts, tolerance, max_evaluations, quiet=not progress)
        best_of.append(best)
        rows.append(_row(env, best, tolerance))
    if run_dir is not None:
        path, first = RunFolder(run_dir).trajectory, best_of[0]
        record = evaluation.record_trajectory
        record(env, replay(first.actions), first.parameters, path, "optimum")
    if export is not None:
        _export(export, env, config, best_of)
    return rows


class _Starts:
    """Where searches at one mu begin: zero control, the cheapest of the constants and schedules
    there, the cheapest of the other policies, and the optimum of the nearest mu that is known.

    Args:
        policies: further ones, beside the yardsticks that are stored. Collective.
    """

    def __init__(self, env: ArrayEnv, policies: Sequence[evaluation.Policy]) -> None:
        self.env, known = env, yardsticks.stored(env)
        clocked = {kind: [yardsticks.clocked(p, env) for p in known[kind]] for kind in known}
        self.groups = [
            [policy for kind in ("best_constant", "schedule") for policy in clocked.get(kind, [])],
            [policy for kind in ("schedule_mu", "feedback") for policy in clocked.get(kind, [])]
            + list(policies),
        ]

    def at(self, values: np.ndarray, solved: Sequence[Optimum]) -> list[np.ndarray]:
        """Actions (steps, n, m) to begin from at the parameters ``values``. Collective."""
        shape = self.env.control_steps, self.env.n_agents, self.env.action_size
        starts = [np.zeros(shape)]
        for group in filter(None, self.groups):
            played = [_played(self.env, policy, values) for policy in group]
            starts.append(min(played, key=lambda one: one.cost).actions)
        if solved:
            width = self.env.parameter_high - self.env.parameter_low
            width = np.where(width > 0.0, width, 1.0)  # a parameter may have one value only
            near = min(solved, key=lambda o: float(np.sum(((o.parameters - values) / width) ** 2)))
            starts.append(near.actions)
        return starts


def _search(
    loop: OpenLoop,
    values: np.ndarray,
    starts: Sequence[np.ndarray],
    tolerance: float,
    max_evaluations: int,
    *,
    quiet: bool,
) -> Optimum:
    """:meth:`OpenLoop.solve` with a bar. Collective."""
    bar = tqdm(desc="optimum", unit="gradient", disable=quiet or loop.comm.rank > 0)

    def show(count: int, cost: float, reduction: float) -> None:
        bar.set_postfix(J=f"{cost:.5g}", gradient=f"{reduction:.1e}", refresh=False)
        bar.update(1)

    with bar:
        return loop.solve(
            values,
            tolerance=tolerance,
            max_evaluations=max_evaluations,
            starts=starts,
            progress=show,
        )


def _export(path: Path, env: ArrayEnv, config: Config, solutions: Sequence[Optimum]) -> None:
    """Write optima as a policy, on rank 0. Collective."""
    mu = np.stack([env.reset_arrays(best.parameters).mu for best in solutions])
    costs = [np.array([(b.cost, b.uncontrolled) for b in solutions])[:, k] for k in (0, 1)]
    actions = np.stack([best.actions for best in solutions])
    with mpi.raise_together(env.comm):
        if env.comm.rank == 0:
            optima = Optima(mu, actions, env.config.control_interval, *costs)
            save_policy(path, optima, {"name": "optimum", "scenario": config.scenario})


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


class _Played(NamedTuple):
    """An episode's actions (steps, n, m), zero after a failure, and its cost, then infinite."""

    actions: np.ndarray
    cost: float


def _played(env: ArrayEnv, policy: evaluation.Policy, parameters: np.ndarray) -> _Played:
    """The episode of a policy at parameters. Collective."""
    rollout = Rollout(
        env, lambda seen, mu: mpi.bcast_array(env.comm, np.asarray(policy(seen, mu))), parameters
    )
    played, cost = np.zeros((env.control_steps, env.n_agents, env.action_size)), 0.0
    for step, interval in enumerate(rollout):
        played[step] = interval.actions
        cost += interval.step.info["cost"]
    return _Played(played, cost if rollout.failure is None else math.inf)


def find_held_out(
    config: Config,
    count: int,
    parallel: int,
    start: Path | None = None,
    *,
    several: bool = False,
    progress: bool = True,
) -> None:
    """Store the optima of the first ``count`` held-out parameters, ``parallel`` at a time.

    ``start`` and ``several`` as in :func:`find_optima`. Each process takes every ``parallel``-th
    one. Raises as :func:`side_by_side`; a search that has not converged is no failure: its best
    actions count as the known optimum.
    """
    words = [] if start is None else ["--start", str(start)]
    words += ["--several"] if several else []
    shares = [range(first, count, parallel) for first in range(min(parallel, count))]
    each = [[*words, "--index", *map(str, share)] for share in shares]
    side_by_side("optimum", config, each, progress=progress)


def fit_yardsticks(
    config: Config, seeds: Sequence[int], episodes: int, parallel: int, *, progress: bool = True
) -> None:
    """Fit and store the yardsticks of a problem, with so many episodes each. Not under mpirun.

    Raises as :func:`side_by_side`.
    """
    shares = [seeds[first::parallel] for first in range(min(parallel, len(seeds)))]
    words = ["--fit-only", "--episodes", str(episodes), "--seeds"]
    each = [[*words, *map(str, share)] for share in shares]
    side_by_side("yardsticks", config, each, progress=progress)


def side_by_side(
    command: str, config: Config, each: Sequence[Sequence[str]], *, progress: bool
) -> None:
    """Run ``hypemarl COMMAND`` on a configuration in several processes, one for each of the words.

    The first one shows its progress. Not under mpirun.
    Raises RuntimeError: a process failed; its last lines are in the message. KeyboardInterrupt: a
    stop was asked for; what was stored by then stays.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "problem.yaml"
        file.write_text(to_yaml(config), encoding="utf-8")
        program = [*python_module("hypemarl"), command, str(file), *use_flags()]
        with Children() as children:
            processes = [
                children.start(
                    [*program, *words, *(["--quiet"] if not progress or k else [])],
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for k, words in enumerate(each)
            ]
            outputs = [process.communicate()[0] for process in processes]
    if children.asked:
        raise KeyboardInterrupt
    for process, output in zip(processes, outputs, strict=True):
        if process.returncode not in (0, 1):
            last = " | ".join(output.strip().splitlines()[-3:])
            raise RuntimeError(f"hypemarl {command} on {config.scenario} failed: {last}")
