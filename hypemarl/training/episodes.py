"""Episodes of a policy, kept as training keeps them, for those who look at finished runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hypemarl.config import Config
from hypemarl.training.rollout import Policy, Rollout
from hypemarl.training.setup import spec_of
from hypemarl.types import Array

if TYPE_CHECKING:
    from hypemarl.agents.replay import Replay
    from hypemarl.envs.array_env import ArrayEnv


def collect(
    env: ArrayEnv, config: Config, policy: Policy, parameters: Array, *, keep: bool
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
        rollout, shares = Rollout(env, policy, row), []
        cost, started = 0.0, rollout.failure is None
        if replay is not None and started:
            replay.begin(rollout.episode.mu, rollout.episode.targets, rollout.episode.observations)
        for _, actions, step in rollout:
            if replay is not None:
                replay.add(actions, step.rewards, step.observations, step.terminated)
            if "local_costs" in step.info:
                shares.append(np.array(step.info["local_costs"]))
            cost += float(step.info["cost"])
        if replay is not None and started:
            replay.end(costs=np.stack(shares) if shares else None)
        costs.append(cost if rollout.failure is None else np.inf)
    return replay, float(np.mean(costs))
