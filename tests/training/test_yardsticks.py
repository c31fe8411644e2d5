"""Yardsticks on a tiny density: each is as good as what it contains, and loads unchanged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hypemarl
from hypemarl import cli
from hypemarl import config as configuration
from hypemarl.agents.policy_file import Optima, PolicyError, Schedule, read_about, save_policy
from hypemarl.envs import make
from hypemarl.training import evaluation, shares, table, yardsticks

SMALL = ("env.mesh.element_size=0.1", "env.agents=[4]", "env.control_steps=4")
SMALL += ("training.validation_size=3", "training.held_out_size=3")
SMALL += ("agent.hyper_width=8", "agent.encoding_size=4")
SET = [word for setting in SMALL for word in ("--set", setting)]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Cache folder, configuration, environment, and the fits of the command's two seeds."""
    folder = tmp_path_factory.mktemp("yardsticks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYPEMARL_CACHE", str(folder / "cache"))
        words = ["yardsticks", "density-1d", *SET, "--seeds", "0", "1", "--episodes", "30"]
        assert cli.main(["optimum", "density-1d", *SET, "--quiet"]) == 0
        output = ["--output", str(folder / "out"), "--json", str(folder / "found.json")]
        assert cli.main([*words, *output, "--quiet"]) == 0
        config = configuration.load("density-1d", list(SMALL))
        yield folder, config, make(config.env)


def validation_cost(env: Any, policy: evaluation.Policy) -> float:
    return evaluation.evaluate_policy(env, policy, evaluation.fixed_set(env, 3, "validation")).cost


def test_each_is_as_good_as_what_it_contains(fitted: Any) -> None:
    _, _, env = fitted
    known = yardsticks.stored(env)
    assert list(known) == list(shares.KINDS)
    for seed in (0, 1):
        cost = {
            kind: validation_cost(env, yardsticks.clocked(policies[seed], env))
            for kind, policies in known.items()
        }
        zero, push = (
            validation_cost(env, evaluation.BASELINES[name](env))
            for name in ("uncontrolled", "hand_made")
        )
        assert cost["best_constant"] < min(zero, push)
        assert cost["schedule"] <= cost["best_constant"]
        assert cost["schedule_mu"] < zero
        assert cost["feedback"] < zero


def test_files_give_the_tables_numbers_without_the_cache(fitted: Any) -> None:
    folder, config, env = fitted
    found = json.loads((folder / "found.json").read_text())
    held_out = evaluation.fixed_set(env, 3, "held-out")
    for kind in shares.KINDS:
        policies = [hypemarl.load_policy(folder / "out" / f"{kind}-seed{s}.npz") for s in (0, 1)]
        costs = [
            evaluation.evaluate_policy(env, yardsticks.clocked(policy, env), held_out).cost
            for policy in policies
        ]
        assert found[f"{kind}_cost"] == pytest.approx(np.mean(costs), rel=1e-12)
        about = read_about(folder / "out" / f"{kind}-seed1.npz")
        assert (about["name"], about["seed"], about["scenario"]) == (kind, 1, "density-1d")
    steps = ("best_constant", "schedule", "schedule_mu")
    share = [found[f"{kind}_recovered"] for kind in steps]
    assert found["worth_of_time"] == pytest.approx(share[1] - share[0])
    assert found["worth_of_mu"] == pytest.approx(share[2] - share[1])
    assert not any(isinstance(value, list) for key, value in found.items() if key != "rows")
    assert {"policy": "schedule", "seed": None, "mu_set": "held-out", "metric": "recovered"} in [
        {key: value for key, value in row.items() if key != "value"} for row in found["rows"]
    ]


def test_fits_are_kept_and_depend_on_the_seed(fitted: Any) -> None:
    _, config, env = fitted
    never = lambda *_: pytest.fail("it was fitted already")  # noqa: E731
    paths = yardsticks.fit_all(env, config, 0, yardsticks.Budget(30), never)
    others = [yardsticks.path_of(config.env, kind, 1) for kind in shares.KINDS]
    for path, other in zip(paths, others, strict=True):
        assert path.read_bytes() != other.read_bytes()
    first = hypemarl.load_policy(paths[0])
    again = yardsticks.fit("best_constant", env, config, seed=0, budget=yardsticks.Budget(30))
    np.testing.assert_array_equal(first.actions, again.best.actions)  # type: ignore[attr-defined]


