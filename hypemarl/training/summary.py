"""Results of runs on held-out parameters: a flat row per run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hypemarl import files, mpi
from hypemarl.agents.schemes import variant
from hypemarl.config import Config, ConfigError, mesh_files, override, to_dict
from hypemarl.config.external import external_of
from hypemarl.config.user_code import note_other_code
from hypemarl.coupling.spec import AgentSpec
from hypemarl.envs.array_env import plant_of
from hypemarl.mpi import Comm
from hypemarl.optimal.open_loop import replay
from hypemarl.training import checkpoint, evaluation, shares, yardsticks
from hypemarl.training.evaluation import Array, Evaluation, Policy
from hypemarl.training.learner import Agent, algorithm_of, label
from hypemarl.training.records import RunFolder, write_json
from hypemarl.training.setup import MakeEnv, default_make_env
from hypemarl.training.shares import KnownOptima, known_optima
from hypemarl.training.transfer import require_environment, settle
from hypemarl.types import Row

if TYPE_CHECKING:
    from hypemarl.envs.array_env import ArrayEnv


_LAST = ("cost", "recovered")
"""Results of the last checkpoint that stand in a row."""


def trained_policy(
    folder: RunFolder,
    env: ArrayEnv,
    config: Config,
    comm: Comm,
    *,
    last: bool = False,
    home: AgentSpec | None = None,
) -> tuple[Policy, Agent | None]:
    """The averaged actor of the best checkpoint (of the ``last``, too where none was selected).

    Args:
        config: of the run; home: of the environment of its training, where ``env`` is another one.

    Returns the policy, which answers on rank 0 and gives zeros elsewhere, and the agent (None on
    the other ranks). Collective. Raises CheckpointError; ConfigError where it does not fit ``env``.
    """
    agent: Agent | None = None
    with mpi.raise_together(comm):
        if comm.rank == 0:
            file, stored = best_checkpoint(folder, last=last)
            checkpoint.check_config(file, stored, config)
            agent = algorithm_of(config).make_agent(home or env.agent_spec, config)
            state = checkpoint.entry(file, stored, "agent")
            checkpoint.restore(file, {"agent": (agent.load_state_dict, state)})
            if home is not None:
                settle(agent, config, env.agent_spec)
    zeros = np.zeros((env.n_agents, env.action_size))
    return (lambda observations, mu: zeros if agent is None else agent.act(observations, mu)), agent


def best_checkpoint(folder: RunFolder, *, last: bool = False) -> tuple[Path, Row]:
    """The checkpoint of the best validation, or the ``last`` one, and its content. Local.

    Where the best one was written and is gone, a note says so. Raises CheckpointError.
    """
    if last:
        return folder.last, checkpoint.load(folder.last)
    if folder.best.exists():
        return folder.best, checkpoint.load(folder.best)
    stored = checkpoint.load(folder.last)
    if best := checkpoint.entry(folder.last, stored, "progress", "best_episode"):
        last = checkpoint.entry(folder.last, stored, "progress", "episode")
        mpi.note(
            f"{folder.best} is missing: in place of the best policy, of episode {best}, the last "
            f"one is taken, of episode {last}"
        )
    return folder.last, stored


def evaluate_run(
    run_dir: str | Path,
    *,
    episodes: int | None = None,
    comm: Comm | None = None,
    make_env: MakeEnv = default_make_env,
) -> Row:
    """Evaluate one run, see :func:`evaluate_runs`. Collective."""
    return evaluate_runs([run_dir], episodes=episodes, comm=comm, make_env=make_env)[0]


def evaluate_runs(
    run_dirs: Sequence[str | Path],
    *,
    episodes: int | None = None,
    last: bool = False,
    changes: Sequence[str] = (),
    comm: Comm | None = None,
    make_env: MakeEnv = default_make_env,
) -> list[Row]:
    """Evaluate runs on the held-out set: a flat row each, also written as ``evaluation.json``.

    Runs of one problem share an environment, and the baselines are measured in it once.
    ``episodes`` replaces the size of the set (``training.held_out_size``). ``changes`` override
    settings of the environment after the training (:mod:`hypemarl.training.transfer`); nothing is
    written then. Collective.

    Keys: run, scenario, scheme (with its encoder and kind of hypernetwork, where they are not the
    usual ones), credit (of other algorithms than TD3: the algorithm), algorithm, seed, held_out,
    failures (where episodes failed, ``failure`` says why the last of them did), cost, cost_std
    (over mu), return, ``cost_<term>`` of every term that the plant reports, and what of
    :data:`evaluation.METRICS` it has; the same of each baseline with its name before it
    (``uncontrolled_cost``, ``hand_made_return``, ...); ``uncontrolled`` and, but for external
    environments, whose costs are minus returns, ``ratio_to_uncontrolled``; where ``hypemarl
    optimum`` has found optima of the held-out set, ``optima`` (their number), and over these
    parameters ``optimum_cost``, ``optimum_uncontrolled`` and ``recovered``, the share (J0 - J) /
    (J0 - J*), with the metrics of the optima. Stored yardsticks stand beside the baselines. With
    ``last`` also ``last_cost`` and ``last_recovered``, those of the last checkpoint, where the
    others are of the best one.
    """
    comm = mpi.world() if comm is None else comm
    require_environment(changes)
    folders = [RunFolder(run_dir) for run_dir in run_dirs]
    read_only = [folder.path for folder in folders if not (changes or files.may_write(folder.path))]
    for path in read_only:
        mpi.note(f"{path} is read-only: its evaluation.json is not written")
    configs = [folder.read_config() for folder in folders]
    for folder, config in zip(folders, configs, strict=True):
        if comm.rank == 0:
            note_other_code(folder.path, config.code)
    rows: dict[int, Row] = {}
    changed = [override(config, changes) if changes else config for config in configs]
    homes = _homes(configs, comm, make_env) if changes else {}
    for members in _by_problem(changed):
        first = changed[members[0]]
        size = episodes or first.training.held_out_size
        env = make_env(first.env, comm=comm)
        try:
            held_out = evaluation.fixed_set(env, size, "held-out")
            known = known_optima(env, held_out)
            shared = shared_row(env, held_out, known)
            for k in members:
                run = folders[k], configs[k], homes.get(k)
                rows[k] = _evaluate(env, run, known, held_out, last=last)
                rows[k] = _row(folders[k], configs[k], rows[k], shared)
        finally:
            env.close()
    with mpi.raise_together(comm):
        if comm.rank == 0:
            for k, row in rows.items():
                if not changes and folders[k].path not in read_only:
                    write_json(folders[k].evaluation, row)
    return [rows[k] for k in range(len(folders))]


def _homes(configs: Sequence[Config], comm: Comm, make_env: MakeEnv) -> dict[int, AgentSpec]:
    """What the environments of the trainings offer, by number of the configuration. Collective."""
    specs: dict[int, AgentSpec] = {}
    for members in _by_problem(configs):
        env = make_env(configs[members[0]].env, comm=comm)
        try:
            specs |= dict.fromkeys(members, env.agent_spec)
        finally:
            env.close()
    return specs


def _by_problem(configs: Sequence[Config]) -> list[list[int]]:
    """Indices of the configurations, those of one problem together."""
    problems: dict[str, list[int]] = {}
    for k, config in enumerate(configs):
        problems.setdefault(repr(_problem(config)), []).append(k)
    return list(problems.values())


def shared_row(env: ArrayEnv, held_out: Array, known: KnownOptima) -> Row:
    """Keys of :func:`evaluate_runs` that all runs of a problem share. Collective."""
    row = {"held_out": len(held_out), **_baselines(env, held_out, known), **known.row()}
    return row | of_optima(env, held_out, known)


def of_optima(env: ArrayEnv, held_out: Array, known: KnownOptima) -> Row:
    """Means of :data:`evaluation.METRICS` along the optima, each with ``optimum_`` before its name.

    None where the plant measures nothing. Collective.
    """
    if not len(known.rows) or not set(evaluation.SERIES) & set(plant_of(env).measured):
        return {}
    results = [
        evaluation.evaluate_policy(env, replay(actions), held_out[[row]])
        for row, actions in zip(known.rows, known.actions, strict=True)
    ]
    names = results[0].metrics
    return {f"optimum_{n}": float(np.mean([r.metrics[n] for r in results])) for n in names}


def _baselines(env: ArrayEnv, held_out: Array, known: KnownOptima) -> Row:
    """Results of the policies that need no run, and of the stored yardsticks, flat. Collective.

    Yardsticks are means over the seeds that they were fitted with.
    """
    policies = {name: [make(env)] for name, make in evaluation.BASELINES.items()}
    for kind, fitted in yardsticks.stored(env).items():
        policies[kind] = [yardsticks.clocked(policy, env) for policy in fitted]
    row: Row = {}
    for name, of_seeds in policies.items():
        results = [evaluation.evaluate_policy(env, policy, held_out) for policy in of_seeds]
        rows = [_flatten(result) | known.recovered(result) for result in results]
        keys = [key for key in rows[0] if key != "gains"]
        mean: Row = {key: float(np.mean([r[key] for r in rows])) for key in keys}
        mean |= {"gains": [r["gains"] for r in rows]} if "gains" in rows[0] else {}
        mean |= {"seeds": len(results)} if name in shares.KINDS else {}
        row |= {f"{name}_{key}": value for key, value in mean.items()}
    return row | {"uncontrolled": row["uncontrolled_cost"]}


def _evaluate(
    env: ArrayEnv,
    run: tuple[RunFolder, Config, AgentSpec | None],
    known: KnownOptima,
    held_out: Array,
    *,
    last: bool,
) -> Row:
    """Results of a run's best policy and, with ``last``, of its last one. Collective."""
    folder, config, home = run
    policy, _ = trained_policy(folder, env, config, env.comm, home=home)
    result = evaluation.evaluate_policy(env, policy, held_out)
    row = _flatten(result) | known.recovered(result)
    if result.failure is not None:
        row["failure"] = result.failure
    if last:
        policy, _ = trained_policy(folder, env, config, env.comm, last=True, home=home)
        final = evaluation.evaluate_policy(env, policy, held_out)
        results = {"cost": final.cost, **known.recovered(final)}
        row |= {f"last_{name}": results[name] for name in _LAST if name in results}
    return row


