from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hypemarl import config as configuration
from hypemarl import envs
from hypemarl.envs import ArrayEnv
from hypemarl.optimal import open_loop
from hypemarl.optimal.open_loop import OpenLoop, differing, recovered_share, replay
from hypemarl.solvers.errors import SolverDiverged
from hypemarl.training import evaluation, shares

SMALL = ["env.mesh.element_size=0.05", "env.agents=[4]", "env.control_steps=4", "env.horizon=1.0"]
PARAMETERS = np.array([-0.25, 0.167])


@pytest.fixture(scope="module")
def env() -> Any:
    return envs.make(configuration.load("density-1d", SMALL).env)


@pytest.fixture
def loop(env: Any, tmp_path: Path) -> OpenLoop:
    return OpenLoop(env, tmp_path)


def test_a_search_ends_at_a_stationary_point_far_below_no_control(loop: OpenLoop) -> None:
    best = loop.solve(PARAMETERS, tolerance=1e-6)
    assert best.converged(1e-6)
    assert best.cost < 0.6 * best.uncontrolled
    assert best.uncontrolled == best.history[0, 0]
    assert best.history[0, 1] == pytest.approx(1.0)
    low, high = loop.plant.action_low, loop.plant.action_high
    assert (best.actions >= low).all()
    assert (best.actions <= high).all()
    generator = np.random.default_rng(0)
    for _ in range(5):  # a minimum: no small step in a random direction is better
        other = best.actions + 0.02 * generator.normal(size=best.actions.shape)
        assert loop.episode.cost(PARAMETERS, np.clip(other, low, high)) > best.cost


def test_bounds_are_kept_where_they_are_in_the_way(tmp_path: Path) -> None:
    tight = configuration.load("density-1d", [*SMALL, "env.density.u_max=0.05"]).env
    best = OpenLoop(envs.make(tight), tmp_path).solve(PARAMETERS)
    assert best.converged(1e-4)
    assert np.abs(best.actions).max() == 0.05


def test_a_known_optimum_is_not_searched_again(loop: OpenLoop) -> None:
    calls: list[int] = []
    first = loop.solve(PARAMETERS, progress=lambda count, cost, reduction: calls.append(count))
    assert len(calls) == first.evaluations > 5
    again = loop.solve(PARAMETERS, progress=lambda count, cost, reduction: calls.append(count))
    assert len(calls) == first.evaluations
    assert np.array_equal(again.actions, first.actions)
    better = loop.solve(PARAMETERS, tolerance=1e-7)
    assert better.cost <= first.cost
    assert better.reduction < first.reduction


def test_an_optimum_of_another_discretisation_does_not_count(loop: OpenLoop) -> None:
    best = loop.solve(PARAMETERS, tolerance=1e-2)
    path = loop.path(PARAMETERS)
    loop._save(replace(best, cost=best.cost * 1.01))
    assert path.exists()
    assert loop.load(PARAMETERS) is None


def test_a_damaged_optimum_is_told_of_and_searched_again(
    loop: OpenLoop, capsys: pytest.CaptureFixture[str]
) -> None:
    best = loop.solve(PARAMETERS, tolerance=1e-2)
    path = loop.path(PARAMETERS)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    for damaged in (bytes(content), b"nothing"):
        path.write_bytes(damaged)
        assert loop.load(PARAMETERS) is None
        assert loop.solve(PARAMETERS, tolerance=1e-2).cost == best.cost
        assert loop.load(PARAMETERS) is not None
    assert "not a stored optimum that is whole" in capsys.readouterr().err
    np.savez(path, **vars(best))  # as before checksums
    assert loop.load(PARAMETERS) is not None
    assert "optima from before checksums" in capsys.readouterr().err


