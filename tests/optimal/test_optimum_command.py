from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hypemarl
from hypemarl import cli, studies
from hypemarl.envs import make
from hypemarl.studies import generalisation, pipeline, results
from hypemarl.training import evaluation, optima
from hypemarl.training.jobs import Job
from hypemarl.training.records import RunFolder, read_trajectory
from hypemarl.training.yardsticks import clocked

SMALL = {
    "env.mesh.element_size": "0.1",
    "env.agents": "[4]",
    "env.control_steps": "4",
    "env.horizon": "1.0",
}
SET = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: Any) -> Path:
    monkeypatch.setenv("HYPEMARL_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_optima_are_reported_recorded_and_kept(tmp_path: Path, capsys: Any) -> None:
    file, run = tmp_path / "optimum.json", tmp_path / "run"
    given = ["optimum", "density-1d", *SET, "--index", "0", "2", "--quiet"]
    assert cli.main([*given, "--json", str(file), "--run", str(run)]) == 0
    first = json.loads(file.read_text())
    assert first["converged"]
    assert all(row["reduction"] <= 1e-4 for row in first["optima"])
    assert first["optimum_mean"] < first["uncontrolled_mean"]
    assert "J* =" in capsys.readouterr().out
    recorded = read_trajectory(run)
    assert recorded["scheme"] == "optimum"
    assert recorded["costs"].sum() == pytest.approx(first["optima"][0]["optimum"], rel=1e-10)
    assert cli.main([*given, "--json", str(file)]) == 0
    assert json.loads(file.read_text()) == first  # from disk: the times are the first search's


def test_a_search_cut_short_says_so(capsys: Any) -> None:
    given = ["optimum", "density-1d", *SET, "--mu", "-0.3", "0.3", "--quiet"]
    assert cli.main([*given, "--max-evaluations", "3"]) == 1
    assert "NO" in capsys.readouterr().out
    assert cli.main(given) == 0


#: one set of parameters is all there is
POINT = [
    entry
    for key, value in (("initial", -0.3), ("target", 0.3))
    for end in ("low", "high")
    for entry in ("--set", f"env.{key}_{end}=[{value}]")
]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--mu", "0.1"], "expected 2 numbers ('initial_x', 'target_x')"),
        (["--index", "1", *POINT], "--index: expected 0 to 0, got [1]"),
    ],
)
def test_wrong_parameters_are_named(extra: list[str], message: str, capsys: Any) -> None:
    assert cli.main(["optimum", "density-1d", *SET, *extra]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture(scope="module")
def trained(tmp_path_factory: Any) -> Path:
    run = tmp_path_factory.mktemp("runs") / "apg"
    short = ["--episodes", "8", "--set", "agent.hyper_width=8", "--set", "agent.encoding_size=4"]
    quick = ["--set", "training.validation_every=4", "--set", "training.validation_size=2"]
    quick += ["--set", "training.random_episodes=1", "--set", "training.held_out_size=3"]
    given = ["train", "density-1d", "--train", "apg", *SET, *short, *quick, "--run", str(run)]
    assert cli.main([*given, "--quiet"]) == 0
    return run


def test_evaluate_reports_the_recovered_share(trained: Path, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "result.json"
    assert cli.main(["evaluate", str(trained), "--json", str(file)]) == 0
    assert "recovered" not in json.loads(file.read_text())
    assert cli.main(["optimum", "density-1d", *SET, "--held-out", "2", "--quiet"]) == 0
    capsys.readouterr()
    assert cli.main(["evaluate", str(trained), "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert found["optima"] == 2
    assert found["uncontrolled_recovered"] == pytest.approx(0.0, abs=1e-12)
    assert found["recovered"] == found["best_recovered"] < 1.0
    out = capsys.readouterr().out
    assert "optimum (2 of 3)" in out
    assert "hypemarl (apg)" in out


def test_optima_of_a_table_are_found_side_by_side(trained: Path, cache: Path) -> None:
    config = RunFolder(trained).read_config()
    optima.find_held_out(config, 3, 2, progress=False)
    stored = sorted((cache / "cache" / "optima").glob("optimum-*.npz"))
    assert len(stored) == 3


def test_the_last_checkpoint_stands_beside_the_best(trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    assert cli.main(["evaluate", str(trained), "--json", str(file)]) == 0
    assert "hypemarl_last_cost" not in json.loads(file.read_text())
    assert cli.main(["evaluate", str(trained), "--last", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert found["hypemarl_last_cost"] > 0
    assert found["hypemarl_diverged"] == 0


def test_policies_and_optima_load_to_the_tables_numbers(trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    export = ["--held-out", "2", "--several", "--export", str(tmp_path / "optima.npz")]
    assert cli.main(["optimum", "density-1d", *SET, *export, "--quiet"]) == 0
    assert cli.main(["evaluate", str(trained), "--json", str(file)]) == 0
    assert cli.main(["export", str(trained), "--output", str(tmp_path / "policies")]) == 0
    found = json.loads(file.read_text())
    env = make(RunFolder(trained).read_config().env)
    held_out = evaluation.fixed_set(env, 3, "held-out")
    (policy,) = map(hypemarl.load_policy, (tmp_path / "policies").glob("*.npz"))
    cost = evaluation.evaluate_policy(env, clocked(policy, env), held_out).cost
    assert cost == found["cost"]  # to the last bit
    best = clocked(hypemarl.load_policy(tmp_path / "optima.npz"), env)
    cost = evaluation.evaluate_policy(env, best, held_out[:2]).cost
    assert cost == pytest.approx(found["optimum_cost"], rel=1e-12)


def test_the_map_covers_the_range_and_beyond(trained: Path, tmp_path: Path) -> None:
    picture = tmp_path / "map.png"
    found = generalisation.share_map([trained], picture, ["initial_x", "target_x"], size=3)
    assert found["values"][0] == pytest.approx([-0.6, -0.25, 0.1])
    share = found["shares"][str(trained)]
    assert found["inside"][str(trained)] == pytest.approx(share[1, 1])
    assert (found["optimum"] < found["uncontrolled"]).all()
    assert picture.stat().st_size > 5_000
    assert json.loads(picture.with_suffix(".json").read_text())["names"] == found["names"]
    with pytest.raises(ValueError, match="expected one of initial_x, target_x"):
        generalisation.share_map([trained], picture, ["initial_x", "nothing"], size=3)
    with pytest.raises(ValueError, match="expected two different parameters, got target_x and"):
        generalisation.share_map([trained], picture, ["target_x", "target_x"], size=3)


def test_validation_costs_of_runs_as_a_small_file(trained: Path) -> None:
    job = Job(RunFolder(trained).read_config(), trained)
    lines = pipeline.validation_costs([job.run_dir]).splitlines()
    assert lines[0] == "run,scheme,credit,method,seed,episode,seconds,cost"
    assert len(lines) == 3
    assert lines[1].split(",")[1:6] == ["hypemarl", "cooperative", "apg", "0", "4"]


def test_entries_of_the_tables_are_valid_configurations() -> None:
    for table in results.TABLES.values():
        for scenario, study in table.items():
            seeds = range(study.seeds)
            jobs = pipeline.jobs_of(scenario, study.entries(scenario), seeds, Path("runs"))
            assert len({job.run_dir for job in jobs}) == len(jobs)
            assert study.optima <= jobs[0].config.training.held_out_size
            assert all(job.config.scenario == scenario for job in jobs)


def test_shares_below_zero_are_kept() -> None:
    share = np.vectorize(generalisation.recovered_share)(np.array([3.0]), np.array([2.0]), 1.0)
    assert share.tolist() == [-1.0]


@pytest.mark.slow
def test_a_table_from_nothing_and_again(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    settings = dict(SMALL.items())
    settings |= {"training.random_episodes": "1", "training.validation_size": "2"}
    settings |= {"agent.hyper_width": "8", "agent.encoding_size": "4"}
    overrides = tuple(f"{key}={value}" for key, value in settings.items())
    short = ("training.validation_every=4", "training.episodes=8", "training.held_out_size=3")
    apg = pipeline.Entry("apg", (*overrides, *short, "training.algorithm=apg"))
    tiny = results._table("tiny", "density-1d", [apg], 1, 2, yardsticks=4)
    monkeypatch.setitem(results.TABLES, "tiny", tiny)
    monkeypatch.setattr(studies, "TABLES", (*studies.TABLES, "tiny"))
    given = ["results", "tiny", "--jobs", "2", "--output", str(tmp_path / "out"), "--quiet"]
    assert cli.main(given) == 0
    found = json.loads((tmp_path / "out" / "tiny.json").read_text())["density-1d"]
    assert found["optima"] == 2
    values = {(r["policy"], r["seed"]): r["value"] for r in found["rows"] if r["metric"] == "cost"}
    assert values["hypemarl (apg)", 0] == pytest.approx(found["hypemarl_cost_mean"])
    assert values["uncontrolled", None] == found["uncontrolled_cost"]
    text = (tmp_path / "out" / "tiny-density-1d-table.md").read_text()
    assert all(part in text for part in ("optimum (2 of 3)", "schedule_mu", "last checkpoint"))
    share = found["hypemarl_recovered"] - found["schedule_mu_recovered"]
    assert found["worth_of_feedback"] == pytest.approx(share)
    assert "worth of feedback" in text
    assert (tmp_path / "images" / "tiny-density-1d-curves.png").exists()
    metrics = (tmp_path / "out" / "metrics" / "tiny-density-1d.csv").read_text()
    assert metrics.count("apg,hypemarl") == 2
    capsys.readouterr()
    assert cli.main([*given, "--finished-only"]) == 0  # nothing is trained again
    assert "optimum (2 of 3)" in capsys.readouterr().out
