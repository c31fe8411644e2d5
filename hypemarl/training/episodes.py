"""Episodes of a policy, kept as training keeps them, for those who look at finished runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hypemarl.config import Config
from hypemarl.training.rollout import Policy, Rollout
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
        from hypemarl.agents.replay import Experience, Replay

        replay = Replay(env.agent_spec, len(parameters), config.env.control_steps, config.seed)
    costs = []
    for row in parameters:
        rollout, shares, steps, cost = Rollout(env, policy, row), [], [], 0.0
        first = np.array(rollout.episode.observations)  # an environment may reuse its arrays
        for _, actions, step in rollout:
            rewards, seen = np.array(step.rewards), np.array(step.observations)
            steps.append((np.array(actions), rewards, seen, step.terminated))
            if "local_costs" in step.info:
                shares.append(np.array(step.info["local_costs"]))
            cost += float(step.info["cost"])
        if replay is not None and steps:
            start = rollout.episode.mu, rollout.episode.targets, first
            shared = np.stack(shares) if shares else None
            replay.append(Experience.of_steps(*start, steps, costs=shared))
        costs.append(cost if rollout.failure is None else np.inf)
    return replay, float(np.mean(costs))