def _row(folder: RunFolder, config: Config, result: Row, shared: Row) -> Row:
    row = {
        "run": str(folder.path),
        "scenario": config.scenario,
        "scheme": variant(config.agent),
        "credit": label(config),
        "algorithm": config.training.algorithm,
        "seed": config.seed,
        **result,
        **shared,
    }
    if external_of(config.env) is None:  # the ratio of two returns means nothing
        row["ratio_to_uncontrolled"] = result["cost"] / shared["uncontrolled"]
    return row


def _flatten(result: Evaluation) -> Row:
    return {
        "cost": result.cost,
        "cost_std": result.cost_std,
        "return": float(result.returns.mean()),
        "failures": result.failures,
        **{f"cost_{name}": float(value.mean()) for name, value in result.terms.items()},
        **{
            name: float(evaluation.METRICS[name].of_many(value))
            for name, value in result.metrics.items()
        },
    }


def check_comparable(run_dirs: Sequence[str | Path]) -> None:
    """Raise ConfigError where runs solve different problems, or one of them stands there twice."""
    places = [Path(run_dir).resolve() for run_dir in run_dirs]
    for k, place in enumerate(places):
        if place in places[:k]:
            raise ConfigError(
                f"{run_dirs[k]} and {run_dirs[places.index(place)]} are one run; name each run once"
            )
    first = RunFolder(run_dirs[0]).read_config()
    for run_dir in run_dirs[1:]:
        other = RunFolder(run_dir).read_config()
        if _problem(_unstamped(other)) != _problem(_unstamped(first)):
            raise ConfigError(
                f"{run_dir} and {run_dirs[0]} differ in env or training.held_out_size, so that "
                "their costs cannot stand in one table; evaluate them apart"
            )


def _unstamped(config: Config) -> Config:
    """``config`` without entries that define no problem: an environment's SHA-256, mesh paths.

    A change of the environment is reported when it is opened; mesh files of known content are
    compared by that.
    """
    env, external = config.env, external_of(config.env)
    mesh = env.mesh
    if external is not None:
        env = replace(env, options=replace(external, sha256=""))
    if mesh.files_sha256 is not None:
        paths: Row = dict.fromkeys(mesh_files.NAMES)
        mesh = replace(mesh, **paths)
    return replace(config, env=replace(env, mesh=mesh))


def _problem(config: Config) -> Row:
    return {"env": to_dict(config.env), "held_out": config.training.held_out_size}
