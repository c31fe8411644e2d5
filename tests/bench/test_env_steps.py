from __future__ import annotations

import json
from pathlib import Path

import pytest

from hypemarl.bench import env_steps


def test_random_actions_step_an_environment() -> None:
    assert env_steps.collect("density-1d", seconds=0.05) > 20.0


def test_environments_that_are_no_pde_are_left_to_another_bench(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def launch(groups: int, module: str, what: str, name: str) -> dict[str, float]:
        asked.append(name)
        return {"steps_per_second": float(groups)}

    monkeypatch.setattr(env_steps, "launch", launch)
    assert env_steps.run()["density_1d_ratio"] == 2.0
    assert not {"external", "vmas-dispersion", "humanoid"} & set(asked)


def test_the_rate_of_training_leaves_its_start_out(tmp_path: Path) -> None:
    """Two random episodes and two to warm up in 90 s, then 80 steps in 8 s."""
    ended = [(20 * k, 10.0) for k in range(1, 4)] + [(80, 90.0), (100, 93.0), (120, 96.0)]
    ended += [(130, 97.0), (160, 98.0)]
    lines = [
        {"kind": "failure" if k == 6 else "episode", "episode": k + 1, "step": s, "seconds": t}
        for k, (s, t) in enumerate(ended)
    ]
    lines.append({"kind": "update", "episode": 8, "step": 160, "seconds": 99.0})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text)
    assert env_steps._rate(str(tmp_path)) == 10.0


@pytest.mark.mpi
@pytest.mark.slow
def test_two_groups_are_launched_and_a_failure_is_told() -> None:
    module = "hypemarl.bench.env_steps"
    assert env_steps.launch(2, module, "collect", "density-1d")["steps_per_second"] > 0.0
    with pytest.raises(RuntimeError, match="density-9d failed.*no scenario or file"):
        env_steps.launch(2, module, "collect", "density-9d")
