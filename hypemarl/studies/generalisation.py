"""Generalisation of a policy: the recovered share over mu, inside the training range and beyond."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from hypemarl import mpi
from hypemarl.envs import make
from hypemarl.envs.array_env import plant_of
from hypemarl.optimal.open_loop import OpenLoop, recovered_share
from hypemarl.training import evaluation
from hypemarl.training.records import RunFolder, write_json
from hypemarl.training.summary import trained_policy
from hypemarl.types import Row
from hypemarl.visualisation.charts import Axis, draw_share_maps

if TYPE_CHECKING:
    from hypemarl.envs.array_env import ArrayEnv


BEYOND = 0.2  # of the range, on each side
TOLERANCE = 1e-3  # changes J* by about 0.1%


def share_map(
    run_dirs: Sequence[Path], picture: Path, names: Sequence[str], *, size: int = 7
) -> Row:
    """Recovered share of each run over two parameters, the others in the middle of their range.

    Args:
        run_dirs: runs of one problem; picture: PNG to write, beside it the numbers as JSON;
        names: the two parameters; size: values per axis, the outermost ``BEYOND`` the range.

    Returns: names, values of both axes, cost of the optimum and without control, shares per run
        (size, size), and their means ``inside`` and ``outside`` the training range.
    Raises: ValueError where a name is unknown, or there twice. Serial.
    """
    if len(set(names)) != len(names):
        raise ValueError(f"expected two different parameters, got {' and '.join(names)}")
    config = RunFolder(run_dirs[0]).read_config()
    env = make(config.env)
    loop = OpenLoop(env)
    axes = [_axis(env, name, size) for name in names]
    middle = 0.5 * (env.parameter_low + env.parameter_high)
    grid = np.tile(middle, (size, size, 1))
    grid[..., axes[0].column] = axes[0].values[:, None]
    grid[..., axes[1].column] = axes[1].values[None, :]
    best, idle = np.zeros((size, size)), np.zeros((size, size))
    for index in tqdm(np.ndindex(size, size), total=size * size, desc="optima"):
        optimum = loop.solve(grid[index], tolerance=TOLERANCE)
        best[index], idle[index] = optimum.cost, optimum.uncontrolled
    shares = {str(run): _shares(run, env, grid, best, idle) for run in run_dirs}
    inside = np.logical_and.outer(
        *[(a.values >= a.low - 1e-12) & (a.values <= a.high + 1e-12) for a in axes]
    )
    result = {
        "names": list(names),
        "values": [a.values for a in axes],
        "range": [[a.low, a.high] for a in axes],
        "optimum": best,
        "uncontrolled": idle,
        "shares": shares,
        "inside": {run: float(share[inside].mean()) for run, share in shares.items()},
        "outside": {run: float(share[~inside].mean()) for run, share in shares.items()},
    }
    draw_share_maps(shares, axes, picture)
    write_json(picture.with_suffix(".json"), result)
    return result


def _axis(env: ArrayEnv, name: str, size: int) -> Axis:
    names = plant_of(env).parameter_names
    if name not in names:
        raise ValueError(f"parameter {name!r}: expected one of {', '.join(names)}")
    column = names.index(name)
    low, high = float(env.parameter_low[column]), float(env.parameter_high[column])
    margin = BEYOND * (high - low)
    return Axis(column, name, np.linspace(low - margin, high + margin, size), low, high)


def _shares(
    run: Path, env: ArrayEnv, grid: np.ndarray, best: np.ndarray, idle: np.ndarray
) -> np.ndarray:
    folder = RunFolder(run)
    policy, _ = trained_policy(folder, env, folder.read_config(), mpi.world())
    costs = evaluation.evaluate_policy(env, policy, grid.reshape(-1, grid.shape[-1])).costs
    costs = costs.reshape(best.shape)
    share = np.vectorize(recovered_share)
    return np.asarray(share(costs, idle, best))
