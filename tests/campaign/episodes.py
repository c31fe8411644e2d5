"""Bang-bang actions by the hundred in every scenario of a PDE, with costs, mass and memory."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from . import trials
from .plan import Scale, Task
from .report import Result
from .tiny import Work

KIND = "bang-bang episodes"
WARM_UP = 0.3  # share of the episodes after which memory has to be flat
FILLED = 42  # of flows: episodes that fill their bounded stores of the flows used last
SLOPE = 0.01  # MiB an episode; a leak of a mesh or a field is far larger
MASS = 1e-9
SECONDS = 900.0
PAGE = os.sysconf("SC_PAGE_SIZE") / 2**20


def scenarios() -> dict[str, bool]:
    """Every shipped scenario of a PDE, and whether its episodes are dear."""
    from hypemarl import config

    systems = {name: config.load(name).env.system for name in config.scenarios()}
    return {name: s in ("flow", "shape") for name, s in systems.items() if s != "external"}


def tasks(work: Work, scale: Scale, rng: random.Random) -> Iterator[Task]:
    """One task a scenario, the dear ones first."""
    for name, dear in sorted(scenarios().items(), key=lambda item: not item[1]):
        count = scale.flow_episodes if dear else scale.cheap_episodes
        yield Task(KIND, name, partial(bang_bang, count=count, seed=rng.randrange(2**32)), count)


def bang_bang(work: Work, trial: str, *, count: int, seed: int) -> list[Result]:
    """Episodes of one scenario in a process of their own."""
    folder = work.trial(trial)
    # developed states are dear, and what is cached of them is not the subject here
    cache = Path(os.environ.get("HYPEMARL_CAMPAIGN_CACHE", folder / "cache"))

    def inside() -> int:
        os.environ["HYPEMARL_CACHE"] = str(cache)
        print("result", json.dumps(_episodes(trial, count, seed)))
        return 0

    outcome = trials.fork(inside, folder, limit=SECONDS)
    line = next((t for t in outcome.text.splitlines() if t.startswith("result ")), None)
    if line is None:
        return [Result(KIND, trial, outcome.verdict() or "traceback", outcome.brief())]
    found = json.loads(line[7:])
    results = [Result(KIND, trial, verdict, detail) for verdict, detail in found["episodes"]]
    words = "{scenario}: {count} episodes, {slope:+.4f} MiB an episode, {size:.0f} MiB".format(
        **found
    )
    return [*results, Result("memory of a scenario", trial, found["memory"], words)]


def _episodes(scenario: str, count: int, seed: int) -> dict[str, Any]:
    from hypemarl import config, envs

    env = envs.make(config.load(scenario).env)
    generator, found, sizes = np.random.default_rng(seed), [], []
    for _ in range(count):
        found.append(_episode(env, generator))
        sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * PAGE)
    late = np.array(sizes[max(int(WARM_UP * count), FILLED if scenarios()[scenario] else 0) :])
    slope = growth(late)
    leaks = slope > SLOPE and len(late) >= 12
    return {
        "scenario": scenario,
        "count": count,
        "episodes": found,
        "slope": slope,
        "size": float(late[-1]),
        "memory": "memory" if leaks else "flat",
    }


def growth(sizes: np.ndarray) -> float:
    """Median slope over all pairs at least a third of the series apart (after Theil and Sen)."""
    apart = max(1, len(sizes) // 3)
    slopes = [(sizes[k:] - sizes[:-k]) / k for k in range(apart, len(sizes))]
    return float(np.median(np.concatenate(slopes))) if slopes else 0.0


def _episode(env: Any, generator: np.random.Generator) -> tuple[str, str]:
    """The verdict on one episode: sound, ended with a reason, or a fault."""
    episode = env.reset_arrays(env.sample_parameters(generator))
    before, done, costs = _mass(env), False, []
    while not done:
        up = generator.random((env.n_agents, env.action_size)) < 0.5
        step = env.step_arrays(np.where(up, env.action_high, env.action_low))
        if "failure" in step.info:
            return "ended with a reason", str(step.info["failure"])
        costs.append(float(step.info["cost"]))
        if not (np.isfinite(costs[-1]) and np.isfinite(step.observations).all()):
            return "silent", f"at mu {episode.mu}: cost {costs[-1]}"
        done = step.terminated or step.truncated
    error = abs(_mass(env) - before)
    if error > MASS:
        return "silent", f"at mu {episode.mu}: the mass changed by {error:.1e}"
    return "sound", ""


def _mass(env: Any) -> float:
    """Integral of a linear density; 0 where there is none."""
    frame = env.record()
    if "density" not in frame:
        return 0.0
    corners = frame["points"][frame["cells"]]
    edges = corners[:, 1:] - corners[:, :1]
    sizes = np.abs(np.linalg.det(edges)) / (1 if edges.shape[1] == 1 else 2)
    return float(sizes @ frame["density"][frame["cells"]].mean(axis=1))


def notes(results: list[Result]) -> list[str]:
    """Memory of each scenario, in words."""
    return [result.detail for result in results if result.kind == "memory of a scenario"]
