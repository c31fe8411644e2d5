"""Results of runs on held-out parameters: a flat row per run, a table over schemes and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hypemarl import mpi
from hypemarl.config import Config, ConfigError, to_dict
from hypemarl.training import checkpoint, evaluation
from hypemarl.training.evaluation import Array, Evaluation, Policy
from hypemarl.training.loop import MakeEnv, default_make_env, pick_device, spec_of
from hypemarl.training.records import RunFolder, write_json

Row = dict[str, Any]

_COLUMNS = {
    "name": "scheme (credit)",
    "seeds": "seeds",
    "cost_mean": "cost J mean",
    "cost_median": "median",
    "cost_min": "min",
    "cost_max": "max",
    "ratio_to_uncontrolled": "J / J0",
    "return_mean": "return",
}


def columns(table: Sequence[Row]) -> dict[str, str]:
    """Keys and headings of a table of :func:`summarise`: what all problems have, then cost terms
    and metrics as they are found in its rows.
    """
    spread = {"cost_mean", "cost_median", "cost_min", "cost_max"}
    found = [name for name in _details(table) if name not in spread]
    return _COLUMNS | {name: name.removeprefix("cost_").replace("_", " ") for name in found}


def trained_policy(folder: RunFolder, env: Any, config: Config, comm: Any) -> tuple[Policy, Any]:
    """The averaged actor of the best checkpoint (of the last, where none was selected).

    Returns the policy, which answers on rank 0 and gives zeros elsewhere, and the agent (None on
    the other ranks). Collective. Raises CheckpointError.
    """
    agent: Any = None
    with mpi.raise_together(comm):
        if comm.rank == 0:
            from hypemarl.agents.td3 import TD3

            file = folder.best if folder.best.exists() else folder.last
            stored = checkpoint.load(file)
            checkpoint.check_config(file, stored, config)
            agent = TD3(spec_of(env), config.agent, config.seed, pick_device("cpu"))
            checkpoint.restore(file, {"agent": (agent.load_state_dict, stored["agent"])})
    zeros = np.zeros((env.n_agents, env.action_size))
    return (lambda observations, mu: zeros if agent is None else agent.act(observations, mu)), agent


def evaluate_run(
    run_dir: str | Path,
    *,
    episodes: int | None = None,
    comm: Any = None,
    make_env: MakeEnv = default_make_env,
) -> Row:
    """Evaluate one run, see :func:`evaluate_runs`. Collective."""
    return evaluate_runs([run_dir], episodes=episodes, comm=comm, make_env=make_env)[0]


def evaluate_runs(
    run_dirs: Sequence[str | Path],
    *,
    episodes: int | None = None,
    comm: Any = None,
    make_env: MakeEnv = default_make_env,
) -> list[Row]:
    """Evaluate runs on the held-out set: a flat row each, also written as ``evaluation.json``.

    Runs of one problem share an environment, and the baselines are measured in it once.
    ``episodes`` replaces the size of the set (``training.held_out_size``). Collective.

    Keys: run, scenario, scheme, credit, seed, held_out, failures, cost, cost_std (over mu),
    return, ``cost_<term>`` of every term that the plant reports, and drag_mean,
    lift_fluctuation, dissipation_mean of flows; the same of each baseline with its name before
    it (``uncontrolled_cost``, ``constant_return``, ...); ``uncontrolled`` and
    ``ratio_to_uncontrolled``.
    """
    comm = mpi.world() if comm is None else comm
    folders = [RunFolder(run_dir) for run_dir in run_dirs]
    configs = [folder.read_config() for folder in folders]
    rows: dict[int, Row] = {}
    for members in _by_problem(configs):
        first = configs[members[0]]
        size = episodes or first.training.held_out_size
        env = make_env(first.env, comm=comm)
        try:
            held_out = evaluation.parameter_set(
                env.parameter_low, env.parameter_high, size, "held-out"
            )
            shared = {"held_out": len(held_out), **_baselines(env, held_out)}
            for k in members:
                policy, _ = trained_policy(folders[k], env, configs[k], comm)
                result = evaluation.evaluate_policy(env, policy, held_out)
                rows[k] = _row(folders[k], configs[k], result, shared)
        finally:
            env.close()
    with mpi.raise_together(comm):
        if comm.rank == 0:
            for k, row in rows.items():
                write_json(folders[k].evaluation, row)
    return [rows[k] for k in range(len(folders))]


def _by_problem(configs: Sequence[Config]) -> list[list[int]]:
    """Indices of the configurations, those of one problem together."""
    problems: list[tuple[dict[str, Any], list[int]]] = []
    for k, config in enumerate(configs):
        for problem, members in problems:
            if problem == _problem(config):
                members.append(k)
                break
        else:
            problems.append((_problem(config), [k]))
    return [members for _, members in problems]


def _baselines(env: Any, held_out: Array) -> Row:
    """Results of the policies that need no training, flat. Collective."""
    row: Row = {}
    for name, make in evaluation.BASELINES.items():
        row |= _flatten(evaluation.evaluate_policy(env, make(env), held_out), f"{name}_")
    return row | {"uncontrolled": row["uncontrolled_cost"]}


def _row(folder: RunFolder, config: Config, result: Evaluation, shared: Row) -> Row:
    return {
        "run": str(folder.path),
        "scenario": config.scenario,
        "scheme": config.agent.scheme,
        "credit": config.agent.credit,
        "seed": config.seed,
        **_flatten(result, ""),
        **shared,
        "ratio_to_uncontrolled": result.cost / shared["uncontrolled"],
    }


def _flatten(result: Evaluation, prefix: str) -> Row:
    return {
        f"{prefix}cost": result.cost,
        f"{prefix}cost_std": result.cost_std,
        f"{prefix}return": float(result.returns.mean()),
        f"{prefix}failures": result.failures,
        **{f"{prefix}cost_{name}": float(value.mean()) for name, value in result.terms.items()},
        **{f"{prefix}{name}": float(value.mean()) for name, value in result.metrics.items()},
    }


def check_comparable(run_dirs: Sequence[str | Path]) -> None:
    """Raise ConfigError where the runs solve different problems or use other held-out sets."""
    first = RunFolder(run_dirs[0]).read_config()
    for run_dir in run_dirs[1:]:
        other = RunFolder(run_dir).read_config()
        if _problem(other) != _problem(first):
            raise ConfigError(
                f"{run_dir} and {run_dirs[0]} differ in env or training.held_out_size, so that "
                "their costs cannot stand in one table; evaluate them apart"
            )


def _problem(config: Config) -> dict[str, Any]:
    return {"env": to_dict(config.env), "held_out": config.training.held_out_size}


def summarise(rows: Sequence[Row]) -> list[Row]:
    """One row per scheme and credit with the spread over its runs, the baselines first.

    Keys as in :func:`columns`, and scheme, credit, cost_std (over seeds). Costs are means over the
    held-out set; mean, median, min and max are over seeds.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["scheme"], row["credit"]), []).append(row)
    table = [
        _baseline_row(rows[0], name) for name in evaluation.BASELINES if f"{name}_cost" in rows[0]
    ]
    for (scheme, credit), members in sorted(groups.items(), key=_order):
        costs = np.array([member["cost"] for member in members])
        table.append(
            {
                "name": f"{scheme} ({credit})",
                "scheme": scheme,
                "credit": credit,
                "seeds": len(members),
                "cost_mean": float(costs.mean()),
                "cost_median": float(np.median(costs)),
                "cost_min": float(costs.min()),
                "cost_max": float(costs.max()),
                "cost_std": float(costs.std()) if np.isfinite(costs).all() else float("inf"),
                "ratio_to_uncontrolled": _mean(members, "ratio_to_uncontrolled"),
                "return_mean": _mean(members, "return"),
                **{name: _mean(members, name) for name in _details(members)},
            }
        )
    return table


