"""Results of runs on held-out parameters: a flat row per run, a table over schemes and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hypemarl import mpi
from hypemarl.config import Config, ConfigError, to_dict
from hypemarl.training import checkpoint, evaluation
from hypemarl.training.evaluation import Evaluation, Policy
from hypemarl.training.loop import MakeEnv, default_make_env, pick_device, spec_of
from hypemarl.training.records import RunFolder, write_json

Row = dict[str, Any]

COLUMNS = (
    ("name", "scheme (credit)"),
    ("seeds", "seeds"),
    ("cost_mean", "cost J mean"),
    ("cost_median", "median"),
    ("cost_min", "min"),
    ("cost_max", "max"),
    ("ratio_to_uncontrolled", "J / J0"),
    ("return_mean", "return"),
    *((f"cost_{term}", term.replace("_", " ")) for term in evaluation.COST_TERMS),
)


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
    """Evaluate a run on the held-out set, write ``evaluation.json``, return the flat row.

    ``episodes`` replaces the size of the set (``training.held_out_size``). Collective.

    Keys: run, scenario, scheme, credit, seed, episode (of the best checkpoint), held_out, failures,
    cost, cost_std (over mu), return, cost_tracking, cost_boundary, cost_control,
    cost_control_gradient, the same of ``uncontrolled``, ``ratio_to_uncontrolled``.
    """
    comm = mpi.world() if comm is None else comm
    folder = RunFolder(run_dir)
    config = folder.read_config()
    env = make_env(config.env, comm=comm)
    try:
        policy, _ = trained_policy(folder, env, config, comm)
        size = episodes or config.training.held_out_size
        held_out = evaluation.parameter_set(env.parameter_low, env.parameter_high, size, "held-out")
        nothing = evaluation.evaluate_policy(env, evaluation.uncontrolled(env), held_out)
        result = evaluation.evaluate_policy(env, policy, held_out)
    finally:
        env.close()
    row: Row = {
        "run": str(folder.path),
        "scenario": config.scenario,
        "scheme": config.agent.scheme,
        "credit": config.agent.credit,
        "seed": config.seed,
        "held_out": size,
        **_flatten(result, ""),
        **_flatten(nothing, "uncontrolled_"),
        "uncontrolled": nothing.cost,
        "ratio_to_uncontrolled": result.cost / nothing.cost,
    }
    with mpi.raise_together(comm):
        if comm.rank == 0:
            write_json(folder.evaluation, row)
    return row


def _flatten(result: Evaluation, prefix: str) -> Row:
    return {
        f"{prefix}cost": result.cost,
        f"{prefix}cost_std": result.cost_std,
        f"{prefix}return": float(result.returns.mean()),
        f"{prefix}failures": result.failures,
        **{f"{prefix}cost_{name}": float(value.mean()) for name, value in result.terms.items()},
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
    """One row per scheme and credit with the spread over its runs, uncontrolled first.

    Keys as in :data:`COLUMNS`, and scheme, credit, cost_std (over seeds). Costs are means over the
    held-out set; mean, median, min and max are over seeds.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["scheme"], row["credit"]), []).append(row)
    table = [_uncontrolled_row(rows)]
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
                **{f"cost_{term}": _mean(members, f"cost_{term}") for term in _terms(members)},
            }
        )
    return table


def _order(group: tuple[tuple[str, str], list[Row]]) -> tuple[bool, str, str]:
    (scheme, credit), _ = group
    return scheme != "marl", scheme, credit  # the yardstick stands before what is compared with it


def _uncontrolled_row(rows: Sequence[Row]) -> Row:
    cost = float(rows[0]["uncontrolled"])
    return {
        "name": "uncontrolled",
        "scheme": "uncontrolled",
        "credit": "",
        "seeds": "",
        **dict.fromkeys(("cost_mean", "cost_median", "cost_min", "cost_max"), cost),
        "ratio_to_uncontrolled": 1.0,
        "return_mean": rows[0]["uncontrolled_return"],
        **{f"cost_{term}": rows[0][f"uncontrolled_cost_{term}"] for term in _terms(rows)},
    }


def _terms(rows: Sequence[Row]) -> list[str]:
    return [term for term in evaluation.COST_TERMS if f"cost_{term}" in rows[0]]


def _mean(rows: Sequence[Row], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def flat(rows: Sequence[Row]) -> Row:
    """One flat object for ``--json``: ``hypemarl_cost_mean``, ``uncontrolled_cost``, ...

    The prefix is the scheme; the credit is added (``hypemarl_local``) where a scheme comes with
    several. ``ratio_marl_over_hypemarl`` is MARL's median over HypeMARL's mean cost. A single run
    gives its own row as well.
    """
    table = summarise(rows)
    result: Row = dict(rows[0]) if len(rows) == 1 else {}
    result["uncontrolled_cost"] = table[0]["cost_mean"]
    result["seeds"] = len({row["seed"] for row in rows})
    result["runs"] = len(rows)
    schemes = [row["scheme"] for row in table]
    prefixes: dict[str, Row] = {}
    for row in table[1:]:
        name = row["scheme"].replace("-", "_")
        prefixes[name if schemes.count(row["scheme"]) == 1 else f"{name}_{row['credit']}"] = row
    for prefix, row in prefixes.items():
        result |= {f"{prefix}_{name}": value for name, value in row.items() if name != "name"}
    if "marl" in prefixes and "hypemarl" in prefixes:
        ratio = prefixes["marl"]["cost_median"] / prefixes["hypemarl"]["cost_mean"]
        result["ratio_marl_over_hypemarl"] = ratio
    return result
