"""Rows of evaluated runs: a table over schemes and seeds, one flat object, long records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hypemarl.agents.schemes import INFORMED, REFERENCE, UNPLACED
from hypemarl.config import ALGORITHMS, TrainingConfig
from hypemarl.training import evaluation, shares
from hypemarl.types import Record, Row

USUAL = TrainingConfig().algorithm
"""The algorithm whose costs by scheme are compared, credit by credit."""

DIVERGED = 2.0
"""Training has diverged where its last checkpoint costs more than so many times its best one."""
RATIO = "ratio_to_uncontrolled"
SPREAD: dict[str, Callable[[Any], Any]] = {
    "cost_mean": np.mean,
    "cost_median": np.median,
    "cost_min": np.min,
    "cost_max": np.max,
}
_COLUMNS = {
    "name": "scheme (credit)",
    "seeds": "seeds",
    "cost_mean": "cost J mean",
    "cost_median": "median",
    "cost_min": "min",
    "cost_max": "max",
    RATIO: "J / J0",
    "recovered": "recovered",
    "recovered_min": "min",
    "recovered_low": "95% from",
    "recovered_high": "to",
    "recovered_median": "median mu",
    "return_mean": "return",
    "last_cost": "last checkpoint",
    "diverged": "diverged",
}
_SHARES = ("recovered", "recovered_low", "recovered_high", "recovered_median")
_SOMETIMES = (RATIO, "recovered_min", "last_cost", "diverged", *_SHARES)
"""Columns that a table has only where a row does: no optimum is known, or costs have no ratio."""
SAVINGS = {"net_saving": "jet_power_mean", "gross_saving": "jet_power_gross_mean"}
"""Drag coefficients saved beside those of no control, less the power coefficient of the jets."""
_NO_METRIC = ("seed", "seeds", "held_out", "optima", "uncontrolled")
"""Numbers of a run's row that say nothing of its policy."""


def columns(table: Sequence[Row]) -> dict[str, str]:
    """Keys and headings of a table of :func:`summarise`: those of all problems, then the cost
    terms and metrics of its rows.
    """
    known = {name for row in table for name in row}
    shared = {k: text for k, text in _COLUMNS.items() if k in known or k not in _SOMETIMES}
    details = [name for name in _details(table) if name not in SPREAD]
    return shared | {name: name.removeprefix("cost_").replace("_", " ") for name in details}


def summarise(rows: Sequence[Row]) -> list[Row]:
    """One row per scheme and credit with the spread over its runs, the baselines first.

    Keys as in :func:`columns`, and scheme, credit, cost_std (over seeds). Costs are means over the
    held-out set; mean, median, min and max are over seeds.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["scheme"], row["credit"]), []).append(row)
    table = singles(rows[0])
    for (scheme, credit), members in sorted(groups.items(), key=_order):
        costs = np.array([member["cost"] for member in members])
        ratio = {RATIO: _mean(members, RATIO)} if RATIO in members[0] else {}
        table.append(
            {
                "name": policy_of(scheme, credit),
                "scheme": scheme,
                "credit": credit,
                "algorithm": _algorithm(members[0]),
                "seeds": len(members),
                **spread(costs),
                "cost_std": float(costs.std()) if np.isfinite(costs).all() else float("inf"),
                **ratio,
                "return_mean": _mean(members, "return"),
                **{name: _mean(members, name) for name in _details(members)},
                **_recovered(members),
                **_last(members),
            }
        )
    return [*_with_savings(table), *optimum_row(rows[0])]


def _with_savings(table: Sequence[Row]) -> list[Row]:
    """The rows with their :data:`SAVINGS`, where drag and power of the jets are known."""
    drag = {row["name"]: row.get("drag_mean") for row in table}.get("uncontrolled")
    return [
        row
        | {
            name: drag - row["drag_mean"] - row[power]
            for name, power in SAVINGS.items()
            if drag is not None and power in row
        }
        for row in table
    ]


def singles(row: Row) -> list[Row]:
    """Rows of the policies without a run that stand in a run's row, see :func:`summarise`."""
    return [_single(name, baseline_of(row, name), row) for name in baselines(row)]


def spread(costs: Any) -> Row:
    """Mean, median, least and largest of some costs."""
    return {name: float(reduce(costs)) for name, reduce in SPREAD.items()}


def baselines(row: Row) -> list[str]:
    """Policies without a run whose results stand in a run's row, in their order."""
    names = [name.removesuffix("_cost") for name in row if name.endswith("_cost")]
    return [name for name in names if f"{name}_return" in row]