def test_a_schedule_given_mu_knows_places_whatever_the_scheme(fitted: Any) -> None:
    _, config, env = fitted
    marl = replace(config, agent=replace(config.agent, scheme="marl"))
    budget = yardsticks.Budget(20, validations=1)
    first, second = (
        yardsticks.fit("schedule_mu", env, settings, budget=budget).last(
            np.zeros((env.n_agents, env.agent_spec.observation_size)), env.agent_spec.mu_low, 0.25
        )
        for settings in (config, marl)
    )
    np.testing.assert_array_equal(first, second)
    assert np.ptp(first, axis=0).max() > 1e-4


def test_without_an_adjoint_constants_are_searched_for(
    fitted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, config, env = fitted
    monkeypatch.setattr(yardsticks.OpenLoop, "serves", staticmethod(lambda env: False))
    budget = yardsticks.Budget(3 * yardsticks.POPULATION * yardsticks.DRAWS)
    found = yardsticks.fit("best_constant", env, config, budget=budget)
    assert found.best_cost < validation_cost(env, evaluation.uncontrolled(env))


def test_intervals_hold_the_share_and_widen_with_its_spread() -> None:
    best = np.array([1.0, 2.0, 3.0, 4.0])
    generator = np.random.default_rng(0)
    widths = []
    for spread in (0.01, 0.2):
        gains = best * (0.5 + spread * generator.standard_normal((3, 4)))
        low, high = shares.interval(gains, best) or (np.nan, np.nan)
        assert low < gains.mean() / best.mean() < high
        widths.append(high - low)
    assert widths[1] > 5 * widths[0]
    assert shares.interval([[0.5]], [1.0]) is None
    over = shares.interval([[1.2, 2.4]], [1.0, 2.0])  # better than what is known to be best
    assert over == pytest.approx((1.2, 1.2))


def test_schedules_and_optima_answer_by_time_and_mu(tmp_path: Path) -> None:
    actions = np.arange(12.0).reshape(3, 2, 2)
    nothing = np.zeros((2, 0))
    save_policy(tmp_path / "a.npz", Schedule(actions, 0.1), {"name": "a"})
    loaded = hypemarl.load_policy(tmp_path / "a.npz")
    for time, row in ((0.0, 0), (0.1 + 1e-17, 1), (0.3 - 0.1, 2), (5.0, 2)):
        np.testing.assert_array_equal(loaded(nothing, np.zeros(1), time), actions[row])
    costs = np.array([1.0, 2.0])
    optima = Optima(np.array([[0.1], [0.2]]), np.stack([actions, -actions]), 0.1, costs, costs)
    save_policy(tmp_path / "b.npz", optima, {"name": "b"})
    loaded = hypemarl.load_policy(tmp_path / "b.npz")
    np.testing.assert_array_equal(loaded(nothing, np.array([0.2]), 0.1), -actions[1])
    with pytest.raises(PolicyError, match=r"mu \[0.3\]: expected one of the 2 rows"):
        loaded(nothing, np.array([0.3]), 0.0)


def test_what_is_no_policy_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.npz"
    file.write_bytes(b"nothing")
    with pytest.raises(PolicyError, match=r"x.npz: expected a policy"):
        hypemarl.load_policy(file)
    save_policy(file, Schedule(np.zeros((1, 1, 1)), 0.1), {})
    content = file.read_bytes()
    file.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    with pytest.raises(PolicyError, match=r"x.npz: expected a policy"):
        hypemarl.load_policy(file)


def test_worth_of_place_compares_one_algorithm() -> None:
    def row(scheme: str, credit: str, share: float) -> dict[str, Any]:
        head = {"scheme": scheme, "credit": credit, "algorithm": credit, "seed": 0}
        return head | {"cost": 1.0, "return": 0.0, "recovered": share, "recovered_median": share}

    rows = [row("hypemarl", "apg", 0.9), row("hypemarl", "imitate", 0.95)]
    assert table.worth(rows) == {}
    rows.append(row("marl-mu", "apg", 0.6))
    found = table.worth(rows)
    assert found["worth_of_place"] == pytest.approx(0.3)
    assert found["marl_mu_recovered"] == 0.6
