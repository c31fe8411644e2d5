"""Agents that move while they act: the cost over the speed of their motion.

HypeMARL's agents stand still (a limit of arXiv:2509.16709). Here every agent goes straight on from
its place, in a direction of its own, and is reflected at the domain's boundary. The patches, which
sense and act, stay where they are, and each is served by one agent at a time: whenever a control
interval begins, they are matched so that the squared distances are least in sum. An agent answers
for its patch by the policy of

- the place where it is (``moved``): its code is computed anew for every interval, which the
  encoding of positions allows and codes of identities do not;
- the place where it started, as the paper has it.

Policies are those of finished runs, trained with agents at rest; nothing is learned here. MARL,
whose agents are all alike, does not notice motion: what it costs is the bound beyond which places
that are out of date are worth less than none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from hypemarl import mpi
from hypemarl.agents.policy import PolicyAgent
from hypemarl.config import ConfigError
from hypemarl.envs import make
from hypemarl.seeding import numpy_generator
from hypemarl.studies import encoding
from hypemarl.studies.pipeline import Group, Study
from hypemarl.training import evaluation
from hypemarl.training.evaluation import Array
from hypemarl.training.records import RunFolder
from hypemarl.training.summary import trained_policy
from hypemarl.types import Row
from hypemarl.visualisation.charts import draw_speeds

if TYPE_CHECKING:
    from hypemarl.envs.array_env import ArrayEnv


SPEEDS = (0.0, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Lengths per time, both in units of the equations."""
REFERENCE = "none"
MOVED = ", told where it is"


def fails_at(by_speed: Sequence[Sequence[float]], bound: float) -> float | None:
    """The lowest speed whose mean cost is above ``bound``."""
    return min((float(speed) for speed, mean, *_ in by_speed if mean > bound), default=None)


def failures(rows: Sequence[Row], scenario: str) -> Row:
    """Where the reference is among the rows, adds ``fails_at`` to all others."""
    bound = [row["by_speed"][0][1] for row in rows if row["name"] == REFERENCE]
    for row in rows:
        if bound and row["name"] != REFERENCE:
            row["fails_at"] = fails_at(row["by_speed"], bound[0])
    return {}


def measure(group: Group) -> list[Row]:
    """One row, or with codes of places one more where they follow the agents.

    Keys: name, seeds, ``cost_at_<speed>`` (mean over seeds and held-out set),
    ``median_at_<speed>`` (over the set, mean over seeds), and by_speed (S, 4: speed, mean, min, max
    over seeds). Raises ConfigError where agents of the scenario stand on no grid.
    """
    placed = "agent.encoder=sinusoidal" in group.entry.overrides
    rows = []
    for moved in (False, True) if placed else (False,):
        # (seeds, S, E)
        values = np.array([costs_of(run, SPEEDS, moved=moved) for run in group.runs])
        costs, medians = values.mean(axis=2), np.median(values, axis=2).mean(axis=0)
        bands = (SPEEDS, costs.mean(axis=0), costs.min(axis=0), costs.max(axis=0))
        table = np.stack(bands, axis=1)
        row: Row = {"name": group.entry.name + (MOVED if moved else ""), "seeds": len(group.runs)}
        row |= {f"cost_at_{speed:g}": float(mean) for speed, mean, *_ in table}
        row |= {f"median_at_{v:g}": float(m) for v, m in zip(SPEEDS, medians, strict=True)}
        rows.append(row | {"by_speed": table.tolist()})
    return rows


def costs_of(run: Path, speeds: Sequence[float], *, moved: bool) -> Array:
    """Costs (S, E) of a run's policy at every speed, over the held-out set. Serial."""
    folder = RunFolder(run)
    config = folder.read_config()
    env = make(config.env)
    try:
        if env.grid is None or len(env.grid) != env.positions.shape[1]:
            raise ConfigError(
                f"moving-agents needs agents on a grid over the domain; {config.scenario} has none"
            )
        _, agent = trained_policy(folder, env, config, mpi.world())
        assert isinstance(agent, PolicyAgent)  # serial
        parameters = evaluation.fixed_set(env, config.training.held_out_size, "held-out")
        return np.array([_costs(env, agent, parameters, speed, moved=moved) for speed in speeds])
    finally:
        env.close()


def _costs(
    env: ArrayEnv, agent: PolicyAgent, parameters: Array, speed: float, *, moved: bool
) -> list[float]:
    costs = []
    for index, row in enumerate(parameters):
        motion = Motion(env, speed, index)
        policy = MovingPolicy(agent, motion, env.positions, moved=moved)
        costs.append(evaluation.evaluate_policy(env, policy, row[None]).cost)
    return costs


class Motion:
    """Straight motion of n agents in a box around their grid, reflected at its sides.

    ``episode`` decides the directions, which are the same at every speed and for every policy.
    """

    def __init__(self, env: ArrayEnv, speed: float, episode: int) -> None:
        self.start = np.array(env.positions)
        self.interval = env.config.control_interval
        self.low = self.start.min(axis=0) - 0.5 * env.spacing
        self.width = self.start.max(axis=0) + 0.5 * env.spacing - self.low
        directions = numpy_generator(episode, "motion").standard_normal(self.start.shape)
        self.velocity = speed * directions / np.linalg.norm(directions, axis=1, keepdims=True)

    def at(self, step: int) -> Array:
        """(n, gdim) where the agents are when control interval ``step`` begins."""
        way = (self.start + step * self.interval * self.velocity - self.low) / self.width
        folded = np.abs((way + 1.0) % 2.0 - 1.0)
        return np.asarray(self.low + folded * self.width)


class MovingPolicy:
    """The policies of agents that move, for one episode: each answers for the patch it is at."""

    def __init__(self, agent: PolicyAgent, motion: Motion, patches: Array, *, moved: bool) -> None:
        self.agent, self.motion, self.patches, self.moved = agent, motion, patches, moved
        self.step = 0

    def __call__(self, observations: Array, mu: Array) -> Array:
        """Actions (n, m) of the patches from their observations (n, k) and mu (n_mu,)."""
        places = self.motion.at(self.step)
        self.step += 1
        patch = serving(places, self.patches)
        if self.moved:
            self.agent.move_to(places)
        actions = self.agent.act(observations[patch], mu)
        placed = np.empty_like(actions)
        placed[patch] = actions
        return placed


def serving(places: Array, patches: Array) -> Array:
    """(n,) the patch of each agent: one each, with the least sum of squared distances."""
    squares = ((places[:, None] - patches[None]) ** 2).sum(axis=2)
    return np.asarray(linear_sum_assignment(squares)[1])


STUDY = Study(
    "moving-agents",
    "density-1d",
    lambda _: encoding.ENTRIES,
    {
        "name": "encoder",
        "seeds": "seeds",
        **{f"cost_at_{speed:g}": f"J at {speed:g}" for speed in SPEEDS},
        "fails_at": "worse than MARL at",
    },
    measure,
    failures,
    draw=lambda rows, _, path: draw_speeds(rows, path),
    runs="runs/encoding",
    evaluates=False,
)