def baseline_of(row: Row, name: str) -> Row:
    """The results of one of the :func:`baselines`, without its name before the keys."""
    longer = tuple(f"{n}_" for n in baselines(row) if n.startswith(f"{name}_"))
    prefix = f"{name}_"
    results = {k: v for k, v in row.items() if k.startswith(prefix) and not k.startswith(longer)}
    return {key.removeprefix(prefix): value for key, value in results.items()}


def _algorithm(row: Row) -> str:
    """Name of its algorithm; rows of version 0.1 have it as the credit, but for the usual one."""
    usual = USUAL if row["credit"] not in ALGORITHMS else row["credit"]
    return str(row.get("algorithm", usual))


def _recovered(members: Sequence[Row]) -> Row:
    """Mean and range over seeds of the recovered share, where optima are known."""
    values = [member["recovered"] for member in members if "recovered" in member]
    if not values:
        return {}
    return {
        "recovered": float(np.mean(values)),
        "recovered_min": min(values),
        "recovered_max": max(values),
        "recovered_median": _mean(members, "recovered_median"),
        **_interval([row["gains"] for row in members if "gains" in row], members[0]),
    }


def _last(members: Sequence[Row]) -> Row:
    """Mean cost of the last checkpoints, where they were evaluated, and of how many seeds it is
    above :data:`DIVERGED` times that of the best one, or infinite.
    """
    if not all("last_cost" in row for row in members):
        return {}
    diverged = [not row["last_cost"] <= DIVERGED * row["cost"] for row in members]
    known = [row["last_recovered"] for row in members if "last_recovered" in row]
    mean = {"last_recovered": float(np.mean(known))} if known else {}
    return {"last_cost": _mean(members, "last_cost"), **mean, "diverged": sum(diverged)}


def _interval(gains: Sequence[Sequence[float]], row: Record) -> Row:
    """The bootstrap interval of a recovered share; rows of version 0.1 have no gains."""
    limits = shares.interval(gains, row["optimum_gains"]) if gains else None
    return {} if limits is None else {"recovered_low": limits[0], "recovered_high": limits[1]}


def _order(group: tuple[tuple[str, str], list[Row]]) -> tuple[bool, str, str]:
    (scheme, credit), _ = group
    return scheme != REFERENCE.name, scheme, credit  # it stands before what is compared with it


def _single(name: str, result: Row, row: Row) -> Row:
    """The row of a policy without seeds, from its cost and whatever else is known of it."""
    cost = float(result["cost"])
    if name in shares.KINDS:
        result |= _interval(result.get("gains", []), row)
    present = [key for key in _SHARES if key in result]
    return {
        "name": name,
        "scheme": name,
        "credit": "",
        "seeds": result.get("seeds", ""),
        **dict.fromkeys(SPREAD, cost),
        **({RATIO: cost / row["uncontrolled"]} if RATIO in row else {}),
        **({"return_mean": result["return"]} if "return" in result else {}),
        **{key: result[key] for key in (*_details([result]), *present)},
    }


def optimum_row(row: Row) -> list[Row]:
    """The mean over the parameters whose optimum is known; no row where none is."""
    if "optimum_cost" not in row:
        return []
    best = _single("optimum", {"cost": row["optimum_cost"], "recovered": 1.0}, {})
    if row["optima"] != row["held_out"]:
        best["name"] = f"optimum ({row['optima']} of {row['held_out']})"
    measured = {name: row.get(f"optimum_{name}") for name in evaluation.METRICS}
    best |= {name: value for name, value in measured.items() if value is not None}
    return [best | {RATIO: best["cost_mean"] / row["optimum_uncontrolled"]}]


def _details(rows: Sequence[Row]) -> list[str]:
    """Names of the cost terms, then of the metrics, in the order of the rows that have them."""
    names = dict.fromkeys(name for row in rows for name in row)
    terms = [name for name in names if name.startswith("cost_") and name != "cost_std"]
    return terms + [name for name in names if name in evaluation.METRICS or name in SAVINGS]


def _mean(rows: Sequence[Row], name: str) -> float:
    """Mean over the rows, or the reduction of a metric; infinite for a row without the term, of a
    run whose every episode failed at once."""
    metric = evaluation.METRICS.get(name)
    reduce = np.mean if metric is None else metric.of_many
    return float(reduce([row.get(name, np.inf) for row in rows]))