def test_an_unwritable_cache_is_refused_before_the_search(env: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    loop = OpenLoop(env, tmp_path / "file" / "optima")
    loop.__dict__["episode"] = None  # any gradient would fail otherwise
    with pytest.raises(OSError, match="cannot be written .*set HYPEMARL_CACHE"):
        loop.solve(PARAMETERS)


def test_an_optimum_belongs_to_the_content_of_a_mesh_file(env: Any, tmp_path: Path) -> None:
    def path(name: str, content: str) -> Path:
        (tmp_path / name).write_text(content)
        loop = OpenLoop(env, tmp_path)
        mesh = replace(env.config.mesh, file=str(tmp_path / name))
        loop.env = SimpleNamespace(config=replace(env.config, mesh=mesh))  # type: ignore
        return loop.path(PARAMETERS)

    assert path("a.msh", "one") == path("b.msh", "one") != path("a.msh", "two")


def test_what_agents_see_makes_no_other_problem_but_weights_do(env: Any, tmp_path: Path) -> None:
    def path(options: Mapping[str, Any], **changes: Any) -> Path:
        options = replace(env.config.options, **options)
        changed = envs.make(replace(env.config, options=options, **changes))
        return OpenLoop(changed, tmp_path).path(PARAMETERS)

    own = OpenLoop(env, tmp_path).path(PARAMETERS)
    assert path({"observe_target": True}, observation_radius=0, reward="global") == own
    assert path({"beta": 0.03}) != own
    assert OpenLoop(env, tmp_path).path(PARAMETERS + 0.1) != own


def test_new_settings_at_their_defaults_leave_names_as_they_are() -> None:
    defaults = {"a": 1, "b": {"c": 0, "d": (3,)}, "new": 7}
    assert differing({"a": 1, "b": {"c": 2, "d": (3,)}, "new": 7}, defaults) == {"b": {"c": 2}}
    assert differing({"a": 5, "b": {"c": 0, "d": (3,)}}, {"a": 1, "b": {"c": 0, "d": (3,)}}) == {
        "a": 5
    }


def test_the_best_of_several_starts_is_kept(loop: OpenLoop) -> None:
    best = loop.solve(PARAMETERS)
    worse = loop.solve(PARAMETERS, starts=[np.zeros(loop.shape)], max_evaluations=3)
    assert worse.cost <= best.cost


def test_the_best_of_several_starts_is_followed(
    loop: OpenLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_loop, "SCREENING", 1)
    good = loop.solve(PARAMETERS, max_evaluations=20).actions
    loop.path(PARAMETERS).unlink()
    best = loop.solve(PARAMETERS, starts=[np.zeros(loop.shape), good, -good], max_evaluations=10)
    assert best.history[0, 0] <= loop.episode.cost(PARAMETERS, good)
    assert best.cost <= best.history[0, 0]


def test_a_step_that_diverges_is_shortened(loop: OpenLoop, monkeypatch: Any) -> None:
    gradient = type(loop.episode).gradient
    failures: list[int] = []

    def fragile(self: Any, parameters: np.ndarray, actions: np.ndarray) -> Any:
        if np.abs(actions).max() > 0.3:
            failures.append(1)
            raise SolverDiverged("too fast")
        return gradient(self, parameters, actions)

    monkeypatch.setattr(type(loop.episode), "gradient", fragile)
    best = loop.solve(PARAMETERS, max_evaluations=30)
    assert failures
    assert best.cost < best.uncontrolled


def test_replaying_the_optimum_costs_what_was_found(env: Any, loop: OpenLoop) -> None:
    best = loop.solve(PARAMETERS)
    result = evaluation.evaluate_policy(env, replay(best.actions), PARAMETERS[None])
    assert result.cost == pytest.approx(best.cost, rel=1e-12)


def test_recovered_share() -> None:
    assert recovered_share([1.0, 2.0], [2.0, 4.0], [1.0, 1.0]) == pytest.approx(0.75)
    with pytest.raises(ValueError, match="optimum below the uncontrolled cost"):
        recovered_share(1.0, 1.0, 1.0)


def test_known_optima_give_the_share_over_the_rows_they_cover(
    env: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("HYPEMARL_CACHE", str(tmp_path))
    rows = np.array([[-0.3, 0.2], PARAMETERS])
    assert shares.known_optima(env, rows).row() == {}
    best = OpenLoop(env).solve(PARAMETERS)
    known = shares.known_optima(env, rows)
    assert known.rows.tolist() == [1]
    assert known.row()["optimum_cost"] == best.cost
    nothing = evaluation.evaluate_policy(env, evaluation.uncontrolled(env), rows)
    assert known.recovered(nothing)["recovered"] == pytest.approx(0.0, abs=1e-12)


def test_no_optima_are_known_of_an_environment_without_a_plant() -> None:
    class Bare(ArrayEnv):
        pass

    assert shares.known_optima(Bare(), np.array([PARAMETERS])).row() == {}
