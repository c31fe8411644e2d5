"""The gradient of an episode's cost beside the forward run that it belongs to."""

from statistics import median

import numpy as np

from hypemarl import config as configuration
from hypemarl import envs, seeding
from hypemarl.bench.timing import times_ms
from hypemarl.coupling.adjoint import require_adjoint
from hypemarl.envs.array_env import plant_of
from hypemarl.optimal.trajectory import EpisodeAdjoint
from hypemarl.verification.adjoint import SCENARIOS

REPEATS = {"density-1d": 9, "density-vacuum": 7, "density-fluid": 7}


def adjoint(scenarios: tuple[str, ...] = SCENARIOS) -> dict[str, float]:
    """Per scenario the time of J and dJ/da (``..._ms``) and its ``..._ratio`` to J alone.

    Whole episodes at moderate random actions; ratios are medians over pairs that are run in turn,
    so that other load on the machine meets both alike.
    """
    result: dict[str, float] = {}
    for name in scenarios:
        env = envs.make(configuration.load(name).env)
        episode = EpisodeAdjoint(require_adjoint(plant_of(env)))
        generator = seeding.numpy_generator(0, "bench")
        parameters = env.sample_parameters(generator)
        shape = (env.control_steps, env.n_agents, env.action_size)
        actions = 0.3 * env.action_high * generator.uniform(-1.0, 1.0, shape)
        pairs = np.array([_pair(episode, parameters, actions) for _ in range(REPEATS.get(name, 2))])
        result[f"{name}_ms"] = median(pairs[:, 1].tolist())
        result[f"{name}_ratio"] = median((pairs[:, 1] / pairs[:, 0]).tolist())
    return result


def _pair(
    episode: EpisodeAdjoint, parameters: np.ndarray, actions: np.ndarray
) -> tuple[float, float]:
    (forward,) = times_ms(lambda: episode.cost(parameters, actions), 1)
    (gradient,) = times_ms(lambda: episode.gradient(parameters, actions), 1)
    return forward, gradient
