"""Gains of a round's actions by the plant's adjoint, for credit ``adjoint``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypemarl.coupling.adjoint import require_adjoint
from hypemarl.envs.array_env import ArrayEnv, plant_of
from hypemarl.training.groups import Groups
from hypemarl.types import Array


class PlantGains:
    """Runs episodes once more and back, one in each group. Collective to make and to call.

    Args:
        gamma: discount of a later interval.

    Raises:
        TypeError: the plant has no adjoint.
    """

    def __init__(self, env: ArrayEnv, split: Groups, gamma: float) -> None:
        # Imported here: PETSc comes along, which all ranks must initialise at the same time.
        from hypemarl.optimal.trajectory import EpisodeAdjoint

        self.episode = EpisodeAdjoint(require_adjoint(plant_of(env)))
        self.split, self.gamma = split, gamma

    def of(self, parameters: Sequence[Array], actions: Mapping[int, Array]) -> list[Array | None]:
        """Gains (steps, n, m) of the episode of ``actions[g]`` at ``parameters[g]`` in group g.

        The gain of an action is minus the derivative of the costs of its interval and of those
        that follow, each interval discounted once more, summed over agents, with all later actions
        as they are. On rank 0, an empty list elsewhere. Collective.
        """
        index, found = self.split.index, None
        if index in actions:
            result = self.episode.gradient(parameters[index], actions[index], self.gamma)
            found = -result.gradient
        return self.split.gather(found)
