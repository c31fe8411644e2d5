"""Pictures of finished runs: curves, film and stills, policies over positions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hypemarl import mpi
from hypemarl.agents.schemes import variant
from hypemarl.config import ConfigError
from hypemarl.config.external import external_of
from hypemarl.coupling.plant import Plant
from hypemarl.envs.array_env import ArrayEnv, plant_of
from hypemarl.mpi import Comm
from hypemarl.training import evaluation
from hypemarl.training.episodes import Rollout
from hypemarl.training.evaluation import Array, Policy
from hypemarl.training.learner import Agent, label
from hypemarl.training.records import RunFolder, read_trajectory
from hypemarl.training.setup import default_make_env
from hypemarl.training.summary import trained_policy

SHARED_OBSERVATIONS = 24


def draw_curves(run_dirs: Sequence[str | Path], path: str | Path) -> Path | None:
    """Validation cost over episodes; seeds of one scheme and credit (or algorithm) become a band.

    None, and no picture, where no run has a finite validation cost.
    """
    from hypemarl.visualisation.curves import draw_curves as draw

    configs = [RunFolder(run_dir).read_config() for run_dir in run_dirs]
    schemes, learners = [variant(config.agent) for config in configs], [label(c) for c in configs]
    alike = len(set(learners)) == 1
    labels = [s if alike else f"{s} ({name})" for s, name in zip(schemes, learners, strict=True)]
    return draw(run_dirs, labels, path)


def draw_run(run_dir: str | Path, *, index: int | None = None, film: bool = True) -> list[Path]:
    """Film, stills and policy map of a run's best policy, into its folder. Collective.

    The episode is the one recorded in the folder; where there is none, or with an ``index`` into
    the held-out set, it is recorded first (index 0 by default). A flow is also recorded and drawn
    without control, with drag and lift over time. Returns the paths, on rank 0.
    """
    from hypemarl.visualisation.fields import render

    comm = mpi.world()
    folder = RunFolder(run_dir)
    written: list[Path] = []
    maps: list[Path] = []
    if index is not None or not folder.trajectory.exists() or folder.last.exists():
        maps = _replay(folder, index, comm)
    with mpi.raise_together(comm):
        if comm.rank == 0:
            bare = folder.uncontrolled
            reference = read_trajectory(bare) if bare.exists() else None
            recorded = read_trajectory(folder.path)
            written = render(recorded, folder.path, film=film, reference=reference) + maps
    return written


def _replay(folder: RunFolder, index: int | None, comm: Comm) -> list[Path]:
    """Record an episode where one is due, and draw the policy map of the trained agents."""
    config = folder.read_config()
    if (external := external_of(config.env)) is not None:
        raise ConfigError(
            f"{folder.path} is a run of an external environment, {external.source}, "
            "which has no fields to draw; `hypemarl compare` draws its training curve"
        )
    env = default_make_env(config.env, comm=comm)
    try:
        policy, agent = trained_policy(folder, env, config, comm)
        plant = plant_of(env)
        beside = plant.shown_uncontrolled
        due = index is not None or not folder.trajectory.exists()
        due = due or (beside and not folder.uncontrolled.exists())
        if comm.bcast(due, root=0):
            record, parameters = evaluation.record_trajectory, _held_out(env, index or 0)
            record(env, policy, parameters, folder.trajectory, config.agent.scheme)
            if beside:
                nothing = evaluation.uncontrolled(env)
                record(env, nothing, parameters, folder.uncontrolled, "uncontrolled")
        return _draw_policies(folder, env, plant, policy, agent)
    finally:
        env.close()


def _held_out(env: ArrayEnv, index: int) -> Array:
    """Parameters ``index`` of the held-out set; a box that is a point has only index 0."""
    held = evaluation.parameter_set(env.parameter_low, env.parameter_high, index + 1, "held-out")
    if index >= len(held):
        raise ValueError(f"index {index}: this problem has one set of parameters, take index 0")
    return held[index]


def _draw_policies(
    folder: RunFolder, env: ArrayEnv, plant: Plant, policy: Policy, agent: Agent | None
) -> list[Path]:
    """Encodings, generated weights and responses of the agents. Collective, drawn on rank 0."""
    middle = 0.5 * (np.asarray(env.parameter_low) + np.asarray(env.parameter_high))
    observations, mu = _visited(env, policy, middle)
    from hypemarl.agents.policy import PolicyAgent

    if not isinstance(agent, PolicyAgent):
        return []
    from hypemarl.visualisation.policy_map import draw_policy_map

    shared = _spread(observations, SHARED_OBSERVATIONS)
    answers = [agent.act(np.tile(row, (env.n_agents, 1)), mu)[:, 0] for row in shared]
    name, size = plant.action_label, plant.action_size
    rows = (np.asarray(env.positions), agent.encodings(), agent.policy_weights(mu))
    path = draw_policy_map(
        *(*rows, np.stack(answers, axis=1), folder.path / "policy_map.png"),
        action_label=name if size == 1 else f"{name} (first of {size} components)",
        angles=plant.angles,
    )
    return [path]


def _visited(env: ArrayEnv, policy: Policy, parameters: Array) -> tuple[Array, Array]:
    """All agents' observations (steps * n, k) of an episode, and its mu. Collective."""
    rollout = Rollout(env, policy, parameters)
    seen = [rollout.episode.observations, *(i.step.observations for i in rollout)]
    return np.concatenate(seen), rollout.episode.mu


def _spread(rows: Array, count: int) -> Array:
    """``count`` of the rows, evenly spaced when they are ordered by their norms."""
    order = np.argsort(np.linalg.norm(rows, axis=1), kind="stable")
    return rows[order[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]]
