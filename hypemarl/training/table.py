"""Rows of evaluated runs as a table over schemes and seeds, and as one flat object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hypemarl.agents.schemes import INFORMED, REFERENCE
from hypemarl.config import TrainingConfig
from hypemarl.training import evaluation
from hypemarl.training.learner import algorithm_names
from hypemarl.types import Row

USUAL = TrainingConfig().method
"""The algorithm whose costs by scheme are compared, credit by credit."""

RATIO = "ratio_to_uncontrolled"
_COLUMNS = {
    "name": "scheme (credit)",
    "seeds": "seeds",
    "cost_mean": "cost J mean",
    "cost_median": "median",
    "cost_min": "min",
    "cost_max": "max",
    "ratio_to_uncontrolled": "J / J0",
    "recovered": "recovered",
    "recovered_min": "min",
    "recovered_median": "median mu",
    "return_mean": "return",
}

_SOMETIMES = (RATIO, "recovered", "recovered_min", "recovered_median")
"""Columns that a table has only where a row does: no optimum is known, or costs have no ratio."""


def columns(table: Sequence[Row]) -> dict[str, str]:
    """Keys and headings of a table of :func:`summarise`: what all problems have, then cost terms
    and metrics as they are found in its rows.
    """
    spread = {"cost_mean", "cost_median", "cost_min", "cost_max"}
    found = [name for name in _details(table) if name not in spread]
    given = {name for row in table for name in row}
    shared = {k: text for k, text in _COLUMNS.items() if k in given or k not in _SOMETIMES}
    return shared | {name: name.removeprefix("cost_").replace("_", " ") for name in found}


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
                "algorithm": _algorithm(members[0]),
                "seeds": len(members),
                "cost_mean": float(costs.mean()),
                "cost_median": float(np.median(costs)),
                "cost_min": float(costs.min()),
                "cost_max": float(costs.max()),
                "cost_std": float(costs.std()) if np.isfinite(costs).all() else float("inf"),
                **_ratio_mean(members),
                "return_mean": _mean(members, "return"),
                **{name: _mean(members, name) for name in _details(members)},
                **_recovered(members),
            }
        )
    return table + _optimum_row(rows[0])


def _algorithm(row: Row) -> str:
    """Name of its algorithm; rows of version 0.1 have it as the credit, but for the usual one."""
    usual = USUAL if row["credit"] not in algorithm_names() else row["credit"]
    return str(row.get("algorithm", usual))


def _ratio_mean(members: Sequence[Row]) -> Row:
    return {RATIO: _mean(members, RATIO)} if RATIO in members[0] else {}


def _recovered(members: Sequence[Row]) -> Row:
    """Mean and range over seeds of the recovered share, where optima are known."""
    shares = [member["recovered"] for member in members if "recovered" in member]
    if not shares:
        return {}
    return {
        "recovered": float(np.mean(shares)),
        "recovered_min": min(shares),
        "recovered_max": max(shares),
        "recovered_median": _mean(members, "recovered_median"),
    }


def _order(group: tuple[tuple[str, str], list[Row]]) -> tuple[bool, str, str]:
    (scheme, credit), _ = group
    return scheme != REFERENCE.name, scheme, credit  # it stands before what is compared with it


def _baseline_row(row: Row, name: str) -> Row:
    cost, prefix = float(row[f"{name}_cost"]), f"{name}_"
    own = {k.removeprefix(prefix): value for k, value in row.items() if k.startswith(prefix)}
    return {
        "name": name,
        "scheme": name,
        "credit": "",
        "seeds": "",
        **dict.fromkeys(("cost_mean", "cost_median", "cost_min", "cost_max"), cost),
        **({RATIO: cost / row["uncontrolled"]} if RATIO in row else {}),
        "return_mean": own["return"],
        **{detail: own[detail] for detail in _details([own])},
        **{name: own[name] for name in ("recovered", "recovered_median") if name in own},
    }


def _optimum_row(row: Row) -> list[Row]:
    """The mean over the parameters whose optimum is known; no row where none is."""
    if "optimum_cost" not in row:
        return []
    cost, all_known = float(row["optimum_cost"]), row["optima"] == row["held_out"]
    return [
        {
            "name": "optimum" if all_known else f"optimum ({row['optima']} of {row['held_out']})",
            "scheme": "optimum",
            "credit": "",
            "seeds": "",
            **dict.fromkeys(("cost_mean", "cost_median", "cost_min", "cost_max"), cost),
            "ratio_to_uncontrolled": cost / row["optimum_uncontrolled"],
            "recovered": 1.0,
        }
    ]


def _details(rows: Sequence[Row]) -> list[str]:
    """Names of the cost terms, then of the metrics, in the order of the rows that have them."""
    names = dict.fromkeys(name for row in rows for name in row)
    terms = [name for name in names if name.startswith("cost_") and name != "cost_std"]
    return terms + [name for name in names if name in evaluation.METRICS]


def _mean(rows: Sequence[Row], name: str) -> float:
    """Over the rows the mean, or what a metric has over parameters; a row without the term is of a
    run whose every episode failed at once."""
    metric = evaluation.METRICS.get(name)
    reduce = np.mean if metric is None else metric.of_many
    return float(reduce([row.get(name, np.inf) for row in rows]))


def flat(rows: Sequence[Row]) -> Row:
    """One flat object for ``--json``: ``hypemarl_cost_mean``, ``uncontrolled_cost``, ...

    The prefix is the scheme; the credit (of other methods than TD3: the method) is added where a
    scheme comes with several (``hypemarl_local``, ``hypemarl_apg``). Baselines and the optimum keep
    the keys that they have in every row. ``ratio_marl_over_hypemarl`` is MARL's median over
    HypeMARL's mean cost by TD3, both with the same credit, the one that HypeMARL is best with;
    ``best_recovered`` the largest recovered share of a scheme, a mean over its seeds,
    ``td3_recovered`` that of HypeMARL by TD3. A single run
    gives its own row as well.
    """
    yardsticks = (*evaluation.BASELINES, "optimum")
    table = [row for row in summarise(rows) if row["scheme"] not in yardsticks]
    prefixes = tuple(f"{name}_" for name in yardsticks)
    result: Row = dict(rows[0]) if len(rows) == 1 else {}
    kept = (*prefixes, "optima", "held_out")
    result |= {name: value for name, value in rows[0].items() if name.startswith(kept)}
    result["seeds"] = len({row["seed"] for row in rows})
    result["runs"] = len(rows)
    schemes = [row["scheme"] for row in table]
    for row in table:
        name = row["scheme"].replace("-", "_").replace(" ", "_")
        prefix = name if schemes.count(row["scheme"]) == 1 else f"{name}_{row['credit']}"
        result |= {f"{prefix}_{key}": value for key, value in row.items() if key != "name"}
    return result | _ratio(table) | _best(table)


def _ratio(table: Sequence[Row]) -> Row:
    """Of the credits that MARL and HypeMARL share, that with HypeMARL's lowest cost; TD3 only."""
    usual = [row for row in table if row["algorithm"] == USUAL]
    references = {r["credit"]: r["cost_median"] for r in usual if r["scheme"] == REFERENCE.name}
    shared = [
        (row["cost_mean"], references[row["credit"]])
        for row in usual
        if row["scheme"] == INFORMED.name and row["credit"] in references
    ]
    if not shared or not all(RATIO in row for row in table):
        return {}
    cost, reference = min(shared)
    return {f"ratio_{REFERENCE.name}_over_{INFORMED.name}": reference / cost}


def _best(table: Sequence[Row]) -> Row:
    known = [row for row in table if "recovered" in row]
    usual = [
        row["recovered"]
        for row in known
        if row["scheme"] == INFORMED.name and row["algorithm"] == USUAL
    ]
    result = {"best_recovered": max(row["recovered"] for row in known)} if known else {}
    return result | ({f"{USUAL}_recovered": max(usual)} if usual else {})
