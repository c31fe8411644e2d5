from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import LateFailures, ToyEnv, toy_config

from hypemarl.config import ConfigError
from hypemarl.training import checkpoint, loop, summary
from hypemarl.training.evaluation import METRICS
from hypemarl.training.records import RunFolder
from hypemarl.training.table import columns as table_columns
from hypemarl.training.table import flat as flat_object
from hypemarl.training.table import summarise

NOTHING = {"cost": 2.0, "return": -0.5, "cost_tracking": 2.0, "drag_mean": 3.5}


def row(scheme: str, seed: int, cost: float, credit: str = "local") -> dict[str, Any]:
    return {
        "scheme": scheme,
        "credit": credit,
        "seed": seed,
        "cost": cost,
        "return": -cost / 4,
        "ratio_to_uncontrolled": cost / 2.0,
        "cost_tracking": cost,
        "drag_mean": 3.0 + seed,
        "curvature_max": 1.0 + seed,
        "uncontrolled": 2.0,
        **{f"uncontrolled_{name}": value for name, value in NOTHING.items()},
        "constant_cost": 5.0,
        "constant_return": -1.25,
    }


ROWS = [row("hypemarl", seed, cost) for seed, cost in enumerate((0.2, 0.3, 0.4, 0.5))]
ROWS += [row("marl", seed, cost) for seed, cost in enumerate((0.6, 0.8, 1.0, np.inf))]


def test_one_table_row_per_scheme_with_the_spread_over_seeds() -> None:
    table = summarise(ROWS)
    assert [entry["name"] for entry in table] == [
        "uncontrolled",
        "constant",
        "marl (local)",
        "hypemarl (local)",
    ]
    assert table[0]["cost_mean"] == 2.0
    assert table[0]["drag_mean"] == 3.5
    assert table[1]["ratio_to_uncontrolled"] == 2.5
    hypemarl = table[3]
    assert hypemarl["drag_mean"] == 4.5
    assert hypemarl["curvature_max"] == 4.0  # the largest of all seeds
    assert hypemarl["seeds"] == 4
    assert (hypemarl["cost_min"], hypemarl["cost_max"]) == (0.2, 0.5)
    assert hypemarl["cost_mean"] == pytest.approx(0.35)
    assert hypemarl["cost_std"] == pytest.approx(np.std([0.2, 0.3, 0.4, 0.5]))
    assert table[2]["cost_median"] == pytest.approx(0.9)  # a failed seed does not hide the others


def test_savings_count_what_jets_take() -> None:
    """Drag that was saved, less the jets' power: net, and of pumps that recover nothing."""
    powers = {"jet_power_mean": 0.25, "jet_power_gross_mean": 0.75}
    none = {f"uncontrolled_{name}": 0.0 for name in powers}
    table = summarise([row("hypemarl", 0, 0.2) | none | powers])
    assert (table[0]["net_saving"], table[0]["gross_saving"]) == (0.0, 0.0)
    assert (table[2]["net_saving"], table[2]["gross_saving"]) == (0.25, -0.25)
    assert table_columns(table)["net_saving"] == "net saving"
    assert "net_saving" not in table_columns(summarise(ROWS))


def test_a_seed_whose_every_episode_failed_has_no_metrics() -> None:
    failed = {k: v for k, v in row("marl", 4, np.inf).items() if k not in METRICS}
    marl = summarise([*ROWS, failed])[2]
    assert (marl["drag_mean"], marl["curvature_max"]) == (np.inf, np.inf)
    assert marl["cost_median"] == 1.0


def test_flat_keys_that_others_read() -> None:
    flat = flat_object(ROWS)
    assert flat["uncontrolled_cost"] == 2.0
    assert flat["seeds"] == 4
    assert flat["hypemarl_cost_mean"] == pytest.approx(0.35)
    assert flat["hypemarl_ratio_to_uncontrolled"] == pytest.approx(0.175)
    assert flat["marl_cost_median"] == pytest.approx(0.9)
    assert flat["ratio_marl_over_hypemarl"] == pytest.approx(0.9 / 0.35)
    assert flat["constant_cost"] == 5.0
    assert all(not isinstance(value, dict | list) for value in flat.values())


def test_the_columns_are_those_of_the_rows() -> None:
    columns = table_columns(summarise(ROWS))
    assert list(columns)[-3:] == ["cost_tracking", "drag_mean", "curvature_max"]
    assert columns["cost_tracking"] == "tracking"
    plain = [{k: v for k, v in entry.items() if "drag" not in k} for entry in ROWS]
    assert "drag_mean" not in table_columns(summarise(plain))


def test_several_credits_of_a_scheme_stay_apart() -> None:
    flat = flat_object([row("hypemarl", 0, 0.2), row("hypemarl", 0, 0.7, "cooperative")])
    assert flat["hypemarl_local_cost_mean"] == 0.2
    assert flat["hypemarl_cooperative_cost_mean"] == 0.7
    assert "hypemarl_cost_mean" not in flat


def trained(path: Path, **training: Any) -> Path:
    loop.train(toy_config(**training), path, make_env=ToyEnv, progress=False)
    return path


