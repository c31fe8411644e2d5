"""Errors of the surrogate of a finished run, near its policy's episodes and elsewhere.

On held-out parameters, none of which it was fitted to. Imagination stays near the policy's
episodes; those of the baselines (nothing, a push made by hand, white random
actions) are off its distribution, and show how far the surrogate generalises.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypemarl import mpi
from hypemarl.algorithms.model_based import SurrogateOptions
from hypemarl.config import Config, ConfigError
from hypemarl.coupling.local_model import LocalModel, require_local_model
from hypemarl.envs.array_env import plant_of
from hypemarl.mpi import Comm
from hypemarl.training import checkpoint, evaluation
from hypemarl.training.episodes import collect
from hypemarl.training.learner import algorithm_of
from hypemarl.training.records import RunFolder
from hypemarl.training.setup import MakeEnv, default_make_env
from hypemarl.training.summary import best_checkpoint, trained_policy
from hypemarl.types import Row

if TYPE_CHECKING:
    from hypemarl.agents.replay import Replay
    from hypemarl.algorithms.model_based.world_model import WorldModel
    from hypemarl.envs.array_env import ArrayEnv


def surrogate_errors(
    run_dir: str | Path,
    *,
    episodes: int = 4,
    comm: Comm | None = None,
    make_env: MakeEnv = default_make_env,
) -> dict[str, Row]:
    """Errors of the surrogate in the best checkpoint, by the policy whose episodes it predicts.

    Policies: ``policy``, that of the run, and the names of :data:`evaluation.BASELINES`. Of each,
    as in :meth:`~hypemarl.algorithms.model_based.world_model.WorldModel.errors`: surrogate_error
    (one step), surrogate_rollout_error (a whole episode), surrogate_cost_error, and ``by_step``, a
    list of errors of the rolled out model after every step. A policy whose every episode failed is
    not there. Collective; every rank gets them.

    Raises:
        ConfigError: the run learned in no surrogate. CheckpointError: it does not load.
    """
    comm = mpi.world() if comm is None else comm
    folder = RunFolder(run_dir)
    config = folder.read_config()
    if config.training.algorithm not in ("mbpg", "dyna"):
        raise ConfigError(
            f"{folder.path} learned by {config.training.algorithm}, which has no surrogate: name a "
            "run by mbpg or dyna"
        )
    env = make_env(config.env, comm=comm)
    try:
        parameters = evaluation.fixed_set(env, episodes, "held-out")
        trained, _ = trained_policy(folder, env, config, comm)
        baselines = {name: make(env) for name, make in evaluation.BASELINES.items()}
        local = require_local_model(plant_of(env))
        make_model = partial(_world_model, folder, config, env, local)
        errors: dict[str, Row] = {}
        for name, policy in ({"policy": trained} | baselines).items():
            replay, _ = collect(env, config, policy, parameters, keep=comm.rank == 0)
            errors[name] = mpi.on_root(comm, partial(_errors, make_model, replay))
        return {name: numbers for name, numbers in errors.items() if numbers}
    finally:
        env.close()


def flat_errors(run_dir: str | Path, **options: Any) -> dict[str, float]:
    """Numbers of :func:`surrogate_errors` as ``<policy>_<error>``. Collective."""
    return {
        f"{policy}_{name}": value
        for policy, numbers in surrogate_errors(run_dir, **options).items()
        for name, value in numbers.items()
        if name != "by_step"
    }


def _errors(make_model: Callable[[], WorldModel], replay: Replay | None) -> Row:
    """Errors on all episodes of the replay; none where it holds none. Local, on rank 0."""
    if not replay:
        return {}
    model, rows = make_model(), replay.latest_slots(len(replay))
    return model.errors(replay, rows) | {"by_step": model.rolled_out(replay, rows)[0].tolist()}


def _world_model(folder: RunFolder, config: Config, env: ArrayEnv, local: LocalModel) -> WorldModel:
    """The surrogate of the best checkpoint, on the CPU."""
    import torch

    from hypemarl.algorithms.model_based.world_model import WorldModel

    file, stored = best_checkpoint(folder)
    options: SurrogateOptions = config.agent.of(algorithm_of(config).options)
    model = WorldModel(local, env.agent_spec, options, config.seed, torch.device("cpu"))
    state = checkpoint.entry(file, stored, "agent", "model")
    checkpoint.restore(file, {"surrogate": (model.load_state_dict, state)})
    return model
