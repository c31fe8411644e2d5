"""The policies that are kept beside the tables cost what the tables say."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

import hypemarl
from hypemarl import config as configuration
from hypemarl.agents.policy_file import Optima, read_about
from hypemarl.envs import make
from hypemarl.training import evaluation
from hypemarl.training.yardsticks import clocked

RESULTS = Path(__file__).parents[2] / "docs" / "results"
TABLES = {
    "density-1d": "density",
    "density-vacuum": "density",
    "shape-morphing": "shape",
    "reaction-diffusion": "problems",
}
PRECISION = 1e-6  # of a cost, on other processors


def table_of(scenario: str) -> dict[tuple[str, int | None], float]:
    """Costs of the policies of a table, by policy and seed."""
    entry = json.loads((RESULTS / f"{TABLES[scenario]}.json").read_text())[scenario]
    return {
        (record["policy"], record["seed"]): record["value"]
        for record in entry["rows"]
        if record["metric"] == "cost"
    }


def costs_of(scenario: str) -> dict[tuple[str, int | None], float]:
    """Mean held-out costs of the kept policies, of yardsticks the means over their seeds too."""
    config = configuration.load(scenario)
    env = make(config.env)
    held_out = evaluation.fixed_set(env, config.training.held_out_size, "held-out")
    costs = defaultdict(list)
    for file in sorted((RESULTS / "policies" / scenario).glob("*.npz")):
        policy, about = hypemarl.load_policy(file), read_about(file)
        if isinstance(policy, Optima):
            continue
        key = (about["policy"], about["seed"]) if "policy" in about else (about["name"], None)
        costs[key].append(evaluation.evaluate_policy(env, clocked(policy, env), held_out).cost)
    return {key: float(np.mean(values)) for key, values in costs.items()}


@pytest.mark.parametrize(
    "scenario",
    ["density-1d", *(pytest.param(s, marks=pytest.mark.slow) for s in list(TABLES)[1:])],
)
def test_kept_policies_cost_what_the_table_says(scenario: str) -> None:
    table, kept = table_of(scenario), costs_of(scenario)
    assert len(kept) > 8
    assert {"best_constant", "schedule", "schedule_mu", "hypemarl (apg)", "marl-mu (apg)"} <= {
        policy for policy, _ in kept
    }
    for key, cost in kept.items():
        assert cost == pytest.approx(table[key], rel=PRECISION), key


@pytest.mark.parametrize("scenario", TABLES)
def test_kept_optima_cost_what_they_say(scenario: str) -> None:
    optima = hypemarl.load_policy(RESULTS / "policies" / scenario / "optimum.npz")
    assert isinstance(optima, Optima)
    assert optima.costs.mean() == pytest.approx(table_of(scenario)["optimum", None], rel=PRECISION)
    env = make(configuration.load(scenario).env)
    mu = evaluation.fixed_set(env, len(optima.costs), "held-out")[:1]
    cost = evaluation.evaluate_policy(env, clocked(optima, env), mu).cost
    assert cost == pytest.approx(optima.costs[0], rel=PRECISION)
