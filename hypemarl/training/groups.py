"""Several environments at once: groups of ranks, and rounds of one episode in each of them.

``N`` ranks make ``G = N / R`` groups, and each runs one environment on its ``R`` ranks. The first
rank of all is the only learner. A round is one episode in each group, in lockstep of control steps:
the learner decides the actions of all, the groups step side by side, what they saw goes back to the
learner. What is learned depends on the order of the groups, never on which of them was quicker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hypemarl import mpi
from hypemarl.mpi import Comm
from hypemarl.training import evaluation
from hypemarl.training.episodes import Outcome, Slot
from hypemarl.training.evaluation import Array, Policy

if TYPE_CHECKING:
    from hypemarl.envs.array_env import ArrayEnv


class Groups:
    """The groups of ``comm`` as one rank sees them. Collective to make and to close.

    Raises ValueError: the ranks cannot be split into groups of ``ranks_per_env``.
    """

    def __init__(self, comm: Comm, ranks_per_env: int | None = None) -> None:
        self.comm = comm
        self.size = comm.size if ranks_per_env is None else ranks_per_env
        one = self.size == comm.size
        group = mpi.Group(comm, 0, 1) if one else mpi.split_groups(comm, self.size)
        self.group, self.index, self.count = group.comm, group.index, group.count
        self.root = comm.rank == 0  # learns
        self.leads = self.group.rank == 0  # speaks for its group

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
        if self.group is not self.comm:
            self.group.Free()


def start_round(
    groups: Groups, env: ArrayEnv, parameters: Sequence[Array], random: Sequence[bool]
) -> list[Slot]:
    """Start an episode of ``parameters[g]`` in group g; groups beyond their number stay idle.

    One that fails at its start has a slot that is done, with the reason, as after a failed step.
    Returns the slots on rank 0, an empty list elsewhere. Collective.
    """
    active = groups.index < len(parameters)
    begun = env.reset_arrays(parameters[groups.index]) if active else None
    starts = groups.gather(begun)[: len(parameters)]
    return [
        Slot.begin(episode, g, random=random[g])
        for g, episode in enumerate(starts)
        if episode is not None
    ]


def step_round(groups: Groups, env: ArrayEnv, plan: Mapping[int, Array]) -> list[Outcome | None]:
    """One control step in every group that ``plan`` has actions (n, m) for.

    Returns the outcomes of all groups on rank 0 (None for an idle one), an empty list elsewhere.
    Collective.
    """
    outcome = None
    if groups.index in plan:
        outcome = Outcome.of(env.step_arrays(plan[groups.index]))
    return groups.gather(outcome)


def spread_costs(groups: Groups, env: ArrayEnv, policy: Policy, parameters: Array) -> Array:
    """Costs (E,) of an episode for each row of ``parameters``, spread over the groups. Collective.

    The policy is asked on the first rank of every group; a failed episode has infinite cost.
    """
    rows = parameters[groups.index :: groups.count]
    costs = evaluation.evaluate_policy(env, policy, rows).costs if len(rows) else np.zeros(0)
    parts, total = groups.gather(costs), np.zeros(len(parameters))
    for group, part in enumerate(parts):
        total[group :: groups.count] = part
    return mpi.bcast_array(groups.comm, total)
