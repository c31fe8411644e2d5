"""Several environments at once: groups of ranks, and rounds of one episode in each of them.

``N`` ranks make ``G = N / R`` groups, and each runs one environment on its ``R`` ranks. The first
rank of all is the only learner. A round is one episode in each group, in lockstep of control steps:
the learner decides the actions of all, the groups step side by side, what they saw goes back to the
learner. What is learned depends on the order of the groups, never on which of them was quicker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hypemarl import mpi
from hypemarl.training import evaluation
from hypemarl.training.evaluation import Array, Policy
from hypemarl.training.progress import Result
from hypemarl.types import Comm

if TYPE_CHECKING:
    from hypemarl.agents.replay import Replay
    from hypemarl.coupling.adjoint import PlantAdjoint
    from hypemarl.envs.array_env import ArrayEnv


class Groups:
    """The groups of ``comm`` as one rank sees them. Collective to make and to close.

    Raises:
        ValueError: the ranks cannot be split into groups of ``ranks_per_env``.
    """

    def __init__(self, comm: Comm, ranks_per_env: int | None = None) -> None:
        self.comm = comm
        self.size = comm.size if ranks_per_env is None else ranks_per_env
        one = self.size == comm.size
        group = mpi.Group(comm, 0, 1) if one else mpi.split_groups(comm, self.size)
        self.own, self.index, self.count = group.comm, group.index, group.count
        self.root = comm.rank == 0  # learns
        self.leads = self.own.rank == 0  # speaks for its group

    def gather[T](self, value: T) -> list[T]:
        """The values of the groups' first ranks in their order, on rank 0; else empty. Collective.

        Args:
            value: anything that pickles; only that of a group's first rank is sent.
        """
        if self.comm.size == 1:
            return [value]
        values = self.comm.gather(value if self.leads else None, root=0)
        return [] if values is None else values[:: self.size]

    def close(self) -> None:
        """Free the group's communicator."""
        if self.own is not self.comm:
            self.own.Free()


class Outcome(NamedTuple):
    """Outcome of a group's control step. A failed step has a reason, and is not learned from."""

    observations: Array
    rewards: Array
    terminated: bool
    done: bool
    cost: float
    failure: str | None
    shares: Array | None = None  # (n,) of the cost, where the environment reports them


@dataclass
class Slot:
    """The episode of one group, as rank 0 keeps it."""

    index: int
    random: bool
    observations: Array
    mu: Array
    targets: Array
    steps: list[tuple[Array, Array, Array, bool]] = field(default_factory=list)
    shares: list[Array] = field(default_factory=list)
    return_mean: float = 0.0
    cost: float = 0.0
    failure: str | None = None
    done: bool = False

    def __post_init__(self) -> None:
        self.first = self.observations
        self.done = self.failure is not None  # one that failed at its start

    def take(self, actions: Array, outcome: Outcome | None) -> None:
        """Append a control step; one that failed ends the episode and is dropped."""
        if outcome is None:
            raise RuntimeError(f"group {self.index} got actions and did not step")
        self.failure = outcome.failure
        self.done = outcome.done or outcome.failure is not None
        if outcome.failure is not None:
            return
        self.return_mean += float(np.mean(outcome.rewards))
        self.cost += outcome.cost
        # Copies: an environment may reuse its arrays.
        rewards, observations = np.array(outcome.rewards), np.array(outcome.observations)
        self.steps.append((actions, rewards, observations, outcome.terminated))
        if outcome.shares is not None:
            self.shares.append(np.array(outcome.shares))
        self.observations = observations

    @property
    def result(self) -> Result:
        """What the records say of the episode."""
        length = len(self.steps)
        return Result(self.cost, self.return_mean, length, self.failure, self.random)

    def store(
        self, replay: Replay, gains: Array | None = None, *, keep_costs: bool = False
    ) -> None:
        """Write the episode into the replay, with the gains (steps, n, m) of its actions, and if
        wanted with the agents' shares of its cost. One without a step leaves nothing."""
        if not self.steps:
            return
        replay.begin(self.mu, self.targets, self.first)
        for step in self.steps:
            replay.add(*step)
        replay.end(gains, np.stack(self.shares) if keep_costs and self.shares else None)


def start(
    groups: Groups, env: ArrayEnv, parameters: Sequence[Array], random: Sequence[bool]
) -> list[Slot]:
    """Start an episode of ``parameters[g]`` in group g; groups beyond their number stay idle.

    One that fails at its start has a slot that is done, with the reason, as after a failed step.
    Returns the slots on rank 0, an empty list elsewhere. Collective.
    """
    begun = None
    if groups.index < len(parameters):
        begun = env.reset_arrays(parameters[groups.index])
        begun = replace(begun, failure=begun.fault)
    starts = groups.gather(begun)[: len(parameters)]
    return [
        Slot(g, random[g], begun.observations, begun.mu, begun.targets, failure=begun.failure)
        for g, begun in enumerate(starts)
        if begun is not None
    ]


def step(groups: Groups, env: ArrayEnv, plan: Mapping[int, Array]) -> list[Outcome | None]:
    """One control step in every group that ``plan`` has actions (n, m) for.

    Returns the outcomes of all groups on rank 0 (None for an idle one), an empty list elsewhere.
    Collective.
    """
    outcome = None
    if groups.index in plan:
        result = env.step_arrays(plan[groups.index])
        failure = result.fault
        outcome = Outcome(
            result.observations,
            result.rewards,
            result.terminated,
            result.done,
            float(result.info["cost"]) if failure is None else float("inf"),
            failure,
            result.info.get("local_costs"),
        )
    return groups.gather(outcome)


def gains(
    groups: Groups,
    adjoint: PlantAdjoint,
    parameters: Sequence[Array],
    actions: Mapping[int, Array],
    gamma: float,
) -> list[Array | None]:
    """Gains (steps, n, m) of the episode of ``actions[g]`` at ``parameters[g]`` in each group g.

    The gain of an action is minus the derivative of the costs of its interval and of those that
    follow, each interval discounted once more by ``gamma``, summed over agents, with all later
    actions as they are. On rank 0, an empty list elsewhere. Each episode is run once more and back.
    Collective.
    """
    found = None
    if groups.index in actions:
        plant = adjoint.plant
        plant.reset(parameters[groups.index])
        tapes = [adjoint.step(row)[3] for row in actions[groups.index]]
        found = np.zeros_like(actions[groups.index])
        state_bar, shares_bar = np.zeros(adjoint.state_size), np.full(plant.n_agents, -1.0)
        for k in reversed(range(len(tapes))):
            state_bar, found[k] = adjoint.pull(tapes.pop(), gamma * state_bar, None, shares_bar)
    return groups.gather(found)


def spread_costs(groups: Groups, env: ArrayEnv, policy: Policy, parameters: Array) -> Array:
    """Costs (E,) of an episode for each row of ``parameters``, spread over the groups. Collective.

    The policy is asked on the first rank of every group; a failed episode has infinite cost.
    """
    own = parameters[groups.index :: groups.count]
    costs = evaluation.evaluate_policy(env, policy, own).costs if len(own) else np.zeros(0)
    parts, total = groups.gather(costs), np.zeros(len(parameters))
    for group, part in enumerate(parts):
        total[group :: groups.count] = part
    return mpi.bcast_array(groups.comm, total)