def records(rows: Sequence[Row], names: Sequence[str] | None = None) -> list[Row]:
    """Long records of evaluated runs: policy, seed, mu_set, metric, value.

    A policy is a scheme and its credit, or the run's entry of ``names`` (one per row). Baselines
    and the optimum, which are the same beside every run, come first and have no seed.
    """
    first = rows[0]
    single = {name: baseline_of(first, name) for name in baselines(first)}
    if "optimum_cost" in first:
        keys = {name: f"optimum_{name}" for name in ("cost", *evaluation.METRICS)}
        known = {name: first[key] for name, key in keys.items() if key in first}
        single["optimum"] = known | {"optima": first["optima"]}
    result = [record for name, row in single.items() for record in _long(name, None, row)]
    prefixes = tuple(f"{name}_" for name in single)
    for k, row in enumerate(rows if "scheme" in first else []):
        policy = policy_of(row["scheme"], row["credit"]) if names is None else names[k]
        values = {key: value for key, value in row.items() if not key.startswith(prefixes)}
        result += _long(policy, row["seed"], values)
    return result


def policy_of(scheme: str, credit: str) -> str:
    """How tables and records name the policies of a scheme with a credit, or algorithm."""
    return f"{scheme} ({credit})"


def _long(policy: str, seed: int | None, row: Record) -> list[Row]:
    head = {"policy": policy, "seed": seed, "mu_set": "held-out"}
    values = {k: v for k, v in row.items() if isinstance(v, int | float) and k not in _NO_METRIC}
    return [head | {"metric": name, "value": value} for name, value in values.items()]


def flat(rows: Sequence[Row]) -> Row:
    """One flat object for ``--json``: ``hypemarl_cost_mean``, ``uncontrolled_cost``, ...

    The prefix is the scheme; the credit (or the algorithm, if not TD3) is added where a scheme
    comes with several (``hypemarl_local``, ``hypemarl_apg``). Baselines and the optimum keep
    the keys that they have in every row. ``ratio_marl_over_hypemarl`` is MARL's median over
    HypeMARL's mean cost by TD3 (by another algorithm where there is none), both with the same
    credit, the one that HypeMARL is best with;
    ``best_recovered`` the largest recovered share of a scheme, a mean over its seeds,
    ``td3_recovered`` that of HypeMARL by TD3. A single run gives its own row as well.
    """
    single = (*baselines(rows[0]), "optimum")
    table = [row for row in summarise(rows) if row["scheme"] not in single]
    result: Row = dict(rows[0]) if len(rows) == 1 else {}
    shared = (*(f"{name}_" for name in single), "optima", "held_out")
    result |= {name: value for name, value in rows[0].items() if name.startswith(shared)}
    result = {name: value for name, value in result.items() if not isinstance(value, list)}
    result |= {"seeds": len({row["seed"] for row in rows}), "runs": len(rows)}
    schemes = [row["scheme"] for row in table]
    for row in table:
        name = row["scheme"].replace("-", "_").replace(" ", "_")
        prefix = name if schemes.count(row["scheme"]) == 1 else f"{name}_{row['credit']}"
        result |= {f"{prefix}_{key}": value for key, value in row.items() if key != "name"}
    return result | _ratio(table) | _best(table) | worth(rows)


def worth(rows: Sequence[Row]) -> Row:
    """Gain in recovered share by each step up, where both of its policies are known.

    ``worth_of_time`` is that of a schedule over constant actions, ``worth_of_mu`` of a schedule
    made for mu over the one for all mu, ``worth_of_feedback`` of the best policy over the former,
    and ``worth_of_place`` of HypeMARL over the same local policy without a place, both by the same
    algorithm and credit.
    """
    known = {name: baseline_of(rows[0], name).get("recovered") for name in shares.KINDS}
    table = summarise(rows) if "scheme" in rows[0] else []
    table = [row for row in table if "algorithm" in row and "recovered" in row]
    informed = {r["credit"]: r["recovered"] for r in table if r["scheme"] == INFORMED.name}
    unplaced = {r["credit"]: r["recovered"] for r in table if r["scheme"] == UNPLACED.name}
    shared = [(informed[credit], share) for credit, share in unplaced.items() if credit in informed]
    steps = {
        "time": (known["schedule"], known["best_constant"]),
        "mu": (known["schedule_mu"], known["schedule"]),
        "feedback": (max(informed.values(), default=None), known["schedule_mu"]),
        "place": max(shared, default=(None, None)),
    }
    result = {
        f"worth_of_{name}": upper - lower
        for name, (upper, lower) in steps.items()
        if upper is not None and lower is not None
    }
    if unplaced:
        result[f"{UNPLACED.name.replace('-', '_')}_recovered"] = max(unplaced.values())
    return result


def _ratio(table: Sequence[Row]) -> Row:
    """Of the credits that MARL and HypeMARL share, that with HypeMARL's lowest cost.

    By TD3, or where nothing was trained by it, by the other algorithms.
    """
    usual = [row for row in table if row["algorithm"] == USUAL] or table
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
