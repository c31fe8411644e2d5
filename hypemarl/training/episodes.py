"""Episodes of a policy, kept as training keeps them, for those who look at finished runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hypemarl.config import Config
from hypemarl.training import evaluation
from hypemarl.training.evaluation import Array, Policy
from hypemarl.training.setup import spec_of

if TYPE_CHECKING:
    from hypemarl.agents.replay import Replay


def collect(
    env: Any, config: Config, policy: Policy, parameters: Array, *, keep: bool
) -> tuple[Replay | None, float]:
    """Episodes of the policy in a replay of their own, if ``keep``, and their mean cost.

    The replay has the agents' shares of the cost, where the environment tells them. Collective;
    ranks may differ in ``keep``.
    """
    replay = None
    if keep:
        from hypemarl.agents.replay import Replay

        replay = Replay(spec_of(env), len(parameters), config.env.control_steps, config.seed)
    costs = []
    for row in parameters:
        episode, done, cost = env.reset_arrays(row), False, 0.0
        if evaluation.failure_at_start(episode) is not None:
            costs.append(np.inf)
            continue
        observations, shares = episode.observations, []
        if replay is not None:
            replay.begin(episode.mu, episode.targets, observations)
        while not done:
            actions = policy(observations, episode.mu)
            step = env.step_arrays(actions)
            if evaluation.failure_of(step) is not None:
                cost = np.inf
                break
            if replay is not None:
                replay.add(actions, step.rewards, step.observations, step.terminated)
            if "local_costs" in step.info:
                shares.append(np.array(step.info["local_costs"]))
            cost += float(step.info["cost"])
            observations, done = step.observations, step.terminated or step.truncated
        if replay is not None:
            replay.end(costs=np.stack(shares) if shares else None)
        costs.append(cost)
    return replay, float(np.mean(costs))