def _order(group: tuple[tuple[str, str], list[Row]]) -> tuple[bool, str, str]:
    (scheme, credit), _ = group
    return scheme != "marl", scheme, credit  # the yardstick stands before what is compared with it


def _baseline_row(row: Row, name: str) -> Row:
    cost, prefix = float(row[f"{name}_cost"]), f"{name}_"
    own = {k.removeprefix(prefix): value for k, value in row.items() if k.startswith(prefix)}
    return {
        "name": name,
        "scheme": name,
        "credit": "",
        "seeds": "",
        **dict.fromkeys(("cost_mean", "cost_median", "cost_min", "cost_max"), cost),
        "ratio_to_uncontrolled": cost / row["uncontrolled"],
        "return_mean": own["return"],
        **{detail: own[detail] for detail in _details([own])},
    }


def _details(rows: Sequence[Row]) -> list[str]:
    """Names of the cost terms, then of the metrics, in the order of the rows that have them."""
    names = dict.fromkeys(name for row in rows for name in row)
    terms = [name for name in names if name.startswith("cost_") and name != "cost_std"]
    return terms + [name for name in names if name in evaluation.METRICS]


def _mean(rows: Sequence[Row], name: str) -> float:
    """Mean over the rows; a row without the term is of a run whose every episode failed at once."""
    return float(np.mean([row.get(name, np.inf) for row in rows]))


def flat(rows: Sequence[Row]) -> Row:
    """One flat object for ``--json``: ``hypemarl_cost_mean``, ``uncontrolled_cost``, ...

    The prefix is the scheme; the credit is added (``hypemarl_local``) where a scheme comes with
    several. Baselines keep the keys that they have in every row. ``ratio_marl_over_hypemarl`` is
    MARL's median over HypeMARL's mean cost. A single run gives its own row as well.
    """
    table = [row for row in summarise(rows) if row["scheme"] not in evaluation.BASELINES]
    baselines = tuple(f"{name}_" for name in evaluation.BASELINES)
    result: Row = dict(rows[0]) if len(rows) == 1 else {}
    result |= {name: value for name, value in rows[0].items() if name.startswith(baselines)}
    result["seeds"] = len({row["seed"] for row in rows})
    result["runs"] = len(rows)
    schemes = [row["scheme"] for row in table]
    prefixes: dict[str, Row] = {}
    for row in table:
        name = row["scheme"].replace("-", "_")
        prefixes[name if schemes.count(row["scheme"]) == 1 else f"{name}_{row['credit']}"] = row
    for prefix, row in prefixes.items():
        result |= {f"{prefix}_{name}": value for name, value in row.items() if name != "name"}
    if "marl" in prefixes and "hypemarl" in prefixes:
        ratio = prefixes["marl"]["cost_median"] / prefixes["hypemarl"]["cost_mean"]
        result["ratio_marl_over_hypemarl"] = ratio
    return result