def test_evaluation_uses_the_best_checkpoint_and_held_out_parameters(tmp_path: Path) -> None:
    run = tmp_path / "run"
    loop.train(toy_config(), run, make_env=LateFailures, progress=False)
    seen: list[float] = []

    class Watching(ToyEnv):
        def reset_arrays(self, parameters: np.ndarray) -> Any:
            seen.append(float(parameters[0]))
            return super().reset_arrays(parameters)

    result = summary.evaluate_run(run, make_env=Watching)
    held_out = summary.evaluation.parameter_set(
        ToyEnv.parameter_low, ToyEnv.parameter_high, 4, "held-out"
    )
    assert seen == [*held_out[:, 0]] * 4  # three baselines and the policy
    assert json.loads(RunFolder(run).evaluation.read_text()) == result
    assert result["ratio_to_uncontrolled"] == result["cost"] / result["uncontrolled"]

    folder, env = RunFolder(run), ToyEnv(toy_config().env)
    best = checkpoint.load(folder.best)["agent"]["actor_average"]
    last = checkpoint.load(folder.last)["agent"]["actor_average"]
    assert any((best[name] != last[name]).any() for name in best)
    _, agent = summary.trained_policy(folder, env, folder.read_config(), loop.mpi.world())
    for name, value in agent.actor_average.state_dict().items():
        assert (value == best[name]).all()


def test_runs_of_one_problem_share_environment_and_baselines(tmp_path: Path) -> None:
    runs = [trained(tmp_path / "one"), trained(tmp_path / "two", validation_every=0)]
    built: list[ToyEnv] = []

    class Counting(ToyEnv):
        def __init__(self, config: Any, comm: Any = None) -> None:
            super().__init__(config, comm)
            built.append(self)

    rows = summary.evaluate_runs(runs, make_env=Counting)
    assert [env.episodes for env in built] == [4 * (3 + 2)]
    assert all(env.closed for env in built)
    assert [entry["run"] for entry in rows] == [str(run) for run in runs]
    for entry, run in zip(rows, runs, strict=True):
        assert json.loads(RunFolder(run).evaluation.read_text()) == entry
        assert entry == summary.evaluate_run(run, make_env=ToyEnv)
        assert entry["hand_made_cost"] != entry["uncontrolled_cost"]

    config = RunFolder(runs[0]).read_config()
    other = dataclasses.replace(
        config,
        env=dataclasses.replace(
            config.env, options=dataclasses.replace(config.env.options, beta=0.5)
        ),
    )
    loop.train(other, tmp_path / "other", make_env=ToyEnv, progress=False)
    built.clear()
    summary.evaluate_runs([runs[0], tmp_path / "other"], make_env=Counting)
    assert len(built) == 2


def test_without_validation_the_last_checkpoint_is_evaluated(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", validation_every=0)
    assert not RunFolder(run).best.exists()
    assert summary.evaluate_run(run, episodes=2, make_env=ToyEnv)["held_out"] == 2


def test_runs_of_other_problems_are_not_compared(tmp_path: Path) -> None:
    one, two = trained(tmp_path / "one"), tmp_path / "two"
    config = toy_config()
    other = dataclasses.replace(
        config,
        env=dataclasses.replace(
            config.env, options=dataclasses.replace(config.env.options, beta=0.5)
        ),
    )
    RunFolder(two).begin(other, resume=False, overwrite=False)
    with pytest.raises(ConfigError, match="are one run; name each run once"):
        summary.check_comparable([one, one])
    with pytest.raises(ConfigError, match="cannot stand in one table"):
        summary.check_comparable([one, two])


def with_share(entry: dict[str, Any], share: float) -> dict[str, Any]:
    return entry | {"recovered": share, "recovered_median": share + 0.01, "optima": 2}


def test_the_ratio_is_that_of_the_credit_which_serves_hypemarl_best() -> None:
    rows = [row("hypemarl", 0, 0.4, "local"), row("marl", 0, 0.6, "local")]
    rows += [row("hypemarl", 0, 0.2, "adjoint"), row("marl", 0, 0.5, "adjoint")]
    rows += [row("hypemarl", 0, 0.1, "apg"), row("marl", 0, 1.0, "apg")]
    assert flat_object(rows)["ratio_marl_over_hypemarl"] == pytest.approx(2.5)
    assert "ratio_marl_over_hypemarl" not in flat_object(rows[:1])


def test_recovered_shares_of_seeds_and_of_the_best() -> None:
    rows = [with_share(row("hypemarl", seed, 0.2, "adjoint"), 0.8 + 0.1 * seed) for seed in (0, 1)]
    rows.append(with_share(row("hypemarl", 0, 0.1, "apg"), 0.95))
    rows[0] |= {"optimum_cost": 0.05, "optimum_uncontrolled": 2.0, "held_out": 4}
    table = summarise(rows)
    assert table[-1]["name"] == "optimum (2 of 4)"
    adjoint = next(entry for entry in table if entry.get("credit") == "adjoint")
    assert adjoint["recovered"] == pytest.approx(0.85)
    assert adjoint["recovered_min"] == pytest.approx(0.8)
    assert {"recovered", "recovered_min"} <= set(table_columns(table))
    flat = flat_object(rows)
    assert flat["best_recovered"] == pytest.approx(0.95)
    assert flat["td3_recovered"] == pytest.approx(0.85)
